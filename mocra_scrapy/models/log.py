"""How the log of a crawl's requests is: what a backend that keeps them in a log is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Attributes:
    partitions: of each topic: as many workers at most read at a time.
    replication: copies of each partition.
    min_insync: copies that must be written before a request counts as stored.
    retention: seconds for which messages are kept at least, also unread ones; ``None``: without limit.
    message_bytes: of one message, as the topics are to take it.
    create: whether topics that are missing are created by the first worker.
    protocol: of the group: ``"classic"`` (cooperative-sticky) or ``"consumer"`` (KIP-848).
    session_timeout: seconds without a sign of life after which a worker's partitions go to others;
        with ``"consumer"`` the brokers say.
    revoke_timeout: seconds that a partition that goes to another worker is held back, so that what
        is under way is settled.
    ahead: messages of one partition that are read ahead. *ahead_bytes*: of all partitions.
    weights: tier of priority -> how many messages it gets in each turn.
    window: requests that are worked on at a time, in the state's backend; a few more may be there.
    trim: whether the beginning of the log, where all is finished, is deleted from time to time.
    """

    partitions: int = 12
    replication: int = 3
    min_insync: int = 2
    retention: float | None = None
    message_bytes: int = 1_100_000
    create: bool = False
    protocol: str = "classic"
    session_timeout: float = 30.0
    revoke_timeout: float = 5.0
    ahead: int = 1000
    ahead_bytes: int = 16 * 2**20
    weights: Mapping[str, int] = field(default_factory=lambda: {"high": 8, "normal": 4, "low": 1})
    window: int = 10_000
    trim: bool = True
