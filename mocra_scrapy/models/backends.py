"""Which backend has which role, and what a backend can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mocra_scrapy.models.log import LogOptions


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """What the settings say, by role.

    Attributes:
        queue: URL of what has the requests. *queue_setting*: that gave it.
        state: URL of what coordinates workers (elections, locks, shared values, who is there); where
            requests are in Kafka, it has also everything else that is decided about them.
            *state_setting*: that gave it.
        events: URL of the sink that events go to where ``MOCRA_EVENTS`` says nothing else; ``None``:
            none.
        prefix: what names on servers begin with.
        redis, kafka: ``MOCRA_REDIS_OPTIONS``, ``MOCRA_KAFKA_OPTIONS``.
        log: how topics of requests are.
    """

    queue: str = field(default="memory://", repr=False)
    state: str = field(default="memory://", repr=False)
    events: str | None = field(default=None, repr=False)
    queue_setting: str = "MOCRA_BACKEND"
    state_setting: str = "MOCRA_BACKEND"
    prefix: str = "mocra"
    redis: Mapping[str, Any] = field(default_factory=dict, repr=False)
    kafka: Mapping[str, Any] = field(default_factory=dict, repr=False)
    log: LogOptions = field(default_factory=LogOptions)

    @property
    def server(self) -> str:
        """URL of the server that has keys, streams and the like: the queue's, where it is no Kafka; else the
        state's.
        """
        return self.state if scheme_of(self.queue) in ("memory", "kafka") else self.queue

    @property
    def stream(self) -> str:
        """URL of the server with the stream of events."""
        return self.server if self.events is None or scheme_of(self.events) == "kafka" else self.events

    @property
    def brokers(self) -> str | None:
        """URL of Kafka, where any role has one."""
        return next((url for url in (self.events, self.queue) if url and scheme_of(url) == "kafka"), None)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a backend can do, as its class declares it. The guide's table is made of these, and the
    conformance suite goes by them.

    Attributes:
        queue: requests, their filter, leases and dead letters.
        limits: permits, intervals, quotas, budgets, the breaker, slots that are given up.
        coordination: elections, locks, shared values, who is there.
        events: a stream that other programs read.
        window: whether its queue can be the window of a log.
        shared: whether several processes, on several machines, work together.
        durable: whether what is stored outlives all of them.
        without: rules of :class:`~mocra_scrapy.interfaces.IRequestQueue` that it does not keep, and why.
    """

    queue: bool = True
    limits: bool = True
    coordination: bool = True
    events: bool = False
    window: bool = False
    shared: bool = False
    durable: bool = False
    without: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Of the flags, in the order of the table."""
        return tuple(one.name for one in fields(cls) if one.name != "without")


def scheme_of(url: str) -> str:
    """``redis`` of ``redis://…``, in small letters; empty: it is no URL."""
    scheme, found, _ = url.partition("://")
    return scheme.lower() if found else ""
