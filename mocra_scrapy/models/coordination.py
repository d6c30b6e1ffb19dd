"""What crosses the contracts of elections, locks, shared values and workers, and what a backend
reports of its server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Term:
    """A role and who holds it.

    Attributes:
        role: the role.
        leader: the candidate that holds it.
        number: the fencing token: greater than that of every term before.
        expires_in: seconds that are left of the lease, by the server's clock when it answered.
    """

    role: str
    leader: str
    number: int
    expires_in: float


@dataclass(frozen=True, slots=True)
class Grant:
    """A place in a lock or semaphore. ``number`` is its fencing token, ``expires_in`` as in
    :class:`Term`.
    """

    name: str
    owner: str
    number: int
    expires_in: float


@dataclass(frozen=True, slots=True)
class SharedValue:
    """A named value: ``None`` and version 0 when there never was one; ``fence``: greatest term that
    wrote it, 0: none did.
    """

    value: bytes | None
    version: int
    fence: int = 0


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker tells of itself: ``facts`` is JSON data (host, pid, versions, what it holds,
    rates, memory, last error, …).
    """

    worker: str
    crawl: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a backend found out about its server.

    Attributes:
        facts: for the log: version, mode, persistence…
        warnings: sentences that say what is wrong with it and why it matters.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


#: Values of a namespace that end by themselves, at most; see ``IShared.put``.
MOST_ENDING = 20_000


def control_namespace(crawl: str) -> str:
    """Where what people told the workers of *crawl* stands among the shared values."""
    return f"control:{crawl}"


def totals_namespace(crawl: str) -> str:
    """Where the figures of the workers of *crawl* stand among the shared values."""
    return f"totals:{crawl}"


def skipped_namespace(crawl: str) -> str:
    """Where the workers of *crawl* say what they did not crawl, among the shared values."""
    return f"skipped:{crawl}"


def slots_namespace(crawl: str) -> str:
    """Where it stands among the shared values who changed the limits of which slot of *crawl*."""
    return f"slots:{crawl}"


def robots_namespace(crawl: str) -> str:
    """Where the robots.txt files that *crawl* has fetched stand among the shared values, by origin
    (``https://books.example``).
    """
    return f"robots:{crawl}"


def sessions_namespace(crawl: str) -> str:
    """Where the sessions of *crawl* stand among the shared values: what each holds, and nothing else."""
    return f"sessions:{crawl}"


def pools_namespace(crawl: str) -> str:
    """Where the pools of sessions of *crawl* stand among the shared values, without what sessions hold."""
    return f"session_pools:{crawl}"


def namespaces_of(crawl: str) -> tuple[str, ...]:
    """All of *crawl*."""
    every = (
        control_namespace,
        totals_namespace,
        skipped_namespace,
        slots_namespace,
        robots_namespace,
        sessions_namespace,
        pools_namespace,
    )
    return tuple(namespace(crawl) for namespace in every)
