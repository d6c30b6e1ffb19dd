"""``CookiesMiddleware``: Scrapy's, with sessions that all workers share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from scrapy.downloadermiddlewares import cookies
from scrapy.exceptions import IgnoreRequest
from scrapy.utils.httpobj import urlparse_cached

from mocra_scrapy.codec.session_headers import give, take_off
from mocra_scrapy.downloadermiddlewares.httpcache_entries import readable
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.sessions.assignment import Assignment
from mocra_scrapy.sessions.jar import is_public_suffix
from mocra_scrapy.sessions.none_found import NoSession
from mocra_scrapy.sessions.record import Record
from mocra_scrapy.worker.deliveries import CURRENT
from mocra_scrapy.worker.earlier_failures import NO_FAILURES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from http.cookiejar import Cookie

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.http.cookies import CookieJar
    from typing_extensions import Self


logger = logging.getLogger(__name__)

#: Seconds after which a request that got no session in time is tried again.
AGAIN = 5.0


def _comes_from_queue(request: Request) -> bool:
    delivery = CURRENT.get()
    return delivery is not None and delivery.request is request and delivery.lease is not None


class CookiesMiddleware(cookies.CookiesMiddleware):
    """Scrapy's, with its settings and meta keys. What differs:

    * A session's cookies are the same on all workers; :setting:`MOCRA_SESSIONS` may give it more:
      headers, a pool from which requests get theirs, a check of each answer.
    * A cookie without a domain goes back to its host alone, and no site deletes another one's.
    * A request carries them while it is on its way, and not before or after: nothing of a session
      reaches the queue, a dead letter or a copy.
    """

    _assignment: Assignment

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises NotConfigured: ``COOKIES_ENABLED`` is false; ConfigurationError: a setting is wrong."""
        middleware = super().from_crawler(crawler)
        middleware._assignment = Mocra.from_crawler(crawler).component(Assignment)
        middleware._assignment.checks.readable = readable
        return middleware

    def process_request(  # type: ignore[override]
        self, request: Request, spider: object = None
    ) -> Awaitable[Request | None] | None:
        """``None``: it has its session."""
        host = urlparse_cached(request).hostname
        if request.meta.get("dont_merge_cookies", False) or not host:
            return None
        take_off(request)
        record = self._assignment.ready(request, host)
        if record is None:
            return self._prepare(request, host)
        return self._equip(request, host, record)

    async def _prepare(self, request: Request, host: str) -> Request | None:
        try:
            found = await self._assignment.prepared(request, host, stays=not _comes_from_queue(request))
        except NoSession as error:
            return self._later(request, str(error))
        if not isinstance(found, Record):
            return found
        saved = self._equip(request, host, found)
        if saved is not None:
            await saved
        return None

    def _later(self, request: Request, why: str) -> Request:
        """*request* once more, without a retry."""
        delivery = CURRENT.get()
        if delivery is None or not _comes_from_queue(request):
            raise IgnoreRequest(f"{request} does not come from the queue, and has no session: {why}")
        self._assignment.sessions.count("mocra/sessions/deferred")
        logger.debug("Deferring %s for %g s: %s", request, AGAIN, why)
        again = request.copy()
        again.dont_filter = True
        again.meta["mocra_delay"] = AGAIN
        if delivery.failures != NO_FAILURES:
            again.meta["mocra_failures"] = delivery.failures.kept()
        return again

    def _equip(self, request: Request, host: str, record: Record) -> Awaitable[None] | None:
        jar = record.jar
        jar.answered_by(host)
        if request.cookies:
            self._process_cookies(self._get_request_cookies(jar, request), jar=jar, request=request)
        request.headers.pop("Cookie", None)
        jar.add_cookie_header(request)
        give(request, self._assignment.headers_for(request, host, record))
        self._debug_cookie(request)
        return self._assignment.save(record)

    def process_response(  # type: ignore[override]
        self, request: Request, response: Response, spider: object = None
    ) -> Response | Request | Awaitable[Response | Request]:
        host = urlparse_cached(request).hostname
        if request.meta.get("dont_merge_cookies", False) or not host:
            return response
        assignment = self._assignment
        record = assignment.record_for(request, host)
        jar = record.jar
        jar.answered_by(host)
        self._process_cookies(jar.make_cookies(response, request), jar=jar, request=request)
        self._debug_set_cookie(response)
        take_off(request)
        saved = assignment.save(record)
        if saved is None:
            return self._judged(request, response, record)
        return self._stored(saved, request, response, record)

    async def _stored(
        self, saved: Awaitable[None], request: Request, response: Response, record: Record
    ) -> Response | Request:
        """The callback comes after that: what it yields may be fetched by any worker, and is to find it."""
        await saved
        return self._judged(request, response, record)

    def _judged(self, request: Request, response: Response, record: Record) -> Response | Request:
        return self._assignment.answered(request, response, record) or response

    def process_exception(self, request: Request, exception: Exception, spider: object = None) -> None:
        take_off(request)
        self._assignment.let_go(request)

    def _process_cookies(self, cookies: Iterable[Cookie], *, jar: CookieJar, request: Request) -> None:
        """As Scrapy does, by the list of public suffixes that came with ``tldextract``."""
        hostname = urlparse_cached(request).hostname
        if hostname is None:
            return
        host = hostname.lower()
        for cookie in cookies:
            domain = cookie.domain.removeprefix(".")
            if domain and is_public_suffix(domain):
                if domain != host:
                    continue
                cookie.domain = host
            jar.set_cookie_if_ok(cookie, request)
