"""The only file that touches Scrapy's private names. ``tests/unit/engine/test_hooks.py`` has one
test per name.

Needed, because no public hook says it on every path (checked on 2.14 – 2.19):

* when the engine lets go of a request: ``engine._slot.remove_request`` is called once per scheduled
  request, after callback output, children and pipelines, with the object that ``next_request``
  returned; and once more for each ``engine.download_async`` of that object, which
  ``engine._slot.add_request`` tells apart;
* that the engine is about to close: ``engine._slot.close`` is called before requests in flight are
  waited for;
* waking an engine that was told "nothing now": ``engine._slot.nextcall.schedule``; else it looks
  again only every 5 seconds;
* not waiting for a slot's delay a second time, and which slots the downloader worked out itself:
  ``downloader._get_slot``;
* which downloads failed without an errback that took it: ``scraper.enqueue_scrape`` and
  ``scraper.call_spider_async`` (public names);
* places of those that wait: ``downloader.active``;
* the output of callbacks without a hundred tasks for each response:
  ``scraper.handle_spider_output_async`` (a public name);
* deciding whether ``start()`` is to run here: ``engine._start``, made before ``scheduler.open`` and
  first iterated after it; running it once more: ``engine._process_start_next``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydispatch.dispatcher import getAllReceivers, liveReceivers
from scrapy import signals
from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.http import Response
from scrapy.spidermiddlewares.referer import RefererMiddleware

from mocra_scrapy.engine.callback_output import Dropped, Hold, Output, Room, wrapping_output
from mocra_scrapy.engine.idle import EngineSignals
from mocra_scrapy.engine.slot_delay import watch_slots
from mocra_scrapy.models import slot_name

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler


class EngineHooks:
    """What the scheduler needs of the engine of *crawler*; usable from ``Scheduler.open`` on.

    In ``scrapy shell`` and in tests of a scheduler there may be no engine, or no slot: then there
    is nothing to hook.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self.unheard = False
        try:
            self._engine: Any = getattr(crawler, "engine", None)
        except RuntimeError:  # Scrapy 2.18 and later: "not set yet"
            self._engine = None
        self._slot: Any = getattr(self._engine, "_slot", None)
        downloader = getattr(self._engine, "downloader", None)
        self._downloader: Any = downloader
        self.watch_slots = partial(watch_slots, downloader)
        self._slots: Any = getattr(downloader, "slots", {})
        self._active: Any = getattr(downloader, "active", ())
        self._slot_key: Callable[[Request], str] = getattr(downloader, "get_slot_key", slot_of)
        self._default_concurrency: int = getattr(downloader, "domain_concurrency", 8) or 0

    def on_taken(self, taken: Callable[[Request], None]) -> None:
        """Call *taken* with each request that the engine begins to fetch, inline requests
        included.
        """
        if self._slot is None:
            return
        add = self._slot.add_request

        def add_request(request: Request) -> None:
            add(request)
            taken(request)

        self._slot.add_request = add_request

    def on_finished(self, done: Callable[[Request], None]) -> None:
        """Call *done* with each request that the engine lets go of, inline requests included: as
        often as :meth:`on_taken` was called with it.
        """
        if self._slot is None:
            return
        remove = self._slot.remove_request

        def remove_request(request: Request) -> None:
            try:
                remove(request)
            finally:
                done(request)

        self._slot.remove_request = remove_request

    def on_idle(self, decide: Callable[[bool], None]) -> None:
        """Ask *decide* after all handlers of ``spider_idle``, with whether one of them wants the
        spider to stay or to close; it raises ``DontCloseSpider`` or ``CloseSpider`` as they do.

        A handler among the others would not know what those behind it say, and the end of a run is
        for the whole cluster.
        """
        if self._engine is not None:
            self._engine.signals = EngineSignals(self._crawler.signals, decide)

    def on_closing(self, closing: Callable[[], None]) -> None:
        """Call *closing* when the engine begins to close the spider, before it waits for requests
        in flight.
        """
        if self._slot is None:
            return
        close = self._slot.close

        def close_slot() -> Any:
            closing()
            return close()

        self._slot.close = close_slot

    def on_download_failed(self, failed: Callable[[Any], None]) -> None:
        """Call *failed* with the Failure of each download that no errback took.

        A Failure that reaches ``scraper.enqueue_scrape`` is one of the download; what comes out of
        ``call_spider_async`` unchanged was not taken. A spider middleware's own exception passes
        only the second, and ``spider_error`` tells of it.
        """
        scraper = getattr(self._engine, "scraper", None)
        if scraper is None:
            return
        enqueue, call = scraper.enqueue_scrape, scraper.call_spider_async
        failures: dict[int, Any] = {}

        def enqueue_scrape(result: Any, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(result, Response):
                failures[id(result)] = result
            return enqueue(result, *args, **kwargs)

        def call_spider_async(result: Any, request: Request) -> Any:
            return call(result, request) if isinstance(result, Response) else call_errback(result, request)

        async def call_errback(failure: Any, request: Request) -> Any:
            download = failures.pop(id(failure), None)
            try:
                return await call(failure, request)
            except Exception as error:
                if download is not None and error is failure.value:
                    failed(failure)
                raise

        scraper.enqueue_scrape, scraper.call_spider_async = enqueue_scrape, call_spider_async

    def wrap_output(self, wrap: Callable[[Any], Any]) -> None:
        """Put *wrap* around what callbacks and errbacks give, before any spider middleware."""
        if (scraper := getattr(self._engine, "scraper", None)) is not None:
            scraper.call_spider_async = wrapping_output(scraper.call_spider_async, wrap)

    def on_callback_output(self, room: Room, dropped: Dropped, hold: Hold) -> Output | None:
        """Have our :class:`Output` process what callbacks give; ``None``: somebody else does it."""
        engine = self._engine
        return Output.installed(engine, room, dropped, hold, lambda: getattr(engine, "_start", None) is not None)

    def wrap_start(self, wrap: Callable[[AsyncIterator[Any]], AsyncIterator[Any]]) -> bool:
        """Put *wrap* around what ``start()`` and the spider middlewares give. ``False``: there is
        no ``start()`` here.
        """
        start = getattr(self._engine, "_start", None)
        if start is None:
            return False
        self._engine._start = wrap(start)
        return True

    async def start_again(self, wrap: Callable[[AsyncIterator[Any]], AsyncIterator[Any]]) -> bool:
        """Run ``start()`` once more, behind *wrap*, when what is left of the first time has ended.
        ``False``: there is no ``start()`` here.
        """
        engine = self._engine
        process_start = getattr(getattr(getattr(engine, "scraper", None), "spidermw", None), "process_start", None)
        if process_start is None or not hasattr(engine, "_start"):
            return False
        while engine._start is not None:  # noqa: ASYNC110 - Scrapy has no event for it
            await asyncio.sleep(0.05)
        engine._start = start = wrap(await process_start())
        while engine._start is start and engine.spider is not None and engine.running:
            await engine._process_start_next()
        self.wake()
        return True

    def on_crawl(self, known: Callable[[Request], bool], sent_back: Collection[int] = ()) -> None:
        """Ask *known* about each request before Scrapy sends signals for it, as long as nobody
        hears these (:meth:`listen_again`). Those with an id in *sent_back* go back by themselves.

        Nine of ten links of a page are known; the signals cost more than the answer.
        ``engine.crawl`` is public, its replacement behaves like it for every request that is not a
        known duplicate.
        """
        if self._engine is None or not hasattr(self._engine, "crawl"):
            return
        crawl = self._engine.crawl

        def crawl_unknown(request: Request) -> None:
            if sent_back and id(request) in sent_back:
                return
            if not (self.unheard and known(request)):
                crawl(request)

        self._engine.crawl = crawl_unknown
        self.listen_again()

    @property
    def spider_middlewares(self) -> tuple[Any, ...]:
        """Those that are on, in no particular order."""
        return tuple(getattr(getattr(getattr(self._engine, "scraper", None), "spidermw", None), "middlewares", ()))

    @property
    def downloader_middlewares(self) -> tuple[Any, ...]:
        """The same."""
        return tuple(getattr(getattr(self._downloader, "middleware", None), "middlewares", ()))

    def crawl(self, request: Request) -> None:
        """Schedule *request*, as the engine does with what ``start()`` gives."""
        self._engine.crawl(request)

    def listen_again(self) -> None:
        """Find out whether anybody hears of requests that are scheduled or dropped. Of Scrapy's own, the
        offsite filter doesn't count (what is known has passed it before), nor who corrects the Referer of
        redirected requests, as this signal comes (in Scrapy 2.14.0): what is known is not sent.
        """
        heard = (
            receiver
            for signal in (signals.request_scheduled, signals.request_dropped)
            for receiver in liveReceivers(getAllReceivers(self._crawler, signal))
            if type(getattr(receiver, "__self__", None)) not in (OffsiteMiddleware, RefererMiddleware)
        )
        self.unheard = next(iter(heard), None) is None

    def wake(self) -> None:
        """Make the engine ask ``next_request`` and, when nothing is left, whether the spider is idle.
        Nothing to do while it is being opened: it begins to ask by itself.
        """
        if self._slot is not None and self._slot.closing is None and self.running:
            self._slot.nextcall.schedule()

    @property
    def idle(self) -> bool:
        """Whether the engine has nothing to do and nothing to wait for."""
        return self._slot is None or bool(self._engine.spider_is_idle())

    def close_spider(self, reason: str) -> None:
        """Close the spider, in a task of its own."""
        if self._engine is not None and self._slot is not None and self._slot.closing is None:
            self._closer = asyncio.ensure_future(self._engine.close_spider_async(reason=reason))

    def widen(self, slot: str, concurrency: int) -> None:
        """Let the downloader run so many requests of *slot* at once, if it would run fewer."""
        known = self._slots.get(slot)
        if known is not None and known.concurrency < concurrency:
            known.concurrency = concurrency

    def set_concurrency(self, number: int) -> None:
        """``CONCURRENT_REQUESTS`` from now on."""
        if self._downloader is not None:
            self._downloader.total_concurrency = number

    @contextmanager
    def stepped_out(self, request: Request) -> Iterator[None]:
        """*request*, which the downloader has, takes no place of it meanwhile."""
        active = self._active
        if not isinstance(active, set) or request not in active:
            yield
            return
        active.remove(request)
        self.wake()
        try:
            yield
        finally:
            active.add(request)

    @property
    def downloading(self) -> int:
        """Requests that occupy a place of the downloader."""
        return len(self._active)

    @property
    def running(self) -> bool:
        """Whether the engine has begun: the spider and its pipelines are open. (That of a shell runs before.)"""
        scraper = getattr(self._engine, "scraper", None)
        return getattr(scraper, "slot", True) is not None and bool(getattr(self._engine, "running", True))

    @property
    def paused(self) -> bool:
        return bool(getattr(self._engine, "paused", False))

    def slot_of(self, request: Request) -> str:
        """The name of *request*'s download slot."""
        return slot_name(self._slot_key(request))

    def concurrency_of(self, slot: str) -> int:
        """How many requests the downloader runs at once in *slot*; 0: any number."""
        known = self._slots.get(slot)
        if known is not None:
            return int(known.concurrency)
        settings = getattr(self._downloader, "per_slot_settings", {}).get(slot, {})
        return int(settings.get("concurrency", self._default_concurrency))

    def active_in(self, slot: str) -> int:
        """Requests that *slot* holds, waiting and running."""
        known = self._slots.get(slot)
        return 0 if known is None else len(known.active)


def slot_of(request: Request) -> str:
    """The download slot as Scrapy works it out, for a downloader that doesn't tell."""
    slot = request.meta.get("download_slot")
    return slot_name(slot) if slot is not None else urlsplit(request.url).hostname or ""
