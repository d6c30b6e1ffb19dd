"""What feeds a crawl beside ``start()``: the sources that ``MOCRA_SEEDS`` names.

Sources with positions (a stream, a file) are read by the worker that seeds: a position is stored in
the step that stores the seeds before it, so each seed is stored once. From piles (a list, a set) every
worker takes; what it took stands beside the pile until it is stored, so each seed is stored at least
once. A seed that is no request becomes a dead letter, in its turn and with its position.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from scrapy import signals
from scrapy.exceptions import DontCloseSpider, IgnoreRequest

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.codec.seeds_json import requests_of, wrapped
from mocra_scrapy.exceptions import MocraError, UnreadableSeed
from mocra_scrapy.models.redaction import redact
from mocra_scrapy.models.wording import counted
from mocra_scrapy.seeds.site_files import SiteFiles
from mocra_scrapy.seeds.sources.file import FileSource
from mocra_scrapy.seeds.sources.kafka import KafkaSource
from mocra_scrapy.seeds.sources.redis import PileSource, Servers, StreamSource
from mocra_scrapy.seeds.sources.sitemap import SitemapSource
from mocra_scrapy.seeds.sources.stdin import StdinSource
from mocra_scrapy.settings.seeds import read_seeds

if TYPE_CHECKING:
    from mocra_scrapy.runtime import Mocra
    from mocra_scrapy.runtime.feeding import Feeder
    from mocra_scrapy.seeds.source import Found, Ordered, Pile
    from mocra_scrapy.settings.seeds import Source

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seeds that are taken in between two looks whether more are wanted.
CHUNK = 100
#: Seeds that are no requests of which each is logged; further ones are counted only.
LOGGED = 20
#: Seconds between two attempts at a source that fails: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
#: Seconds between two looks whether the sources are exhausted, and for what a closing worker has to say.
LOOK, PATIENCE = 0.25, 5.0


class SeedSources:
    """Of one worker. See :class:`mocra_scrapy.runtime.feeding.Sources`.

    Raises:
        ConfigurationError: a source can't be one.
    """

    def __init__(self, mocra: Mocra) -> None:
        crawler = mocra.crawler
        assert crawler.stats is not None
        self._mocra, self._stats = mocra, crawler.stats
        self._options = read_seeds(crawler.settings, getattr(crawler.spidercls, "name", None) or "spider")
        self._longest = mocra.options.entry_max_bytes
        self._never = mocra.options.close == "never"
        self._servers = Servers(mocra, self._options.redis)
        self._ordered: list[Ordered] = []
        self._piles: list[Pile] = []
        for source in self._options.sources:
            self._add(source)
        self._tasks: list[asyncio.Task[None]] = []
        self._busy_at: dict[str, float] = {}  # source -> when it last gave something (monotonic)
        self._failing: set[str] = set()  # nobody knows what these have
        self._bad = 0

    def _add(self, source: Source) -> None:
        mocra = self._mocra
        if source.kind == "redis":
            self._piles.append(PileSource(source, self._servers, mocra.worker, mocra.options.queue.lease))
        elif source.kind == "stdin":
            self._piles.append(StdinSource(self._longest))
        elif source.kind == "stream":
            self._ordered.append(StreamSource(source, self._servers))
        elif source.kind == "kafka":
            self._ordered.append(KafkaSource(source, self._options))
        elif source.kind == "sitemap":
            files = SiteFiles(mocra)
            self._ordered.append(
                SitemapSource(
                    source.address,
                    source.name,
                    source.options,
                    fetch=files.fetch,
                    robots=files.robots,
                    count=self._stats.inc_value,
                )
            )
        else:
            file = FileSource(source.address, source.name, longest=self._longest, follows=self._never)
            file.check()
            self._ordered.append(file)

    # ------------------------------------------------------------------ of this worker

    async def open(self) -> None:
        self._mocra.worker_state.sources = self
        connect = self._mocra.crawler.signals.connect
        connect(self._begin, signals.spider_opened)
        connect(self._on_idle, signals.spider_idle)
        names = ", ".join(source.name for source in self._options.sources)
        logger.info("Crawl %r is fed from %s (MOCRA_SEEDS)", self._mocra.crawl, names)

    async def _begin(self) -> None:
        feeder = self._mocra.worker_state.feeder
        if feeder is None:
            return
        for pile in self._piles:
            self._busy_at[pile.name] = time.monotonic()
            self._tasks.append(asyncio.create_task(self._take_on(pile, feeder), name=f"mocra seeds {pile.name}"))
            self._tasks.append(asyncio.create_task(self._keep_alive(pile), name="mocra seeds, alive"))

    async def close(self) -> None:
        """What was taken and not stored goes to others."""
        self._mocra.worker_state.sources = None
        tasks, self._tasks = self._tasks, []
        if tasks:
            await asyncio.wait(tasks[::2], timeout=PATIENCE)  # they say what was stored last
            await end_tasks(tasks)
        for pile in self._piles:
            try:
                left = await pile.leave()
            except MocraError as error:
                logger.debug("%s goes to others when MOCRA_LEASE is over: %s", pile.name, error)
            else:
                if left:
                    logger.info("%s of %s not stored go to other workers", counted(left, "seed"), pile.name)
        for source in self._ordered:
            await source.close()
        await self._servers.close()

    def _on_idle(self) -> None:
        """A worker that ends when it is idle is none while something may still be taken."""
        if any(not self._is_quiet(pile.name) and not pile.is_over for pile in self._piles):
            raise DontCloseSpider

    def _is_quiet(self, name: str) -> bool:
        """Whether it gave nothing for ``MOCRA_SEEDS_IDLE`` seconds in which it could have."""
        return name not in self._failing and time.monotonic() - self._busy_at.get(name, 0.0) >= self._options.idle

    # ------------------------------------------------------------------ piles

    async def _take_on(self, pile: Pile, feeder: Feeder) -> None:
        """Whatever happens: a pile of which nobody takes would let the crawl end, or hang."""
        await self._insist(pile.name, lambda: self._take(pile, feeder))

    async def _take(self, pile: Pile, feeder: Feeder) -> None:
        while await feeder.room():
            got, others = await self._insist(pile.name, lambda: pile.take(CHUNK))
            if got or others:
                self._busy_at[pile.name] = time.monotonic()
            if not got:
                if pile.is_over:
                    return
                await self._pause(feeder)
                continue
            self._give_all(pile, feeder, got)
            while not await feeder.stored():
                if feeder.is_stopped:
                    return
                self._give_all(pile, feeder, got)  # in the crawl that took the place of the one that was lost
            numbers = [number for number, _ in got]
            await self._insist(pile.name, lambda numbers=numbers: pile.stored(numbers))  # type: ignore[misc]

    def _give_all(self, pile: Pile, feeder: Feeder, got: Sequence[tuple[int, bytes]]) -> None:
        for number, data in got:
            self._give(feeder, pile.name, data, "" if pile.name != "stdin" else f"line {number + 1}", None)

    async def _keep_alive(self, pile: Pile) -> None:
        """However long this worker does not want more."""
        while True:
            await asyncio.sleep(self._mocra.options.queue.lease / 3)
            with contextlib.suppress(MocraError):
                await pile.live()

    async def _pause(self, feeder: Feeder) -> None:
        """Until the next look at a source that gave nothing."""
        await feeder.pause(self._options.poll)

    # ------------------------------------------------------------------ sources with positions

    async def read(self, feeder: Feeder, positions: Mapping[str, bytes]) -> bool:
        """See :class:`mocra_scrapy.runtime.feeding.Sources`."""
        misplaced, drained_at = feeder.misplaced, time.monotonic()
        for source in self._ordered:
            self._busy_at[source.name] = time.monotonic()
        tasks = {
            source.name: asyncio.create_task(
                self._follow(source, feeder, positions.get(source.name)), name=f"mocra seeds {source.name}"
            )
            for source in self._ordered
        }
        try:
            while True:
                for task in tasks.values():
                    if task.done():
                        task.result()
                if feeder.misplaced != misplaced:
                    logger.warning("Another worker reads the sources of crawl %r now", self._mocra.crawl)
                    return False
                if not feeder.is_drained:
                    drained_at = time.monotonic()
                if self._is_exhausted(tasks, time.monotonic() - drained_at):
                    return True
                await asyncio.sleep(LOOK)
        finally:
            await end_tasks(list(tasks.values()))

    def _is_exhausted(self, tasks: Mapping[str, asyncio.Task[None]], drained: float) -> bool:
        """Whether nothing more is to be expected: all that ends has ended, the rest gave nothing for
        ``MOCRA_SEEDS_IDLE`` seconds in which the crawl had nothing to do, either.
        """
        endless = [source.name for source in self._ordered if source.is_endless]
        if any(not task.done() for name, task in tasks.items() if name not in endless):
            return False
        endless += [pile.name for pile in self._piles if not pile.is_over]
        if not endless:
            return True
        return not self._never and drained >= self._options.idle and all(map(self._is_quiet, endless))

    async def _follow(self, source: Ordered, feeder: Feeder, position: bytes | None) -> None:
        await self._insist(source.name, lambda: source.begin(position, feeder.run))
        while await feeder.room():
            found: list[Found] = await self._insist(source.name, lambda: source.read(CHUNK))
            if not found:
                if source.is_over:
                    return
                await self._pause(feeder)
                continue
            self._busy_at[source.name] = time.monotonic()
            for data, place in found:
                name = f"seed {feeder.run} {source.name} {place} ".encode("utf-8", "surrogatepass")
                # With what it is: at the same place of the file that took this one's place is another one.
                self._give(feeder, source.name, data, place, name + data)
            feeder.place(source.name, source.position)

    # ------------------------------------------------------------------ one seed

    def _give(self, feeder: Feeder, source: str, data: bytes, place: str, name: bytes | None) -> None:
        """Take it in; what can't be taken in is stored as it is, and becomes a dead letter."""
        self._stats.inc_value("mocra/seeds/read")
        spider = self._mocra.crawler.spider
        assert spider is not None
        try:
            for i, request in enumerate(requests_of(spider, data, self._longest)):
                feeder.give(request, None if name is None else _digest(name + b" %d" % i))
        except IgnoreRequest as error:  # a handler of request_scheduled
            logger.debug("Seed %s of %s is ignored: %s", place, source, error)
        except Exception as error:
            self._stats.inc_value("mocra/seeds/invalid")
            self._bad += 1
            if self._bad <= LOGGED:
                more = "; further ones are only counted (mocra/seeds/invalid)" if self._bad == LOGGED else ""
                known = isinstance(error, (UnreadableSeed, MocraError))
                logger.error(
                    "%s can't be used and becomes a dead letter: %s%s",
                    f"Seed {place} of {source}" if place else f"A seed of {source}",
                    redact(str(error)),
                    more,
                    exc_info=not known,
                )
            feeder.give_as_it_is(wrapped(data, source, place, self._longest), name and _digest(name))

    async def _insist(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """The answer of *call*, repeated until there is one, at growing distances: whatever it raises, for
        the crawl and the other sources go on, and nobody else would ask.
        """
        pause, told = FIRST_PAUSE, ""
        while True:
            try:
                answer = await call()
            except Exception as error:
                self._failing.add(name)
                self._stats.inc_value("mocra/seeds/errors")
                known = isinstance(error, MocraError)
                text = redact(str(error) if known else f"{type(error).__name__}: {error}")
                if text != told:
                    told = text
                    logger.error("%s gives no seeds, it is asked again: %s", name, text, exc_info=not known)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                if name in self._failing:
                    self._failing.discard(name)
                    self._busy_at[name] = time.monotonic()
                    logger.info("%s gives seeds again", name)
                return answer


def _digest(name: bytes) -> bytes:
    return hashlib.blake2b(name, digest_size=16).digest()
