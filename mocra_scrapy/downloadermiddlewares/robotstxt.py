"""``RobotsTxtMiddleware``: Scrapy's, with one robots.txt for all workers."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from scrapy import Request, signals
from scrapy.downloadermiddlewares import robotstxt
from scrapy.exceptions import IgnoreRequest
from scrapy.http.request import NO_CALLBACK
from scrapy.utils.httpobj import urlparse_cached
from scrapy.utils.misc import build_from_crawler

from mocra_scrapy.engine.hooks import EngineHooks
from mocra_scrapy.politeness.crawl_delays import CrawlDelays
from mocra_scrapy.politeness.robots import SOONEST, Answer, Postponed, RobotsFile, SharedRobots, Unreadable, origin_of
from mocra_scrapy.politeness.site_feedback import SiteFeedback
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.failures import read_failure_options
from mocra_scrapy.worker.bypass import NoDeparture
from mocra_scrapy.worker.deliveries import CURRENT, Delivery
from mocra_scrapy.worker.earlier_failures import NO_FAILURES

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)
PARSER_LOGGER = logging.getLogger("protego")

#: Redirects that are followed (RFC 9309, 2.3.1.2).
REDIRECTS = 5
#: In ``cb_kwargs`` of a request for a file: it, and what it is redirected to.
HOPS = "mocra_robots_hops"
#: Origins whose file a worker keeps parsed; those of which it has been longest go first.
MOST = 10_000
#: Requests that wait for a file without taking a place of the downloader, at most.
MOST_WAITING = 500
#: Bytes of a file that is parsed in a thread: Protego takes some 6 ms for 1 KB of rules.
LARGE = 16 * 1024
#: Seconds between two looks whether the worker is about to close.
LOOK = 0.5


class ParsedFile:
    """The file of one origin, as this worker uses it.

    Attributes:
        until: when it is looked at again (monotonic).
        told: ``meta["download_slot"]`` of requests whose slots keep its Crawl-delay; ``run``: in
            that run.
    """

    __slots__ = ("parser", "run", "told", "until")

    def __init__(self, parser: Any, until: float, run: int) -> None:
        self.parser, self.until, self.run = parser, until, run
        self.told: set[Any] = set()


class RobotsTxtMiddleware(robotstxt.RobotsTxtMiddleware):
    """Scrapy's, with its settings, parsers, stats and signal. What differs:

    * The workers share the file, by origin, for ``MOCRA_ROBOTS_MAX_AGE`` seconds; one of them
      fetches it.
    * It comes before the pages: one request of a slot waits for it, without a place of the
      downloader, the others wait in the queue. Its ``Crawl-delay`` holds from the first page on.
    * 4xx allows everything. With 5xx or 429 nothing is known, so nothing is fetched from there "now"
      (RFC 9309): the slot is held and its pages are deferred, without a retry, until the site gives
      the file or is given up (``MOCRA_STALL_MAX``). An older copy counts for a week.
    * Where nobody answers, the page that waits fails with the same error, and is retried as if it
      had been asked for itself; the others are deferred.

    In commands like ``scrapy shell`` it is Scrapy's own.
    """

    def __init__(self, crawler: Crawler) -> None:
        """Raises NotConfigured: ``ROBOTSTXT_OBEY`` is false; ConfigurationError: a setting is wrong."""
        super().__init__(crawler)
        mocra = Mocra.from_crawler(crawler)
        self._one_off, self._state = mocra.one_off, mocra.worker_state
        if self._one_off:
            return
        if not PARSER_LOGGER.level:  # it tells of each rule that it passes over, 39,000 in a large file
            PARSER_LOGGER.setLevel(logging.INFO)
        assert crawler.stats is not None
        self._counted = crawler.stats
        self._robots = mocra.component(SharedRobots)
        self._delays, self._feedback = mocra.component(CrawlDelays), mocra.component(SiteFeedback)
        self._delays.has_source = True
        self._cluster = mocra.options.limits.cluster
        self._longest = mocra.options.bypass_max_wait
        self._stall = read_failure_options(crawler.settings).stall_max
        self._state.gate.watched = self._cluster
        self._known: dict[str, ParsedFile] = {}
        self._waiting = 0
        self._hooks: EngineHooks | None = None

    @property
    def _engine(self) -> EngineHooks:
        if self._hooks is None:
            self._hooks = EngineHooks(self.crawler)
        return self._hooks

    def process_request(  # type: ignore[override]
        self, request: Request, spider: object = None
    ) -> Awaitable[Request | None] | None:
        """``None``: it may go on.

        Raises:
            IgnoreRequest: robots.txt forbids it.
        """
        if self._one_off:
            return super().process_request(request)
        meta = request.meta
        if meta.get("dont_obey_robotstxt") or request.url.startswith(("data:", "file:")):
            if HOPS in request.cb_kwargs:
                request.cb_kwargs[HOPS].append(request)
            return None
        url = urlparse_cached(request)
        origin = origin_of(url)
        known = self._known.get(origin)
        if (
            known is None
            or known.until < time.monotonic()
            or known.run != self._state.run
            or meta.get("download_slot") not in known.told
        ):
            return self._ask(request, origin)
        self.process_request_2(known.parser, request)
        return None

    # ------------------------------------------------------------------ a file that is not known

    async def _ask(self, request: Request, origin: str) -> Request | None:
        """``None``: it may go on; else what goes back into the queue."""
        slot, gate = self._engine.slot_of(request), self._state.gate
        known = self._known.get(origin)
        if known is None or known.until < time.monotonic():
            gate.enter(slot)
            try:
                found = await self._awaited(request, origin, slot)
            finally:
                gate.leave(slot)
            if isinstance(found, Request):
                return found
            known = found
        await self._tell(known, request, slot)
        if self._state.waited(request):
            gate.ready(slot)
        else:
            gate.open(slot)
            self._state.look_again()
        self.process_request_2(known.parser, request)
        return None

    async def _awaited(self, request: Request, origin: str, slot: str) -> ParsedFile | Request:
        """What *origin* allows, as soon as that is known; or what goes back into the queue."""
        file, end = None, time.monotonic() + self._patience(request)
        while file is None:
            file = await self._find(request, origin)
            if file is None:
                return request  # the worker closes
            if file.body is None:
                deferred = self._not_now(request, slot, file)
                if deferred is not None:
                    return deferred
                await self._wait_here(request, file, end)
                file = None
        known = self._known.get(origin)  # others waited for the same
        if known is None or known.until < time.monotonic():
            known = await self._parsed(origin, file, request)
        return known

    async def _find(self, request: Request, origin: str) -> RobotsFile | None:
        """``None``: *request* goes back into the queue as it was, for the worker closes."""
        with self._stepped_out(request):
            finding = asyncio.ensure_future(self._robots.find(origin, partial(self._fetch, origin)))
            while not finding.done():
                await asyncio.wait({finding}, timeout=LOOK)
                if self._state.stopping and not finding.done() and self._state.send_back(request):
                    finding.cancel()
                    return None
        try:
            return finding.result()
        except Postponed as error:
            return RobotsFile(not_now=time.time() + 1.0, why=str(error))

    @contextmanager
    def _stepped_out(self, request: Request) -> Iterator[None]:
        """*request* waits, without a place of the downloader unless too many do."""
        self._waiting += 1
        try:
            with self._engine.stepped_out(request) if self._waiting <= MOST_WAITING else nullcontext():
                yield
        finally:
            self._waiting -= 1

    async def _fetch(self, origin: str) -> Answer:
        hops: list[Request] = []
        request = Request(
            f"{origin}/robots.txt",
            priority=self.DOWNLOAD_PRIORITY,
            # Not at once: the next attempt comes when the site says, or by back-off.
            meta={
                "dont_obey_robotstxt": True,
                "dont_retry": True,
                "redirect_ttl": REDIRECTS,
                "allow_offsite": True,
                "mocra_session_pool": False,
            },
            callback=NO_CALLBACK,
            cb_kwargs={HOPS: hops},
        )
        stats, engine = self._counted, self.crawler.engine
        assert engine is not None
        stats.inc_value("robotstxt/request_count")
        try:
            response = await engine.download_async(request)
        except NoDeparture as error:
            raise Postponed(str(error)) from error
        except IgnoreRequest:  # by the project, or after too many redirects: as if there were none
            return Answer(404)
        except Exception as error:
            stats.inc_value(f"robotstxt/exception_count/{type(error)}")
            if hops and origin_of(urlparse_cached(hops[-1])) != origin:  # where it was redirected to
                raise Unreadable(f"redirected to {hops[-1].url}, {type(error).__name__}: {error}") from error
            raise
        stats.inc_value("robotstxt/response_count")
        stats.inc_value(f"robotstxt/response_status_count/{response.status}")
        return Answer(response.status, response.body, response.headers.get("Retry-After"))

    # ------------------------------------------------------------------ what it means

    async def _parsed(self, origin: str, file: RobotsFile, request: Request) -> ParsedFile:
        """As Scrapy does; a file that its parser can't read allows everything."""
        reads: Any = self._parserimpl
        until = time.monotonic() + file.counts(time.time(), self._robots.max_age)
        try:
            # Scrapy's own read what they are given, and nothing else; of others nobody knows.
            if len(file.body or b"") > LARGE and reads.__module__ == "scrapy.robotstxt":
                parser = await asyncio.to_thread(build_from_crawler, reads, self.crawler, file.body)
            else:
                parser = build_from_crawler(reads, self.crawler, file.body)
        except Exception:
            logger.exception("robots.txt of %s can't be parsed: it allows everything", origin)
            parser = None
        known = ParsedFile(parser, until, self._state.run)
        self._known.pop(origin, None)
        self._known[origin] = known
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        parsed = getattr(signals, "robots_parsed", None)  # Scrapy 2.18
        if parser is not None and parsed is not None:
            await self.crawler.signals.send_catch_log_async(signal=parsed, robotparser=parser, request=request)
        return known

    async def _tell(self, known: ParsedFile, request: Request, slot: str) -> None:
        """Its ``Crawl-delay`` holds before a page goes on."""
        run = self._state.run
        if known.run != run or len(known.told) > MOST:
            known.told.clear()
            known.run = run
        if known.parser is not None:
            await self._delays.hear(known.parser, request, slot)
        known.told.add(request.meta.get("download_slot"))

    def _not_now(self, request: Request, slot: str, file: RobotsFile) -> Request | None:
        """*request* once more, later; ``None``: it is not the queue's, and has to wait here.

        Raises:
            Exception: what happened when the file was asked for, if nobody answered.
        """
        wait = max(SOONEST, file.not_now - time.time())
        self._state.gate.close(slot, wait)
        asyncio.get_running_loop().call_later(wait, self._state.look_again)  # what waits behind it has no instant
        if self._cluster:
            self._feedback.hold(slot, wait, f"its robots.txt can't be had ({file.why})")
        if file.error is not None:
            raise file.error
        delivery = self._delivery(request)
        if delivery is None or delivery.lease is None:
            return None
        again = request.copy()
        again.dont_filter = True
        again.meta["mocra_delay"] = wait
        if delivery.failures != NO_FAILURES:
            again.meta["mocra_failures"] = delivery.failures.kept()
        self._counted.inc_value("mocra/robots/deferred")
        logger.debug("Deferring %s for %.1f s: robots.txt can't be had (%s)", request, wait, file.why)
        return again

    @staticmethod
    def _delivery(request: Request) -> Delivery | None:
        """The delivery of *request*; ``None``: it did not come from the scheduler."""
        delivery = CURRENT.get()
        return None if delivery is None or delivery.request is not request else delivery

    def _patience(self, request: Request) -> float:
        """Seconds that *request* may wait here, if it is not the queue's: what only this process has
        waits until its host is given up, what somebody awaits for ``MOCRA_BYPASS_MAX_WAIT``.
        """
        return self._longest if self._delivery(request) is None else self._stall or math.inf

    async def _wait_here(self, request: Request, file: RobotsFile, end: float) -> None:
        """Until the file may be asked for again.

        Raises:
            IgnoreRequest: that is too late.
        """
        with self._stepped_out(request):
            while (wait := file.not_now - time.time()) > 0:
                if time.monotonic() + wait > end or self._state.stopping:
                    self._counted.inc_value("mocra/robots/given_up")
                    setting = "MOCRA_BYPASS_MAX_WAIT" if self._delivery(request) is None else "MOCRA_STALL_MAX"
                    raise IgnoreRequest(
                        f"{request} does not come from the queue, and its robots.txt can't be had ({file.why}) within"
                        f" {setting}. Raise that setting, yield the request from a callback, or set"
                        ' meta["dont_obey_robotstxt"]'
                    )
                await asyncio.sleep(min(wait, LOOK))
