"""``MemoryRequestQueue``: the verbs of :class:`~mocra_scrapy.interfaces.IImmediateQueue` over a
:class:`MemoryCrawl` in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice

from zope.interface import implementer

from mocra_scrapy.backends.embedded import runs
from mocra_scrapy.backends.embedded.exchange import exchange
from mocra_scrapy.backends.memory.dead_letters import MemoryDeadLetters
from mocra_scrapy.backends.memory.dictionaries import MemoryDictionaries
from mocra_scrapy.backends.memory.logged import MemoryLog
from mocra_scrapy.backends.memory.store import MemoryCrawl
from mocra_scrapy.interfaces import IImmediateQueue, ILoggedQueue
from mocra_scrapy.models import (
    NOWHERE,
    UNBOUNDED,
    Audit,
    Bounds,
    BudgetState,
    Burial,
    CrawlRecord,
    CrawlState,
    Entry,
    Exchange,
    Finish,
    Job,
    Lease,
    QueueOptions,
    QueueSize,
    RulesInForce,
    WorkerInfo,
)
from mocra_scrapy.models.entries import fingerprint_number, names_of


@implementer(IImmediateQueue, ILoggedQueue)
class MemoryRequestQueue(MemoryDeadLetters, MemoryDictionaries, MemoryLog):
    """One crawl's queue.

    Args:
        crawl: what is stored, shared by all queues of that name.
        options: see :class:`~mocra_scrapy.models.QueueOptions`; ``shards`` is only compared,
            everything is in one.
        clock: seconds, never going back.
        wall: seconds since the epoch.
        owner: kept alive as long as this queue.
    """

    def __init__(
        self,
        crawl: MemoryCrawl,
        options: QueueOptions,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        owner: object = None,
    ) -> None:
        self.options = options
        self._crawl: MemoryCrawl = crawl
        self._clock, self._wall = clock, wall
        self._owner = owner

    # ------------------------------------------------------------------ coming and going

    async def join(self, worker: str, job: Job | None = None) -> CrawlState:
        return runs.join(self._crawl, self.options, worker, now=self._clock(), wall=self._wall(), job=job)

    async def close_worker(self, worker: str) -> int:
        return self._crawl.leave(worker, self.options, self._clock())

    async def declare_dead(self, worker: str) -> int | None:
        return self._crawl.declare_dead(worker, self._clock())

    async def claim_seeding(self, worker: str) -> bool:
        return runs.claim_seeding(self._crawl, self.options, worker, self._clock())

    async def complete_seeding(self, worker: str) -> bool:
        return runs.complete_seeding(self._crawl, worker)

    async def finish(self, worker: str) -> Finish:
        return runs.finish(self._crawl, self.options, worker, self._clock())

    # ------------------------------------------------------------------ the turn

    async def exchange(
        self,
        worker: str,
        call: int,
        *,
        push: Sequence[Entry] = (),
        ack: Sequence[Lease] = (),
        release: Sequence[Lease] = (),
        bury: Sequence[Burial] = (),
        want: int = 0,
        bounds: Bounds = UNBOUNDED,
        positions: Mapping[str, bytes] = NOWHERE,
    ) -> Exchange:
        return self.exchange_now(
            worker,
            call,
            push=push,
            ack=ack,
            release=release,
            bury=bury,
            want=want,
            bounds=bounds,
            positions=positions,
        )

    def exchange_now(
        self,
        worker: str,
        call: int,
        *,
        push: Sequence[Entry] = (),
        ack: Sequence[Lease] = (),
        release: Sequence[Lease] = (),
        bury: Sequence[Burial] = (),
        want: int = 0,
        bounds: Bounds = UNBOUNDED,
        positions: Mapping[str, bytes] = NOWHERE,
    ) -> Exchange:
        return exchange(
            self._crawl,
            self.options,
            worker,
            call,
            now=self._clock(),
            wall=self._wall(),
            push=push,
            ack=ack,
            release=release,
            bury=bury,
            want=want,
            bounds=bounds,
            positions=positions,
        )

    async def positions(self) -> Mapping[str, bytes]:
        return dict(self._crawl.positions)

    async def wait(self, worker: str, timeout: float) -> bool:
        return await self._crawl.wakeups.wait(worker, timeout)

    # ------------------------------------------------------------------ looks, and verbs for people

    async def budgets(self, kind: str = "") -> Sequence[BudgetState]:
        return [one for one in self._crawl.budgets.states(self._clock()) if one.name.startswith(kind)]

    async def rules_in_force(self) -> RulesInForce:
        return self._crawl.throttle.rules.in_force()

    async def state(self) -> CrawlState:
        return self._crawl.state()

    async def record(self) -> CrawlRecord:
        crawl, ago = self._crawl, self._clock() - self._crawl.heard
        return CrawlRecord(crawl.job, crawl.begun or None, self._wall() - ago if crawl.heard else None)

    async def size(self) -> QueueSize:
        self._crawl.seen.age(self._clock(), self.options.seen_ttl)
        self._crawl.dead.expire(self._clock(), self.options.dead_ttl)
        return self._crawl.size()

    async def audit(self, fix: bool = False) -> Audit:
        size, throttle = self._crawl.size(), self._crawl.throttle  # counted anew each time
        found = len(list(self._crawl.slots)) + len(self._crawl.suspects) + len(self._crawl.stalls.doomed)
        ghosts = {name for holders in throttle.permits.values() for name in holders} - self._crawl.workers.keys()
        for name in ghosts if fix else ():
            throttle.forget(name)
        lost = len(self._crawl.slots.misplaced())
        return Audit(size.pending, size.leased, found, size.leased, lists=lost, workers=len(ghosts))

    async def workers(self) -> Sequence[WorkerInfo]:
        now = self._clock()
        everybody = sorted(self._crawl.workers.values(), key=lambda worker: worker.name)
        return [WorkerInfo(worker.name, worker.expires - now, worker.holds) for worker in everybody]

    async def peek(self, limit: int = 10) -> Sequence[Entry]:
        items = islice(chain(self._crawl.slots, self._crawl.suspects), max(0, limit))
        return [Entry(item.body, names_of(item.list_name)[0], item.priority, None, item.start) for item in items]

    async def forget(self, fingerprints: Sequence[bytes]) -> Sequence[bool]:
        numbers = [fingerprint_number(fingerprint) for fingerprint in fingerprints]
        self._crawl.seen.age(self._clock(), self.options.seen_ttl)
        return [self._crawl.seen.discard(number) for number in numbers]

    async def reset(self, by: str, force: bool = False) -> Sequence[WorkerInfo]:
        now = self._clock()
        alive = [] if force else self._crawl.living(now, by)
        if not alive:
            await self.clear()
        return [WorkerInfo(worker.name, worker.expires - now, worker.holds) for worker in alive]

    async def clear(self) -> None:
        self._crawl.clear()
        if self.empty_log is not None:
            await self.empty_log()

    async def close(self) -> None:
        """Nothing listens between two calls of :meth:`wait`."""
