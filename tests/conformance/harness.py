"""What the suite needs of a backend beside its contract: two clients, a clock that can be moved, a
look at what is left over.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from zlib import crc32

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.interfaces import (
    IBackend,
    IBreaker,
    ICache,
    IElection,
    IEventStream,
    ILocks,
    IProxies,
    IRateLimiter,
    IRequestQueue,
    IShared,
    IStalls,
    IWorkers,
)
from mocra_scrapy.models import (
    BreakerRules,
    CacheBounds,
    Entry,
    Exchange,
    Lease,
    ProxyRules,
    QueueOptions,
    RuleSet,
    StallRules,
)

LEASE = 60.0  # s, of every queue here: far more than a test takes, so that only a moved clock ends one
CRAWL = "crawl"


def fp(name: object) -> bytes:
    """A fingerprint as Scrapy's: 20 bytes."""
    return hashlib.sha1(str(name).encode()).digest()


def entries(*bodies: object, **more: Any) -> list[Entry]:
    return [Entry(str(body).encode(), **more) for body in bodies]


def bodies(leases: Sequence[Lease]) -> list[str]:
    return [lease.body.decode() for lease in leases]


def some_of(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """Take these out of *options*, if they are there."""
    return {name: options.pop(name) for name in names if name in options}


class Harness(ABC):
    """One backend under test.

    Attributes:
        shards: over how many parts its queues are spread, unless a test says otherwise.
        is_late: whether what is pushed may become leasable a moment later.
        stride: of what a test does at each of many steps, each so-manieth is enough: the same scripts run elsewhere.
    """

    shards = 1
    cache_parts = 1  # of a namespace of the cache
    stride = 1
    is_late = False

    def __init__(self) -> None:
        self.backends: list[IBackend] = []
        self.queues: list[IRequestQueue] = []
        self.crawls = {CRAWL}
        self.coordinated: list[ICache | ILocks | IShared] = []

    async def start(self) -> None:
        self.backends = [self.make_backend(), self.second_backend()]
        for backend in self.backends:
            await backend.open()

    async def stop(self) -> None:
        for queue in self.queues:
            await queue.close()
        for tool in self.coordinated:
            await tool.close()
            await tool.close()
        for backend in self.backends:
            await backend.close()

    @abstractmethod
    def make_backend(self) -> IBackend:
        """Not yet opened; its state is this harness's own."""

    @abstractmethod
    def second_backend(self) -> IBackend:
        """Another client of the same state."""

    @abstractmethod
    async def advance(self, seconds: float) -> None:
        """Let *seconds* pass, for leases and delays. Somebody calls meanwhile, whom no test knows."""

    @abstractmethod
    async def turn_clock(self, seconds: float) -> None:
        """Let *seconds* pass in which nobody calls; negative: set the server's clock back (where
        it is one that can be set).
        """

    @abstractmethod
    async def residue(self, *, keep_seen: bool = False) -> set[str]:
        """Names of what is stored, but for what a drained queue may keep: the crawl's record, dead
        letters, last calls of the dead.
        """

    @abstractmethod
    def answers_lost(self, queue: IRequestQueue) -> contextlib.AbstractContextManager[None]:
        """While this lasts, *queue*'s exchanges take effect and then fail with BackendUnavailable."""

    @contextlib.contextmanager
    def whole_answers_lost(self, queue: IRequestQueue) -> Iterator[None]:
        """The same, however many calls of a server an exchange has."""
        kept: Any = queue.exchange

        async def lossy(*args: Any, **kwargs: Any) -> None:
            await kept(*args, **kwargs)
            raise BackendUnavailable("the answer got lost")

        queue.exchange = lossy  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            queue.exchange = kept  # type: ignore[method-assign]

    def another(self) -> Harness:
        """A fresh one of the same kind."""
        return type(self)()

    @abstractmethod
    async def refuse(self, slot: str) -> bool:
        """Make the server fail when something is stored in *slot*; ``False``: this backend has no
        parts that can fail alone.
        """

    @contextlib.contextmanager
    def refusing(self, queue: IRequestQueue, step: int) -> Iterator[list[int]]:
        """While this lasts, step *step* of each of *queue*'s calls fails on the server, counted from
        1. Gives a list that gets an entry when one did; a backend whose calls have no steps gives it
        none.
        """
        yield []

    def keep(self, crawl: str) -> Callable[[], None]:
        """What brings back all that is stored of *crawl* as it is now, and the time. A backend whose
        calls have no steps can't be asked to.
        """

        def bring_back() -> None:
            raise NotImplementedError

        return bring_back

    @contextlib.contextmanager
    def late_clean_up(self, queue: IRequestQueue) -> Iterator[list[Callable[[], Awaitable[None]]]]:
        """While this lasts, *queue* doesn't clean up after a run that it ended: a list gets what
        would. A backend that does all at once gives it nothing.
        """
        yield []

    async def leave_reset(self, queue: IRequestQueue, by: str) -> bool:
        """*by* begins to delete *queue*'s crawl, deletes a part of it and dies; ``False``: it is
        deleted in one step.
        """
        return False

    @abstractmethod
    async def wipe(self) -> None:
        """Somebody deletes everything that coordination stored. The clock goes on."""

    async def lose_part(self, name: str) -> bool:
        """Somebody deletes keys of the crawl with such a name, on all shards; ``False``: nothing
        has a name here.
        """
        return False

    def keys(self) -> list[str]:
        """Names of all that is stored; none where nothing has a name."""
        return []

    @abstractmethod
    async def lose_record(self) -> None:
        """Somebody deletes the record of the crawl, and nothing else."""

    @abstractmethod
    async def cut_off(self) -> None:
        """Connections of those who listen for changes break."""

    async def damage(self, name: str, namespace: str = "place") -> bool:
        """Somebody else writes rubbish where a shared value is; ``False``: there is no such place."""
        return False

    def coordinates(self, tag: str) -> None:  # noqa: B027 - in one process there is one clock
        """A thing of coordination is used from now on: its clock moves, too."""

    def election(self, role: str = "boss", second: bool = False) -> IElection:
        self.coordinates(f"+lead:{role}")
        return self.backends[second].election(role)

    def locks(self, *names: str, second: bool = False) -> ILocks:
        for name in names or ("door",):
            self.coordinates(f"+lock:{name}")
        self.coordinated.append(locks := self.backends[second].locks())
        return locks

    def shared(self, namespace: str = "place", second: bool = False) -> IShared:
        self.coordinates(f"+shared:{namespace}")
        self.coordinated.append(shared := self.backends[second].shared_values(namespace))
        return shared

    def cache(self, namespace: str = "place", second: bool = False, **bounds: int) -> ICache:
        for part in range(self.cache_parts):
            self.coordinates(f"+cache:{namespace}:{part}")
        self.coordinated.append(cache := self.backends[second].cache(namespace, CacheBounds(**bounds)))
        return cache

    def beside(self, count: int, head: str = "n") -> list[str]:
        """Names that share their part of a namespace, and its bounds, in order."""
        names = (f"{head}{i:05d}" for i in itertools.count())
        return list(itertools.islice((n for n in names if crc32(n.encode()) % self.cache_parts == 0), count))

    @contextlib.contextmanager
    def standing_clock(self) -> Iterator[Callable[[int], None]]:
        """While this lasts the clock of entries stands still, but for the milliseconds that it is
        moved by.
        """
        raise NotImplementedError
        yield

    def registry(self, second: bool = False) -> IWorkers:
        self.coordinates("+workers")
        return self.backends[second].worker_registry()

    def events(self, name: str, second: bool = False, keep: int = 1000) -> IEventStream:
        stream: IEventStream = self.backends[second].event_stream(self.stream_name(name), keep)  # type: ignore[attr-defined]
        return stream

    def proxies(self, rules: ProxyRules = ProxyRules(), pool: str = "pool", second: bool = False) -> IProxies:  # noqa: B008
        self.coordinates(f"+proxies:{pool}")
        proxies: IProxies = self.backends[second].proxies(pool, rules)  # type: ignore[attr-defined]
        return proxies

    def stream_name(self, name: str) -> str:
        """What a stream is called on the server."""
        return name

    def options(self, **options: Any) -> QueueOptions:
        """Of a queue here. *limit*, *names*, *patterns* are those of its rule set."""
        limit, parts = options.pop("limit", None), some_of(options, "names", "patterns")
        rules = None if limit is None else RuleSet(limit, **parts)
        return QueueOptions(**{"lease": LEASE, "shards": self.shards, "rules": rules, **options})

    def queue(self, second: bool = False, crawl: str = CRAWL, **options: Any) -> IRequestQueue:
        self.crawls.add(crawl)
        queue = self.backends[second].request_queue(crawl, self.options(**options))
        self.queues.append(queue)
        return queue

    def limiter(self, second: bool = False, crawl: str = CRAWL, **options: Any) -> IRateLimiter:
        return self.backends[second].rate_limiter(crawl, self.options(**options))

    def breaker(self, rules: BreakerRules, second: bool = False, crawl: str = CRAWL, **options: Any) -> IBreaker:
        return self.backends[second].breaker(crawl, rules, self.options(**options))

    def stalls(self, rules: StallRules, second: bool = False, crawl: str = CRAWL, **options: Any) -> IStalls:
        return self.backends[second].stalls(crawl, rules, self.options(**options))

    async def worker(self, name: str, second: bool = False, **options: Any) -> QueueSession:
        """A joined worker with a queue object of its own."""
        session = QueueSession(self.queue(second, **options), name)
        await session.queue.join(name)
        return session

    async def lease_all(self, session: QueueSession, want: int = 100, **more: Any) -> list[Lease]:
        """Lease until no shard has anything: one call may ask some of them only."""
        leases: list[Lease] = []
        empty = 0
        while empty <= 2 * self.shards:
            got = (await session.exchange(want=want, **more)).leases
            leases += got
            empty = 0 if got else empty + 1
        return leases

    async def is_coming(self, session: QueueSession, answer: Exchange) -> bool:
        """Whether something may be leasable a moment after this answer, which had nothing; that moment is waited for."""
        if not self.is_late or answer.leases or not answer.size.pending:
            return False
        await session.queue.wait(session.worker, 0.1)
        return True

    async def die(self) -> None:
        """Everybody who does not call from now on has died."""
        await self.advance(LEASE + 1)

    async def worker_of(self, crawl: str, name: str, second: bool = False, **options: Any) -> QueueSession:
        """A joined worker of another crawl."""
        session = QueueSession(self.queue(second, crawl, **options), name)
        await session.queue.join(name)
        return session
