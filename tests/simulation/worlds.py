"""The stores that a simulation runs on, with a clock that it moves."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.interfaces import IRequestQueue
from mocra_scrapy.models import Audit, QueueSize
from tests.conformance.harness import CRAWL
from tests.conformance.redis_harness import RedisHarness

from .clock import VirtualLoop
from .link import Link
from .schedule import Schedule


class World(ABC):
    """One store.

    Attributes:
        exact: whether a verb is one step, and its instant known exactly.
        slack: seconds by which instants may differ from what they are taken for.
        jumped: how far the server's clock is from the virtual one.
    """

    exact: bool
    slack: float

    def __init__(self, loop: VirtualLoop, schedule: Schedule) -> None:
        self.loop = loop
        self.schedule = schedule
        self.jumped = 0.0

    def now(self) -> float:
        """The server's clock."""
        return 1000.0 + self.loop.time() + self.jumped

    def set_back(self, seconds: float) -> None:  # noqa: B027 - that of a process never goes back
        """The server's clock is set back."""

    async def open(self) -> None:  # noqa: B027
        """Connect."""

    async def close(self) -> None:  # noqa: B027
        """Delete everything and disconnect."""

    @abstractmethod
    def queue(self, link: Link | None) -> IRequestQueue:
        """A client of its own, whose steps go through *link* (on :attr:`exact` worlds the caller
        sees to that).
        """

    @abstractmethod
    async def perform(self, effect: Callable[[], Awaitable[Any]]) -> Any:
        """One step."""

    @abstractmethod
    async def contents(self, observer: IRequestQueue) -> QueueSize:
        """What is stored, counted one by one."""

    @abstractmethod
    async def wipe(self) -> None:
        """The server comes back empty."""

    @abstractmethod
    async def delete(self, pick: float) -> None:
        """Somebody deletes one part."""

    def permits(self) -> dict[str, int]:
        """Permits of each slot or scope, over all workers, where that can be seen."""
        return {}

    @abstractmethod
    async def misplaced(self, observer: IRequestQueue) -> Sequence[str]:
        """Lists with entries that are not in exactly one place of the order of turns, and places
        for lists that have none.
        """


class MemoryWorld(World):
    exact = True
    slack = 1e-6

    def __init__(self, loop: VirtualLoop, schedule: Schedule) -> None:
        super().__init__(loop, schedule)
        self._backend = MemoryBackend(clock=self.now, wall=self.now)

    def queue(self, link: Link | None) -> IRequestQueue:
        return self._backend.request_queue(CRAWL, self.schedule.setup.options)

    @property
    def crawl(self) -> Any:
        return self._backend._store[CRAWL]

    async def perform(self, effect: Callable[[], Awaitable[Any]]) -> Any:
        return await effect()

    async def contents(self, observer: IRequestQueue) -> QueueSize:
        crawl = self.crawl
        return QueueSize(
            len(list(crawl.slots)) + len(crawl.suspects),
            len(crawl.delayed),
            sum(len(worker.held) for worker in crawl.workers.values()),
            len(list(crawl.dead)),
            len(crawl.seen),
        )

    async def wipe(self) -> None:
        self.crawl.clear()

    async def delete(self, pick: float) -> None:
        parts = [self.crawl.suspects, self.crawl.delayed, self.crawl.workers, self.crawl.seen]
        parts[int(pick * len(parts))].clear()

    async def misplaced(self, observer: IRequestQueue) -> Sequence[str]:
        return self.crawl.slots.misplaced()  # type: ignore[no-any-return]

    def permits(self) -> dict[str, int]:
        return {name: sum(holders.values()) for name, holders in self.crawl.throttle.permits.items()}


class RedisWorld(World):
    """The scripts on a real server. Wake-ups travel outside of virtual time, so there are none:
    workers look now and then, which they must be able to live with.
    """

    exact = False
    slack = 0.25  # a busy machine: the server's clock goes on while a script is on its way

    def __init__(self, loop: VirtualLoop, schedule: Schedule, url: str) -> None:
        super().__init__(loop, schedule)
        self._harness = RedisHarness(url)
        self._harness.shards = schedule.setup.shards
        self._turnstile = asyncio.Lock()
        self._began = time.time()
        self._is_set_back = False
        self._steps = self._heard = 0.0  # how often, in all, its clock was set back; time of the last call

    def set_back(self, seconds: float) -> None:
        self.jumped -= seconds
        self._is_set_back = True

    def _made_up(self) -> float:
        return self._steps + max(0.0, self._heard - super().now() - self._steps)

    def now(self) -> float:
        """The queue's clock: one that is set back goes on from the last call. (Each shard has one
        of its own; this one is ahead of them, if anything.)
        """
        return super().now() + self._made_up()

    async def open(self) -> None:
        with self.loop.real_world():
            await self._harness.start()

    async def close(self) -> None:
        with self.loop.real_world():
            await self._harness.stop()

    def queue(self, link: Link | None) -> IRequestQueue:
        queue: Any = self._harness.queue(**{**_as_dict(self.schedule.setup.options)})
        queue._wakeups = _NoWakeups()
        if link is not None:
            run, names = queue._shards.run, queue._shards.names

            async def through(script: Any, shard: int, *args: Any) -> Any:
                return await link.step(f"{script.name} on {shard}", shard, lambda: run(script, shard, *args))

            async def names_through(heads: Any) -> Any:
                return await link.step("names", 0, lambda: names(heads))

            queue._shards.run, queue._shards.names = through, names_through
        return queue  # type: ignore[no-any-return]

    async def perform(self, effect: Callable[[], Awaitable[Any]]) -> Any:
        return await asyncio.shield(asyncio.ensure_future(self._perform(effect)))  # who is killed is not waited for

    async def _perform(self, effect: Callable[[], Awaitable[Any]]) -> Any:
        async with self._turnstile:  # one at a time, so that a seed is always the same story
            with self.loop.real_world():
                lead = self.loop.time() + self.jumped - (time.time() - self._began)
                delta = lead - self._harness.skew / 1000
                # Back by what the last call took in the real world: nobody is to notice.
                unnoticed = delta < 0 and not self._is_set_back
                self._is_set_back = False
                await (self._harness.advance(delta) if unnoticed else self._harness.turn_clock(delta))
                self._steps, self._heard = self._made_up(), self.now()
                return await effect()

    async def contents(self, observer: IRequestQueue) -> QueueSize:
        async def count() -> QueueSize:
            size = await observer.size()
            held = sum(worker.held for worker in await observer.workers())
            pending = len(await observer.peek(100_000))
            return QueueSize(pending, size.delayed, held, len(await observer.dead(100_000)), size.seen)

        return await self.perform(count)  # type: ignore[no-any-return]

    async def misplaced(self, observer: IRequestQueue) -> Sequence[str]:
        audit: Audit = await self.perform(observer.audit)
        return [str(audit)] if audit.lists or audit.names else []

    async def wipe(self) -> None:
        for key in list(self._harness.keys()):
            self._harness.client.delete(key)

    async def delete(self, pick: float) -> None:
        keys = sorted(self._harness.keys())
        if keys:
            self._harness.client.delete(keys[int(pick * len(keys))])


class _NoWakeups:
    async def listen(self, worker: str) -> None: ...
    async def forget(self, worker: str) -> None: ...
    async def close(self) -> None: ...


def _as_dict(options: Any) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__slots__}
