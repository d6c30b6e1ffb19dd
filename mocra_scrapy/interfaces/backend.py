"""What a backend is: the connections to one server, and the tools that work on it."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

from mocra_scrapy.models import CacheBounds

if TYPE_CHECKING:
    from mocra_scrapy.interfaces.breaker import IBreaker
    from mocra_scrapy.interfaces.cache import ICache
    from mocra_scrapy.interfaces.election import IElection
    from mocra_scrapy.interfaces.limiter import IRateLimiter
    from mocra_scrapy.interfaces.locks import ILocks
    from mocra_scrapy.interfaces.queue import IRequestQueue
    from mocra_scrapy.interfaces.shared import IShared
    from mocra_scrapy.interfaces.stalls import IStalls
    from mocra_scrapy.interfaces.workers import IWorkers
    from mocra_scrapy.models import BreakerRules, QueueOptions, ServerReport, StallRules

CACHE_BOUNDS = CacheBounds()


class IBackend(Interface):
    """Owns the connections to one server and makes the tools that work on it. Closes what it
    opened.
    """

    url: str = Attribute("Where it is, without secrets, for logs.")
    shared: bool = Attribute("Whether several processes can work on it together.")
    durable: bool = Attribute("Whether what it stored outlives this process.")

    async def open(timeout: float = 15.0) -> ServerReport:
        """Connect, within *timeout* seconds, and look at the server.

        Raises:
            BackendUnavailable: nobody answers, or the password is wrong; the text says which.
            ConfigurationError: the server can't do what is needed (too old, evicts keys of a queue,
                …).
        """

    def request_queue(crawl: str, options: QueueOptions) -> IRequestQueue:
        """The queue of *crawl*. No I/O. Several calls with the same name share the stored state."""

    def rate_limiter(crawl: str, options: QueueOptions) -> IRateLimiter:
        """The limits of *crawl*, on the state of its queue. No I/O."""

    def breaker(crawl: str, rules: BreakerRules, options: QueueOptions) -> IBreaker:
        """The circuits of *crawl*'s slots, on the state of its queue and its limits. No I/O."""

    def stalls(crawl: str, rules: StallRules, options: QueueOptions) -> IStalls:
        """The slots of *crawl* that fail, on the state of its queue. No I/O."""

    def election(role: str) -> IElection:
        """The role named *role*. No I/O. Several calls with the same name share the stored state.

        Raises:
            NotSupported: this backend has no elections; the text names one that has. So for each of
                the tools below.
        """

    def locks() -> ILocks:
        """Locks and semaphores by name. No I/O."""

    def shared_values(namespace: str) -> IShared:
        """The named values of *namespace*. No I/O."""

    def cache(namespace: str, bounds: CacheBounds = CACHE_BOUNDS) -> ICache:
        """The entries of *namespace*. No I/O. Several calls with the same name share the stored
        state; who writes makes room by its own *bounds*.
        """

    def worker_registry() -> IWorkers:
        """Who is there. No I/O."""

    async def crawls() -> Sequence[str]:
        """The names of all crawls that have a record, sorted. [crawls_are_listed]"""

    async def close() -> None:
        """Close every connection. May be called twice, and after a failed :meth:`open`."""
