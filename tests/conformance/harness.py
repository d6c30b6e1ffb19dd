"""What the suite needs of a backend beside its contract: two clients, a clock that can be moved, a
look at what is left over.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from mocra_scrapy.backends import open_backend
from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.backends.redis.connection.scripts import Script
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.interfaces import (
    IBackend,
    IBreaker,
    IElection,
    ILocks,
    IRateLimiter,
    IRequestQueue,
    IShared,
    IStalls,
    IWorkers,
)
from mocra_scrapy.models import BreakerRules, Entry, Lease, QueueOptions, RuleSet, Seeding, StallRules

#: In front of a script: of its commands the one whose number is stored under a key is refused, and the
#: key says so. The same text for each number: a server compiles it once.
REFUSING = """
local redis = (function()
    local real, place = redis, string.sub(KEYS[1], 1, -5) .. 'refused'
    local left = tonumber(real.call('GET', place) or 0) or 0

    local function next_one()
        left = left - 1
        if left ~= 0 then return nil end
        real.call('SET', place, 'yes')
        return 'REFUSED'  -- no command is called so
    end

    return setmetatable({
        call = function(...) return real.call(next_one() or ..., select(2, ...)) end,
        pcall = function(...) return real.pcall(next_one() or ..., select(2, ...)) end,
    }, {__index = real})
end)()
"""
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
    """

    shards = 1

    def __init__(self) -> None:
        self.backends: list[IBackend] = []
        self.queues: list[IRequestQueue] = []
        self.crawls = {CRAWL}
        self.coordinated: list[ILocks | IShared] = []

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

    def registry(self, second: bool = False) -> IWorkers:
        self.coordinates("+workers")
        return self.backends[second].worker_registry()

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

    async def die(self) -> None:
        """Everybody who does not call from now on has died."""
        await self.advance(LEASE + 1)

    async def worker_of(self, crawl: str, name: str, second: bool = False, **options: Any) -> QueueSession:
        """A joined worker of another crawl."""
        session = QueueSession(self.queue(second, crawl, **options), name)
        await session.queue.join(name)
        return session


class MemoryHarness(Harness):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.url = f"memory://{secrets.token_hex(8)}"

    def make_backend(self) -> IBackend:
        return MemoryBackend(self.url, clock=lambda: self.now)

    second_backend = make_backend

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        for crawl in self.backends[0]._store.values():  # type: ignore[attr-defined]
            crawl.heard += seconds if crawl.heard else 0.0

    async def turn_clock(self, seconds: float) -> None:
        self.now += max(0.0, seconds)  # the clock of a process never goes back

    async def residue(self, *, keep_seen: bool = False) -> set[str]:
        left = set()
        for crawl in self.backends[0]._store.values():  # type: ignore[attr-defined]
            parts = {"slots", "suspects", "delayed", "workers", "seen"} - ({"seen"} if keep_seen else set())
            left |= {part for part in parts if len(getattr(crawl, part))}
            left |= {f"slot {name}" for name in crawl.slots._lists}
            if not crawl.wakeups.idle():
                left.add("wakeups")
        return left

    @contextlib.contextmanager
    def answers_lost(self, queue: IRequestQueue) -> Iterator[None]:
        kept: Any = queue.exchange

        async def lossy(*args: Any, **kwargs: Any) -> None:
            await kept(*args, **kwargs)
            raise BackendUnavailable("the answer got lost")

        queue.exchange = lossy  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            queue.exchange = kept  # type: ignore[method-assign]

    async def refuse(self, slot: str) -> bool:
        return False

    async def wipe(self) -> None:
        store: Any = self.backends[0]._store  # type: ignore[attr-defined]
        for part in (store.roles, store.locks, store.namespaces, store.workers):
            part.clear()

    async def lose_record(self) -> None:
        stored: Any = self.backends[0]._store[CRAWL]  # type: ignore[attr-defined]
        stored.run, stored.seeding, stored.seeder = 0, Seeding.OPEN, ""

    async def cut_off(self) -> None:
        """Nothing can be cut in one process."""


