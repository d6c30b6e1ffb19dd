"""The frozen values that cross the contracts of :mod:`mocra_scrapy.interfaces`.

No Scrapy, no client library, no I/O. Durations are ``float`` seconds. Instants that decide between workers are the
server's clock, in seconds since the epoch.
"""

from mocra_scrapy.models.coordination import Grant, ServerReport, SharedValue, Term, WorkerReport
from mocra_scrapy.models.dictionaries import StoredDictionaries
from mocra_scrapy.models.queue import (
    MAX_PRIORITY,
    MIN_PRIORITY,
    Burial,
    CrawlState,
    DeadLetter,
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
    "MAX_PRIORITY",
    "MIN_PRIORITY",
    "Burial",
    "CrawlState",
    "DeadLetter",
    "Entry",
    "Exchange",
    "Finish",
    "Grant",
    "Lease",
    "QueueOptions",
    "QueueSize",
    "Seeding",
    "ServerReport",
    "SharedValue",
    "StoredDictionaries",
    "Term",
    "WorkerInfo",
    "WorkerReport",
]
