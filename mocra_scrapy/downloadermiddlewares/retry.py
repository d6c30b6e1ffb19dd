"""``RetryMiddleware``: Scrapy's, whose retries wait in the queue instead of coming back at once."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from scrapy import Request
from scrapy.downloadermiddlewares import retry
from scrapy.utils.response import response_status_message

from mocra_scrapy.models.backoff import backoff
from mocra_scrapy.models.failure_kinds import kind_of_exception
from mocra_scrapy.models.wording import counted
from mocra_scrapy.politeness.retry_after import retry_after
from mocra_scrapy.settings.failures import FailureOptions, read_failure_options
from mocra_scrapy.settings.identity import one_off_command
from mocra_scrapy.worker.deliveries import CURRENT, Delivery
from mocra_scrapy.worker.settlement import trace

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: Deferrals of one request that are not looked at closer, however long they take.
DEFERRED = 20


class RetryMiddleware(retry.RetryMiddleware):
    """Scrapy's, with its settings, meta keys, stats and log lines, and three things more:

    * a retry waits in the queue, where it takes no place of the downloader and outlives this
      process: as long as ``Retry-After`` of the response says (``MOCRA_RETRY_AFTER_CAP``), else by
      exponential back-off with full jitter (``MOCRA_RETRY_BASE``, ``MOCRA_RETRY_CAP``);
    * a request is *deferred*, without a retry, where only its turn was wrong: by 429, by 503 with
      ``Retry-After``, and where it was the breaker's probe. It waits in the same way. A host that
      says so for ever is given up as a whole (``MOCRA_STALL_MAX``); a request to which only itself
      is told so loses its privilege after ``MOCRA_DEFER_MAX`` seconds and 20 times;
    * a request whose retries are used up becomes a dead letter, reason ``retry``
      (``MOCRA_DEAD_RETRIES``), whatever an errback or callback makes of it: the page was not
      fetched, and can be replayed.

    With another scheduler, in commands like ``scrapy shell``, and for requests that bypass the
    scheduler, it is Scrapy's own.
    """

    leaves_letters = True  # nobody else need look after them

    _options: FailureOptions
    _one_off: bool

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises ConfigurationError: a setting is wrong; NotConfigured: ``RETRY_ENABLED`` is false."""
        middleware = super().from_crawler(crawler)
        middleware._options = read_failure_options(crawler.settings)
        middleware._one_off = one_off_command() is not None
        return middleware

    def process_response(
        self, request: Request, response: Response, spider: Spider | None = None
    ) -> Request | Response:
        told = None
        if response.status in self.retry_http_codes:
            header = response.headers.get("Retry-After")
            told = retry_after(header, time.time(), self._options.retry_after_cap)
            asked_to_wait = response.status == 429 or (response.status == 503 and told is not None)
            deferred = self._defer(request, response_status_message(response.status), told, asked_to_wait)
            if deferred is not None:
                return deferred
        answer = super().process_response(request, response)
        if isinstance(answer, Request):
            self._wait(request, answer, told)
        elif response.status in self.retry_http_codes:
            self._given_up(request, response_status_message(response.status))
        return answer

    def process_exception(
        self, request: Request, exception: Exception, spider: Spider | None = None
    ) -> Request | Response | None:
        if isinstance(exception, self.exceptions_to_retry):
            deferred = self._defer(request, kind_of_exception(exception), None, False)
            if deferred is not None:
                return deferred
        answer = super().process_exception(request, exception)
        if isinstance(answer, Request):
            self._wait(request, answer, None)
        elif isinstance(exception, self.exceptions_to_retry):
            self._given_up(request, trace(exception))
        return answer

    def _delivery(self, request: Request) -> Delivery | None:
        """The delivery of *request*; ``None``: it did not come from our scheduler, or not for good."""
        delivery = CURRENT.get()
        return None if self._one_off or delivery is None or delivery.request is not request else delivery

    # ------------------------------------------------------------------ deferred

    def _defer(self, request: Request, reason: str, told: float | None, asked_to_wait: bool) -> Request | None:
        """*request* once more, without a retry; ``None``: it is not to be deferred."""
        delivery = self._delivery(request)
        if delivery is None or request.meta.get("dont_retry") or not self._retries_of(request):
            return None
        is_probe = delivery.lease is not None and delivery.lease.probe
        if not is_probe and not asked_to_wait:
            return None
        times, now = delivery.failures.deferrals, time.time()
        if times >= DEFERRED and now - delivery.failures.deferred_at >= self._options.defer_max:
            return None
        again = request.copy()
        again.dont_filter = True
        again.meta["mocra_failures"] = delivery.failures.deferred(now)
        why = "it was the probe of its slot" if is_probe and not asked_to_wait else "the site asks to wait"
        logger.debug("Deferring %s (%s), %s: %s", request, counted(times + 1, "time"), why, reason)
        assert self.crawler.stats is not None
        self.crawler.stats.inc_value("mocra/retry/deferred")
        self._delay(again, told, times + 1)
        return again

    def _retries_of(self, request: Request) -> int:
        most = request.meta.get("max_retry_times")
        return self.max_retry_times if most is None else most

    # ------------------------------------------------------------------ retried, given up

    def _wait(self, request: Request, again: Request, told: float | None) -> None:
        delivery = self._delivery(request)
        if delivery is not None:
            again.meta["mocra_failures"] = delivery.failures.one_more()
            self._delay(again, told, again.meta["retry_times"])

    def _delay(self, again: Request, told: float | None, times: int) -> None:
        """As long as the site said; where it said nothing, or "at once" (which it just refused), by
        back-off.
        """
        options, stats = self._options, self.crawler.stats
        assert stats is not None
        if told:
            stats.inc_value("mocra/retry/told")
        delay = told or backoff(times, options.retry_base, options.retry_cap)
        if delay > 0:
            stats.inc_value("mocra/retry/delayed")
            again.meta["mocra_delay"] = delay

    def _given_up(self, request: Request, reason: str) -> None:
        if request.meta.get("dont_retry") or not self._options.dead_retries:
            return
        delivery = self._delivery(request)
        if delivery is not None and not delivery.settled:
            delivery.fail("retry", f"Given up after {counted(request.meta.get('retry_times', 0), 'retry')}: {reason}")
