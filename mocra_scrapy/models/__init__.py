"""The frozen values that cross the contracts of :mod:`mocra_scrapy.interfaces`.

No Scrapy, no client library, no I/O. Durations are ``float`` seconds. Instants that decide between workers are the
server's clock, in seconds since the epoch.
"""

from mocra_scrapy.models.coordination import Grant, ServerReport, SharedValue, Term, WorkerReport
from mocra_scrapy.models.letters import EVERY_LETTER, REASONS, Burial, DeadLetter, LetterFilter
from mocra_scrapy.models.queue import (
    MAX_PRIORITY,
    MIN_PRIORITY,
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

__all__ = [
    "EVERY_LETTER",
    "MAX_PRIORITY",
    "MIN_PRIORITY",
    "REASONS",
    "Burial",
    "CrawlState",
    "DeadLetter",
    "Entry",
    "Exchange",
    "Finish",
    "Grant",
    "Lease",
    "LetterFilter",
    "QueueOptions",
    "QueueSize",
    "Seeding",
    "ServerReport",
    "SharedValue",
    "Term",
    "WorkerInfo",
    "WorkerReport",
]
