"""The names of a crawl's log: its group, its topics, and where in it a request belongs. Pure.

Each crawl has six topics, all with the same number of partitions:

==============  ==================================================================================
``….high``      requests with a priority above 0
``….normal``    with 0
``….low``       below 0
``….wait-60``   delayed by a minute or more: each waits a minute here, and the rest elsewhere
``….wait-600``  by ten minutes or more: each waits ten
``….wait-3600`` by an hour or more: each waits an hour
==============  ==================================================================================
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from mocra_scrapy.backends.kafka.address import KafkaAddress
from mocra_scrapy.models.log import LogOptions

#: Tiers of priority, the first one goes first.
PRIORITIES = ("high", "normal", "low")
#: Tiers of delay -> the seconds that each message waits there.
DELAYS = {"wait-60": 60.0, "wait-600": 600.0, "wait-3600": 3600.0}
TIERS = (*PRIORITIES, *DELAYS)
#: Characters of a topic's name; of the part that names a crawl, so that prefix and tier have room.
LONGEST, LONGEST_PART = 249, 110


class LogPartition(NamedTuple):
    """One partition of one tier."""

    tier: str
    number: int

    def __str__(self) -> str:
        return f"{self.tier}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> LogPartition:
        """Raises ValueError: it is none."""
        tier, found, number = text.rpartition(":")
        if not found or tier not in TIERS or not (number.isascii() and number.isdigit()):
            raise ValueError(f"{text!r} is no partition of a log")
        return cls(tier, int(number))


@dataclass(frozen=True)
class LogNames:
    """Those of one crawl. No two crawls share one: not even those that Kafka counts as the same
    because they differ in ``.`` and ``_`` only.

    Attributes:
        group: that the crawl's workers join.
    """

    prefix: str
    crawl: str
    group: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", f"{legal(self.prefix)}.{legal(self.crawl)}")

    def topic(self, tier: str) -> str:
        return f"{self.group}.{tier}"

    def topics(self) -> dict[str, str]:
        """Tier -> topic."""
        return {tier: self.topic(tier) for tier in TIERS}

    def partition(self, topic: str, number: int) -> LogPartition:
        """Raises ValueError: *topic* is none of these."""
        group, _, tier = topic.rpartition(".")
        if group != self.group or tier not in TIERS:
            raise ValueError(f"{topic!r} is no topic of {self.crawl!r}")
        return LogPartition(tier, number)


@dataclass(frozen=True)
class Log:
    """Attributes:
    setting: that named the brokers, for what is wrong with them.
    """

    address: KafkaAddress
    names: LogNames
    options: LogOptions
    setting: str = "MOCRA_QUEUE_BACKEND"


def legal(text: str) -> str:
    """*text* in letters, digits and ``-``: what Kafka allows without ``.`` and ``_``, which it does not
    tell apart. Different texts have different names.

    Letters and digits stand for themselves, ``--`` is a hyphen, ``-xx`` a byte in hexadecimal. A text
    that is too long ends in ``-x`` and a hash of all of it.
    """
    letters = list(map(_letter, text))
    if sum(map(len, letters)) <= LONGEST_PART:
        return "".join(letters) or "-x"
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    kept = ""
    for letter in letters:  # whole ones: half of "--" before an x would be the name of another text
        if len(kept) + len(letter) > LONGEST_PART - 2 - len(digest):
            break
        kept += letter
    return f"{kept}-x{digest}"


def _letter(one: str) -> str:
    if one.isascii() and one.isalnum():
        return one
    return "--" if one == "-" else "".join(f"-{byte:02x}" for byte in one.encode("utf-8", "surrogatepass"))


def tier_of(priority: int, delay: float = 0.0) -> str:
    """Where a request belongs: by its delay where that is a minute or more, else by its priority."""
    waits = [tier for tier, seconds in DELAYS.items() if delay >= seconds]
    if waits:
        return waits[-1]
    return "high" if priority > 0 else "low" if priority < 0 else "normal"


def partition_of(slot: str, partitions: int) -> int:
    """The same for all requests of a slot."""
    return zlib.crc32(slot.encode("utf-8", "surrogatepass")) % partitions


def all_partitions(partitions: int) -> Iterator[LogPartition]:
    return (LogPartition(tier, number) for tier in TIERS for number in range(partitions))
