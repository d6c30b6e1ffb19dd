"""``Rfc9111``: what the cache middleware does under our policy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection, Mapping
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from scrapy.exceptions import IgnoreRequest
from scrapy.http.request import NO_CALLBACK
from scrapy.utils.httpobj import urlparse_cached

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.cache.httpcache.machine import Fetch, Missing, PassBy, Serve, Validate
from mocra_scrapy.cache.httpcache.messages import Answer
from mocra_scrapy.downloadermiddlewares.httpcache_entries import NotRecorded, answer_of, ask_of, extra_of, response_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.cache.httpcache.messages import Ask, Stored
    from mocra_scrapy.cache.httpcache.page_cache import PageCache, Passage

logger = logging.getLogger(__name__)

#: Where the fields of a request are kept that validation put others in place of.
REPLACED = "_mocra_httpcache_replaced"
#: Validations behind the scenes at the same time, at most; others are done by who comes next.
MOST_BEHIND = 64
CACHED, STALE = ("cached",), ("cached", "stale")


class Middleware(Protocol):
    """The part of the middleware that is used here."""

    crawler: Crawler
    stats: StatsCollector
    ignore_missing: bool

    @property
    def DOWNLOAD_EXCEPTIONS(self) -> tuple[type[Exception], ...]: ...  # noqa: N802 - Scrapy's name

    def saved(self, stored: Stored) -> None: ...

    def aside(self, request: Request) -> AbstractContextManager[object]: ...

    def sent_back(self, request: Request) -> bool: ...

    def is_refused(self, request: Request, response: Response) -> bool: ...


class Rfc9111:
    """A hit is answered on the way to the site, before it takes a permit, a departure or a connection.

    ==========================  ==================================================================================
    a request                   here
    ==========================  ==================================================================================
    fresh response stored       is answered, with the flag ``cached``
    stale, and that is allowed  is answered, with the flags ``cached`` and ``stale``; validated behind the scenes
    stale                       goes on with the conditions of the stored response; a 304 becomes that response
    nothing stored              goes on, or waits for one that did
    ``dont_cache``              goes on, and its response comes back, as if there were no cache
    offline                     is answered with whatever is stored, or dropped
    waits, the worker closes    goes back into the queue; what is not from there goes on
    ==========================  ==================================================================================
    """

    def __init__(self, middleware: Middleware, pages: PageCache, ignored_schemes: Collection[str]) -> None:
        self._middleware, self._pages, self._ignored_schemes = middleware, pages, ignored_schemes
        self._stats = middleware.stats
        self._under_way: WeakKeyDictionary[Request, Passage] = WeakKeyDictionary()
        self._behind: set[asyncio.Task[None]] = set()
        self._not_recorded = NotRecorded()

    def process_request(self, request: Request) -> Awaitable[Request | Response | None] | None:
        """``None``: it goes on; itself: it goes back into the queue."""
        if REPLACED in request.meta:  # it comes by once more
            _restore(request)
        if request.meta.get("dont_cache") or urlparse_cached(request).scheme in self._ignored_schemes:
            return None
        return self._begin(request)

    def process_response(self, request: Request, response: Response) -> Awaitable[Response] | Response:
        passage = self._ended(request)
        return response if passage is None else self._answered(request, passage, response)

    def process_exception(self, request: Request, exception: Exception) -> Response | None:
        passage = self._ended(request)
        if passage is None:
            return None
        if not isinstance(exception, self._middleware.DOWNLOAD_EXCEPTIONS):
            self._pages.given_up(passage)
            return None
        answer = self._pages.failed(passage)
        if answer is None:
            return None
        self._stats.inc_value("httpcache/errorrecovery")
        return response_of(answer, STALE, url=request.url)

    def finished(self, request: Request) -> None:
        """The engine let go of *request*. It may not have been answered: it went back into the queue."""
        if request in self._under_way and (passage := self._ended(request)) is not None:
            self._pages.given_up(passage)

    def close(self) -> None:
        """End what is done behind the scenes."""
        if self._behind:
            self._closing = asyncio.ensure_future(end_tasks(list(self._behind)))

    def _ended(self, request: Request) -> Passage | None:
        """The passage of *request*, which is over; ``None``: it had none."""
        if REPLACED in request.meta:
            _restore(request)
        return self._under_way.pop(request, None)

    # ------------------------------------------------------------------ on the way to the site

    async def _begin(self, request: Request) -> Request | Response | None:
        passage = self._under_way.get(request)  # of a validation behind the scenes
        if passage is None:
            ask = ask_of(request, shared=self._pages.machine.rules.shared)
            if self._middleware.ignore_missing:
                return await self._offline(request, ask)
            passage = await self._pages.begin(ask, lambda: self._middleware.aside(request))
            if passage.waited:
                self._stats.inc_value("mocra/httpcache/waited")
            if passage.put_off and self._middleware.sent_back(request):
                return request
        decision = passage.decision
        if isinstance(decision, Serve) and decision.answer.status >= 400 and request.meta.get("retry_times"):
            # Nobody retries to be told the same: an error that is fresh is for others.
            decision = passage.decision = Fetch()
        one = None if isinstance(decision, (PassBy, Missing)) else decision.stored
        if one is not None:
            request.meta["cache_timestamp"] = one.received
        if isinstance(decision, Serve):
            return await self._hit(request, passage, decision)
        if isinstance(decision, (Fetch, Missing)):
            self._stats.inc_value("httpcache/miss")
        if isinstance(decision, Missing):
            return response_of(Answer(504, {}, b"", request.url), CACHED)
        if isinstance(decision, Validate):
            _replace(request, decision.conditions)
        self._under_way[request] = passage
        return None

    async def _hit(self, request: Request, passage: Passage, decision: Serve) -> Response:
        if decision.validate:
            await self._validate_behind(request, passage)
        self._stats.inc_value("httpcache/hit")
        if decision.stale:
            self._stats.inc_value("mocra/httpcache/stale")
        self._middleware.saved(decision.stored)
        return response_of(decision.answer, STALE if decision.stale else CACHED, url=request.url)

    async def _offline(self, request: Request, ask: Ask) -> Response:
        answer = await self._pages.offline(ask)
        if answer is None:
            self._stats.inc_value("httpcache/miss")
            self._stats.inc_value("httpcache/ignore")
            raise IgnoreRequest(f"Ignored request not in cache: {request}")
        self._stats.inc_value("httpcache/hit")
        return response_of(answer, CACHED, url=request.url)

    async def _validate_behind(self, request: Request, passage: Passage) -> None:
        if len(self._behind) >= MOST_BEHIND or (validation := await self._pages.validation(passage)) is None:
            return
        again = request.replace(callback=NO_CALLBACK, errback=None, cb_kwargs={})
        self._under_way[again] = validation
        task = asyncio.ensure_future(self._fetched_behind(again))
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def _fetched_behind(self, request: Request) -> None:
        engine = self._middleware.crawler.engine
        assert engine is not None
        try:
            await engine.download_async(request)
            self._stats.inc_value("mocra/httpcache/validated_behind")
        except Exception as error:
            logger.debug("HTTP cache: %s was not validated: %r", request, error)
        finally:
            if (passage := self._under_way.pop(request, None)) is not None:
                self._pages.given_up(passage)

    # ------------------------------------------------------------------ on the way back

    async def _answered(self, request: Request, passage: Passage, response: Response) -> Response:
        refused = self._middleware.is_refused(request, response)
        outcome, stored = await self._pages.answered(
            passage, answer_of(response), refused=refused, **extra_of(response)
        )
        stats = self._stats
        if outcome.answer is None:
            request.meta.pop("cache_timestamp", None)
        if isinstance(passage.decision, Fetch):
            stats.inc_value("httpcache/firsthand")
        elif isinstance(passage.decision, Validate) and not (outcome.validated or outcome.stale):
            stats.inc_value("httpcache/invalidate")
        if outcome.validated:
            stats.inc_value("httpcache/revalidate")
        elif outcome.stale:
            stats.inc_value("httpcache/errorrecovery")
        elif request.method == "GET":
            stats.inc_value("httpcache/store" if stored else "httpcache/uncacheable")
            if self._pages.machine.rules.always_store and not (stored or refused):
                self._not_recorded.tell(request.url, self._pages.why_not(passage.ask, answer_of(response)))
        if outcome.answer is None:
            return response
        return response_of(outcome.answer, STALE if outcome.stale else CACHED, url=request.url)


def _replace(request: Request, fields: Mapping[bytes, bytes]) -> None:
    """Put *fields* into the request, until it is answered: whoever retries it copies it without them."""
    headers = request.headers
    request.meta[REPLACED] = {name.decode("latin-1"): headers.getlist(name) for name in fields}
    for name, value in fields.items():
        headers[name] = value


def _restore(request: Request) -> None:
    for name, values in request.meta.pop(REPLACED).items():
        if values:
            request.headers.setlist(name, values)
        else:
            request.headers.pop(name, None)
