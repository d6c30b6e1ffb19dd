"""``BatchPipeline``: an item pipeline that stores in batches, and the base for one of your own::

    class PrintPipeline(BatchPipeline):
        kind = "print"

        @classmethod
        def make_sink(cls, settings, place):
            return PrintSink()

An item leaves it when it is stored: what Scrapy waits for, and the page's acknowledgement with it.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from mocra_scrapy import signals
from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.engine.closing import is_closing
from mocra_scrapy.engine.refusal import failed_to_open, told_in_one_line
from mocra_scrapy.exceptions import ConfigurationError, ItemRefused, MocraError, SinkUnavailable
from mocra_scrapy.models.wording import counted
from mocra_scrapy.pipelines.batcher import Batcher
from mocra_scrapy.pipelines.items import Origins, stored_item
from mocra_scrapy.pipelines.patience import LOOK
from mocra_scrapy.pipelines.sink import Sink, StoredItem
from mocra_scrapy.pipelines.spill import Spill, SpillHead, path_of
from mocra_scrapy.runtime import ATTRIBUTE
from mocra_scrapy.settings.identity import one_off_command, worker_name
from mocra_scrapy.settings.pipelines import read_store_options

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: Seconds between two attempts to reach a sink at the start.
AGAIN = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """Whose items these are, for names of files and keys.

    Attributes:
        field: of a stored item, for its origin; empty: none.
    """

    spider: str
    crawl: str
    worker: str
    field: str


class BatchPipeline:
    """See the module. Works with and without the add-on; only with it does a page come back whose
    items were not stored.

    Attributes:
        kind: a name of its class; spill files have it.
        opened: what the log says when the sink is open, with a place for its name.
        sink: where batches go.
    """

    kind: ClassVar[str]
    opened: ClassVar[str] = "Items go to %s"

    def __init__(self, crawler: Crawler) -> None:
        assert crawler.stats is not None
        self.crawler, self._stats = crawler, crawler.stats
        self._options = options = read_store_options(crawler.settings)
        mocra, spider = getattr(crawler, ATTRIBUTE, None), getattr(crawler.spidercls, "name", None) or "spider"
        crawl, worker = (spider, worker_name()) if mocra is None else (mocra.crawl, mocra.worker)
        self.sink = self.sink_for(crawler, Place(spider, crawl, worker, options.field))
        self._origins = Origins(crawler)
        self._spill: Spill | None = None
        if options.spill is not None:
            head = SpillHead(self.kind, spider, crawl, worker, self.sink.name, path_of(type(self)))
            self._spill = Spill(options.spill, head, options.spill_max)
        self._thread: ThreadPoolExecutor | None = None
        self._batcher: Batcher | None = None
        self._opening = asyncio.Lock()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        with told_in_one_line(crawler):
            return cls(crawler)

    def sink_for(self, crawler: Crawler, place: Place) -> Sink:
        """The same, for a crawl: :meth:`make_sink`, unless it takes more than settings."""
        return self.make_sink(crawler.settings, place)

    @classmethod
    @abstractmethod
    def make_sink(cls, settings: BaseSettings, place: Place) -> Sink:
        """The sink, not open.

        Raises:
            ConfigurationError: a setting is wrong. The crawl does not start.
        """

    # ------------------------------------------------------------------ what Scrapy calls

    async def open_spider(self) -> None:
        """Raises ConfigurationError, SinkUnavailable: the crawl does not start."""
        if one_off_command():  # a page for a person: opened when there is an item
            return
        began = self.crawler.crawling
        try:
            await self._open(lambda: began and not self.crawler.crawling)
        except MocraError as error:
            await failed_to_open(self.crawler, error)
            raise

    async def process_item(self, item: Any) -> Any:
        """Returns *item* when it is stored.

        Raises:
            ItemRefused: the sink can't store it. Its page leaves a dead letter, reason ``item``.
            SinkUnavailable: the worker closes, the sink is away, and the item could not be spilled.
        """
        if self._batcher is None:
            await self._open()
            assert self._batcher is not None
        try:
            stored = stored_item(item, self._origins.next())
        except ItemRefused:
            self._stats.inc_value("mocra/sink/refused")
            raise
        await self._batcher.store(stored)
        return item

    async def close_spider(self) -> None:
        """Writes what is left, within ``MOCRA_BATCH_CLOSE``. Never raises."""
        if self._batcher is None:
            return
        try:
            await self._batcher.close()
            if self._spill is not None:
                self._spill.close()
        except Exception:
            logger.exception("Pipeline %s did not close properly", self.kind)
        finally:
            if self._thread is not None:
                self._thread.shutdown(wait=False)

    # ------------------------------------------------------------------ inside

    async def _open(self, leaves: Callable[[], bool] = lambda: False) -> None:
        async with self._opening:
            if self._batcher is None and await open_sink(self.sink, self._options.start_timeout, leaves):
                self._batcher = Batcher(
                    self.sink,
                    self._options.batch,
                    self,
                    closing=partial(is_closing, self.crawler),
                    spill=None if self._spill is None else self._put_aside,
                )
                logger.info(self.opened, self.sink.name)

    async def _put_aside(self, items: Sequence[StoredItem]) -> None:
        assert self._spill is not None
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "mocra-spill")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._spill.add, items)

    # ------------------------------------------------------------------ what the batcher tells

    def stored(self, items: int, size: int) -> None:
        self._stats.inc_value("mocra/sink/stored", items)
        self._stats.inc_value("mocra/sink/bytes", size)
        self._stats.inc_value("mocra/sink/batches")

    def refused(self, item: StoredItem, reason: str) -> None:
        self._stats.inc_value("mocra/sink/refused")

    def retried(self) -> None:
        self._stats.inc_value("mocra/sink/retried")

    def away(self, error: Exception) -> None:
        self._stats.inc_value("mocra/sink/outages")
        logger.warning("Items can't be stored, and pages wait until they are: %s", str(error) or type(error).__name__)
        self._send(signals.sink_unavailable, error=error)

    def back(self, seconds: float) -> None:
        logger.info("%s takes items again after %.1f s", self.sink.name, seconds)
        self._send(signals.sink_available, seconds=seconds)

    def spilled(self, items: int) -> None:
        assert self._spill is not None
        if not self._stats.get_value("mocra/sink/spilled"):
            logger.error(
                "%s is away while this worker closes: items are spilled to %s. Store them when it is back with scrapy"
                " mocra spill replay",
                self.sink.name,
                self._spill.path,
            )
        self._stats.inc_value("mocra/sink/spilled", items)
        self._send(signals.items_spilled, path=str(self._spill.path), items=items)

    def lost(self, items: int, why: str) -> None:
        if not self._stats.get_value("mocra/sink/lost"):
            logger.error(
                "%s is away while this worker closes, and items could not be spilled: %s. Their pages leave dead letters"
                " (reason item); scrapy mocra dead replay fetches them again",
                self.sink.name,
                why,
            )
        self._stats.inc_value("mocra/sink/lost", items)

    def _send(self, signal: object, **more: Any) -> None:
        self.crawler.signals.send_catch_log(signal, spider=self.crawler.spider, sink=self.sink.name, **more)


async def open_sink(sink: Sink, patience: float, leaves: Callable[[], bool] = lambda: False) -> bool:
    """Open *sink*, trying again for *patience* seconds where it does not answer. ``False``: whoever opens it
    was told to leave meanwhile, as *leaves* says.

    Raises:
        ConfigurationError: it can't be written as things are.
        SinkUnavailable: it did not answer in time.
    """
    loop = asyncio.get_running_loop()
    until, told = loop.time() + patience, False
    while not leaves():
        try:
            await _attempt(sink, max(1.0, until - loop.time()), leaves)
        except ConfigurationError:
            raise
        except (SinkUnavailable, OSError, asyncio.TimeoutError) as error:
            why = str(error) or "no answer"
            if loop.time() + AGAIN >= until and not leaves():
                raise SinkUnavailable(
                    f"{why.rstrip('.')}. {sink.name} did not answer within MOCRA_START_TIMEOUT = {patience:g} s"
                ) from error
            if not told:
                told = True
                logger.info("Waiting for %s, %s at most: %s", sink.name, counted(int(patience), "second"), why)
            await asyncio.sleep(AGAIN)
        else:
            return True
    return False


async def _attempt(sink: Sink, seconds: float, leaves: Callable[[], bool]) -> None:
    """Raises TimeoutError: not within *seconds*, or nobody waits any longer."""
    loop = asyncio.get_running_loop()
    until, opening = loop.time() + seconds, asyncio.ensure_future(sink.open())
    try:
        while (left := until - loop.time()) > 0 and not leaves():
            await asyncio.wait({opening}, timeout=min(left, LOOK))
            if opening.done():
                return opening.result()
        raise asyncio.TimeoutError
    finally:
        await end_tasks([opening])