class RedisHarness(Harness):
    """A real server. Time moves by the field ``skew`` of each shard's meta hash: ms that every
    script adds to the clock.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.prefix = f"t{secrets.token_hex(6)}"
        self.skew = 0
        self.tags: set[str] = set()
        self.client = self._connect()

    def _connect(self) -> Any:
        import redis

        return redis.Redis.from_url(self.url)

    def make_backend(self) -> IBackend:
        return open_backend(self.url, prefix=self.prefix)

    second_backend = make_backend

    def key(self, shard: int, name: str, crawl: str = CRAWL) -> str:
        return f"{self.prefix}:{{{crawl}:{shard}}}:{name}"

    async def advance(self, seconds: float) -> None:
        await self.turn_clock(seconds)
        for crawl in self.crawls:
            for shard in range(self.shards):
                meta = self.key(shard, "meta", crawl)
                if self.client.hexists(meta, "heard"):
                    self.client.hincrby(meta, "heard", int(seconds * 1000))

    async def turn_clock(self, seconds: float) -> None:
        self.skew += int(seconds * 1000)  # a total, for a drained shard's meta is deleted
        for crawl in self.crawls:
            for shard in range(self.shards):
                self.client.hset(self.key(shard, "meta", crawl), "skew", self.skew)
        for tag in self.tags:
            self.coordinates(tag)

    def coordinates(self, tag: str) -> None:
        self.tags.add(tag)
        if self.skew:
            self.client.set(f"{self.prefix}:{{{tag}}}:skew", self.skew)

    async def wipe(self) -> None:
        for key in self.keys():
            if not key.endswith(":skew"):
                self.client.delete(key)

    async def lose_part(self, name: str) -> bool:
        for shard in range(self.shards):
            for key in list(self.client.scan_iter(match=self.key(shard, name), count=1000)):
                self.client.delete(key)
        return True

    async def lose_record(self) -> None:
        self.client.delete(self.key(0, "crawl"))

    async def leave_reset(self, queue: IRequestQueue, by: str) -> bool:
        shards: Any = queue._shards  # type: ignore[attr-defined]
        kept = shards._client.delete

        async def dies(names: list[bytes]) -> None:
            await kept(names[: len(names) // 2])
            raise BackendUnavailable("it died")

        shards._client.delete = dies
        try:
            with contextlib.suppress(BackendUnavailable):
                await queue.reset(by)
        finally:
            shards._client.delete = kept
        return True

    async def cut_off(self) -> None:
        self.client.client_kill_filter(_type="pubsub")

    async def damage(self, name: str, namespace: str = "place") -> bool:
        self.client.hset(f"{self.prefix}:{{+shared:{namespace}}}:values", name, b"\xc1rubbish")
        return True

    def keys(self) -> list[str]:
        return [key.decode() for key in self.client.scan_iter(match=f"{self.prefix}:*", count=1000)]

    async def residue(self, *, keep_seen: bool = False) -> set[str]:
        left = set()
        for key in self.keys():
            name = key.partition("}:")[2] or key
            allowed = name in {"crawl", "dead", "dead:at", "dictionaries"} or name.startswith("last:")
            if keep_seen:
                allowed = allowed or name == "meta" or name.startswith("f:")
            if not allowed:
                left.add(name)
        return left

    @contextlib.contextmanager
    def answers_lost(self, queue: IRequestQueue) -> Iterator[None]:
        shards: Any = queue._shards  # type: ignore[attr-defined]
        kept = shards.run

        async def lossy(*args: Any, **kwargs: Any) -> None:
            await kept(*args, **kwargs)
            raise BackendUnavailable("the answer got lost")

        shards.run = lossy
        try:
            yield
        finally:
            shards.run = kept

    @contextlib.contextmanager
    def refusing(self, queue: IRequestQueue, step: int) -> Iterator[list[int]]:
        shards: Any = queue._shards  # type: ignore[attr-defined]
        kept, refused = shards.run, []

        async def run(script: Script, shard: int, *args: Any) -> Any:
            key = self.key(shard, "refused", shards._name)
            self.client.set(key, step)
            try:
                return await kept(Script(script.name, REFUSING + script.text), shard, *args)
            finally:
                if self.client.getdel(key) == b"yes":
                    refused.append(step)

        shards.run = run
        try:
            yield refused
        finally:
            shards.run = kept

    def keep(self, crawl: str) -> Callable[[], None]:
        names, skew = self._keys_of(crawl), self.skew
        asking = self.client.pipeline(transaction=False)
        for name in names:
            asking.dump(name)
            asking.pttl(name)
        answers = asking.execute()
        stored = list(zip(names, answers[::2], answers[1::2], strict=True))
        kept_at = time.monotonic()

        def bring_back() -> None:
            # Leases and delays are of real seconds: none of those that the test took since have passed.
            self.skew = skew - int((time.monotonic() - kept_at) * 1000)
            telling = self.client.pipeline(transaction=False)
            for name in self._keys_of(crawl):
                telling.delete(name)
            for name, value, ttl in stored:
                telling.restore(name, max(0, ttl), value)
                if name.endswith(b":meta"):
                    telling.hset(name, "skew", self.skew)
            telling.execute()

        return bring_back

    def _keys_of(self, crawl: str) -> list[bytes]:
        return list(self.client.scan_iter(match=f"{self.prefix}:{{{crawl}:*", count=1000))

    @contextlib.contextmanager
    def late_clean_up(self, queue: IRequestQueue) -> Iterator[list[Callable[[], Awaitable[None]]]]:
        late: list[Callable[[], Awaitable[None]]] = []
        tidy: Any = queue._tidy  # type: ignore[attr-defined]

        async def later(*args: Any) -> None:
            late.append(lambda: tidy(*args))

        queue._tidy = later  # type: ignore[attr-defined]
        try:
            yield late
        finally:
            queue._tidy = tidy  # type: ignore[attr-defined]

    async def refuse(self, slot: str) -> bool:
        if self.shards == 1:
            return False
        # A string where a list is expected, on whichever shard the slot lives.
        for shard in range(self.shards):
            self.client.set(self.key(shard, f"q:1:{slot}"), b"foreign")
        return True

    async def stop(self) -> None:
        await super().stop()
        for key in self.keys():
            self.client.delete(key)
        self.client.close()


class ClusterHarness(RedisHarness):
    shards = 3

    async def cut_off(self) -> None:
        for node in self.client.get_nodes():
            node.redis_connection.client_kill_filter(_type="pubsub")

    def _connect(self) -> Any:
        import redis

        return redis.RedisCluster.from_url(self.url.replace("redis+cluster://", "redis://", 1).partition(",")[0])


def make_harness(kind: str, request: Any) -> Harness:
    """The harness *kind*; its server is started when a test first asks for it."""
    if kind == "memory":
        return MemoryHarness()
    if kind == "cluster":
        return ClusterHarness(request.getfixturevalue("redis_cluster"))
    if kind == "redis":
        return RedisHarness(request.getfixturevalue("redis_url"))
    return RedisHarness(request.getfixturevalue("other_server")(kind).url)
