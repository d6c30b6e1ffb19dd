"""``FeedbackMiddleware``: sees each answer before anybody else does, and tells the cluster what the
site said.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from scrapy import Request
from scrapy import signals as scrapy_signals
from scrapy.exceptions import NotConfigured

from mocra_scrapy.engine.hooks import EngineHooks
from mocra_scrapy.models.failure_kinds import CONNECTING, kind_of_exception, kind_of_status, proxy_name
from mocra_scrapy.politeness.advertised_limits import AdvertisedLimits
from mocra_scrapy.politeness.crawl_delays import CrawlDelays
from mocra_scrapy.politeness.download_outcomes import DownloadOutcomes
from mocra_scrapy.politeness.response_delays import ResponseDelays
from mocra_scrapy.politeness.retry_after import retry_after
from mocra_scrapy.politeness.site_feedback import SiteFeedback
from mocra_scrapy.politeness.slot_rates import SlotRates
from mocra_scrapy.politeness.stall_watch import StallWatch
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.identity import one_off_command

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

logger = logging.getLogger(__name__)

TOO_MANY = 429


class FeedbackMiddleware:
    """Next to the downloader, so that it sees each attempt once: also those that the retry
    middleware takes away, not what a cache answers.

    =============================  ====================================================================================
    the site says                  the cluster does
    =============================  ====================================================================================
    ``Retry-After``, with a status  holds the slot so long, ``MOCRA_RETRY_AFTER_CAP`` at most
    of 400 or more
    429; 503 more than now and     halves the slot's rate, which recovers by and by (``MOCRA_THROTTLE_FEEDBACK_…``)
    then, or with ``Retry-After``
    ``RateLimit``, ``X-RateLimit-…``  holds the slot until more is allowed; or spreads what is left
                                   (``MOCRA_THROTTLE_RATE_LIMIT_HEADERS``)
    ``Crawl-delay`` in robots.txt  keeps so many seconds between two requests of the slot
    =============================  ====================================================================================

    It never waits: notes are told by a task of their own. With ``MOCRA_THROTTLE_SCOPE = "worker"``
    nothing is told.
    """

    def __init__(self, crawler: Crawler) -> None:
        """Raises ConfigurationError: a setting is wrong; NotConfigured: a command that fetches a
        page for a person.
        """
        if one_off_command() is not None:
            raise NotConfigured
        self.crawler = crawler
        assert crawler.stats is not None
        self.stats = crawler.stats
        mocra = Mocra.from_crawler(crawler)
        self._state = mocra.worker_state
        self.feedback = mocra.component(SiteFeedback)
        self.options = self.feedback.options
        self._outcomes = mocra.component(DownloadOutcomes)
        self._outcomes.has_source = True
        self._stalls = mocra.component(StallWatch)
        self._rates = SlotRates()
        self._delays = ResponseDelays(self.feedback)
        self._advertised = AdvertisedLimits(self.feedback, self.stats)
        self._proxies: dict[str, None] = {}  # by name: those that failed since they last worked
        self._sent_at: WeakKeyDictionary[Request, float] = WeakKeyDictionary()  # monotonic
        self._engine: EngineHooks | None = None
        self._crawl_delays = mocra.component(CrawlDelays)
        if self._crawl_delays.wanted and (parsed := getattr(scrapy_signals, "robots_parsed", None)):  # Scrapy 2.18
            crawler.signals.connect(self._robots_parsed, parsed)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def _slot_of(self, request: Request) -> str:
        if self._engine is None:
            self._engine = EngineHooks(self.crawler)
        return self._engine.slot_of(request)

    # ------------------------------------------------------------------ downloads

    def process_request(self, request: Request, spider: Spider | None = None) -> None:
        now = self._sent_at[request] = time.monotonic()
        if self.options.cluster:
            self._rates.departed(self._slot_of(request), now)

    def process_response(self, request: Request, response: Response, spider: Spider | None = None) -> Response:
        sent_at = self._sent_at.pop(request, None)
        if sent_at is None:  # another middleware's answer, a cache's for example
            self._state.not_sent(request)
            return response
        slot, kind = self._slot_of(request), kind_of_status(response.status)
        of_proxy = self._outcomes.is_of_proxy
        is_of_proxy = of_proxy is not None and of_proxy(request)
        if (budgets := self._state.budgets) is not None and budgets.is_on:
            budgets.spent(request, slot, len(response.body), failed=bool(kind))
        if not is_of_proxy:
            self._tell(slot, kind, sent_at)
        if self._proxies and (proxy := request.meta.get("proxy")) and (name := proxy_name(str(proxy))) in self._proxies:
            del self._proxies[name]
            self._tell(name, "", sent_at)
        held = self._advertised.seen(slot, response) if self.options.cluster else 0.0
        if is_of_proxy:
            pass  # neither clock of the site goes on or begins anew
        elif kind in ("http_429", "http_5xx"):
            header = response.headers.get("Retry-After") if self.options.cluster else None  # else nobody is held
            wait = retry_after(header, time.time(), self.options.retry_after)
            self._stalls.failed(slot, sent_at, held if wait is None else wait, f"status {response.status}")
        elif response.status != 407:  # of the proxy
            self._stalls.succeeded(slot)
        if self.options.cluster:
            slower = response.status in self.options.statuses and not self._is_robots(request)
            self._rates.answered(slot, slower)
            self._delays.answered(slot, request.meta.get("download_latency"))
            if response.status >= 400:
                self._apply(slot, response, slower)
        return response

    def _is_robots(self, request: Request) -> bool:
        """Whether it is the robots.txt without which nothing goes to its slot: that waits anyway, and how
        seldom it is asked for is no rate of the slot's.
        """
        return self._crawl_delays.has_source and urlsplit(request.url).path == "/robots.txt"

    def process_exception(self, request: Request, exception: Exception, spider: Spider | None = None) -> None:
        sent_at = self._sent_at.pop(request, None)
        if sent_at is None:  # another middleware refused it, robots.txt forbids it for example
            self._state.not_sent(request)
            return
        kind = kind_of_exception(exception)
        if not kind or (self._outcomes.is_of_proxy is not None and self._outcomes.is_of_proxy(request)):
            return
        proxy = request.meta.get("proxy")
        if proxy and kind in CONNECTING:
            name = proxy_name(str(proxy))
            if len(self._proxies) < 10_000:
                self._proxies[name] = None
            self._tell(name, kind, sent_at)
            return
        slot = self._slot_of(request)
        if (budgets := self._state.budgets) is not None and budgets.is_on:
            budgets.spent(request, slot, 0, failed=True)
        self._tell(slot, kind, sent_at)
        self._stalls.failed(slot, sent_at, 0.0, f"{kind}: {str(exception)[:100]}")

    def _tell(self, slot: str, kind: str, sent_at: float) -> None:
        self._outcomes.post(slot, kind, time.monotonic() - sent_at)

    def _apply(self, slot: str, response: Response, slower: bool) -> None:
        header, options = response.headers.get("Retry-After"), self.options
        rate = self._rates.rate(slot, time.monotonic())
        if header is not None:
            seconds = retry_after(header, time.time(), self.options.retry_after)
            if seconds is None:
                self.stats.inc_value("mocra/throttle/retry_after_malformed")
                logger.debug("Slot %s: Retry-After %r can't be parsed", slot, header[:100])
            elif seconds > 0:
                self._rates.held(slot, time.monotonic() + seconds)
                self.feedback.hold(slot, seconds, f"Retry-After, status {response.status}")
        if slower and (response.status == TOO_MANY or header is not None or self._rates.failing(slot)):
            self.feedback.slow_down(slot, options.floor, rate)

    async def _robots_parsed(self, robotparser: Any, request: Request) -> None:
        """Read by a middleware of the project's own."""
        if not self._crawl_delays.has_source:
            await self._crawl_delays.hear(robotparser, request, self._slot_of(request))
