"""``RetryMiddleware``: Scrapy's, whose retries wait in the queue instead of coming back at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from scrapy import Request
from scrapy.downloadermiddlewares import retry
from scrapy.utils.response import response_status_message

from mocra_scrapy.models.backoff import backoff
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


class RetryMiddleware(retry.RetryMiddleware):
    """Scrapy's, with its settings, meta keys, stats and log lines, and two things more:

    * a retry waits in the queue, where it takes no place of the downloader and outlives this
      process: as long as ``Retry-After`` of the response says (``MOCRA_RETRY_AFTER_CAP``), else by
      exponential back-off with full jitter (``MOCRA_RETRY_BASE``, ``MOCRA_RETRY_CAP``);
    * a request whose retries are used up becomes a dead letter, reason ``retry``
      (``MOCRA_DEAD_RETRIES``), whatever an errback or callback makes of it: the page was not
      fetched, and can be replayed.

    With another scheduler, in commands like ``scrapy shell``, and for requests that bypass the
    scheduler, it is Scrapy's own.
    """

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
        answer = super().process_response(request, response)
        if isinstance(answer, Request):
            self._wait(request, answer, response.headers.get("Retry-After"))
        elif response.status in self.retry_http_codes:
            self._given_up(request, response_status_message(response.status))
        return answer

    def process_exception(
        self, request: Request, exception: Exception, spider: Spider | None = None
    ) -> Request | Response | None:
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

    def _wait(self, request: Request, again: Request, header: bytes | None) -> None:
        delivery = self._delivery(request)
        if delivery is None:
            return
        again.meta["mocra_failures"] = delivery.failures.one_more()
        options, stats = self._options, self.crawler.stats
        told = retry_after(header, time.time(), options.retry_after_cap)
        delay = backoff(again.meta["retry_times"], options.retry_base, options.retry_cap) if told is None else told
        assert stats is not None
        if told is not None:
            stats.inc_value("mocra/retry/told")
        if delay > 0:
            stats.inc_value("mocra/retry/delayed")
            again.meta["mocra_delay"] = delay

    def _given_up(self, request: Request, reason: str) -> None:
        if request.meta.get("dont_retry") or not self._options.dead_retries:
            return
        delivery = self._delivery(request)
        if delivery is not None and not delivery.settled:
            delivery.fail("retry", f"Given up after {counted(request.meta.get('retry_times', 0), 'retry')}: {reason}")
