"""The frozen values that cross the contracts of :mod:`mocra_scrapy.interfaces`.

No Scrapy, no client library, no I/O. Durations are ``float`` seconds. Instants that decide between
workers are the server's clock, in seconds since the epoch.
"""

from mocra_scrapy.models.breaker import (
    BUCKETS,
    BreakerChange,
    BreakerRules,
    BreakerState,
    Circuit,
    Outcome,
    Tally,
    Threshold,
    Trip,
    Verdict,
    tally,
)
from mocra_scrapy.models.coordination import Grant, ServerReport, SharedValue, Term, WorkerReport, control_namespace
from mocra_scrapy.models.dead_letters import EVERY_LETTER, REASONS, Burial, DeadLetter, LetterFilter
from mocra_scrapy.models.dictionaries import StoredDictionaries
from mocra_scrapy.models.job import Argument, CrawlRecord, Job
from mocra_scrapy.models.queue import (
    LEASED_BYTES,
    MAX_PRIORITY,
    MIN_PRIORITY,
    UNBOUNDED,
    Audit,
    Bounds,
    CrawlState,
    Entry,
    Exchange,
    Finish,
    Lease,
    QueueOptions,
    QueueSize,
    Seeding,
    WorkerInfo,
)
from mocra_scrapy.models.throttle import LONGEST, Booking, LimitChange, Reservation, SlotLimit, SlotState

__all__ = [
    "BUCKETS",
    "EVERY_LETTER",
    "LEASED_BYTES",
    "LONGEST",
    "MAX_PRIORITY",
    "MIN_PRIORITY",
    "REASONS",
    "UNBOUNDED",
    "Argument",
    "Audit",
    "Booking",
    "Bounds",
    "BreakerChange",
    "BreakerRules",
    "BreakerState",
    "Burial",
    "Circuit",
    "CrawlRecord",
    "CrawlState",
    "DeadLetter",
    "Entry",
    "Exchange",
    "Finish",
    "Grant",
    "Job",
    "Lease",
    "LetterFilter",
    "LimitChange",
    "Outcome",
    "QueueOptions",
    "QueueSize",
    "Reservation",
    "Seeding",
    "ServerReport",
    "SharedValue",
    "SlotLimit",
    "SlotState",
    "StoredDictionaries",
    "Tally",
    "Term",
    "Threshold",
    "Trip",
    "Verdict",
    "WorkerInfo",
    "WorkerReport",
    "control_namespace",
    "tally",
]
