"""``HttpCacheMiddleware``: in the place of Scrapy's where ``HTTPCACHE_POLICY`` or ``HTTPCACHE_STORAGE`` names
one of ours.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from scrapy.downloadermiddlewares import httpcache

from mocra_scrapy.cache.httpcache.flights import Flights
from mocra_scrapy.cache.httpcache.machine import Machine
from mocra_scrapy.cache.httpcache.page_cache import Entries, PageCache, is_personal, rules_of
from mocra_scrapy.cache.httpcache.pages import SharedPages, print_name
from mocra_scrapy.downloadermiddlewares.httpcache_entries import (
    FoundResponses,
    SharingPolicy,
    StorageEntries,
    ask_of,
    response_of,
    stored_of,
    user_of,
)
from mocra_scrapy.downloadermiddlewares.httpcache_rfc9111 import Rfc9111
from mocra_scrapy.engine.hooks import EngineHooks
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import CacheBounds
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.httpcache import POLICY, STORAGE, read_httpcache

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.settings import BaseSettings
    from scrapy.statscollectors import StatsCollector
    from typing_extensions import Self

    from mocra_scrapy.cache.httpcache.messages import Stored

#: Requests that wait for another one's answer without taking a place of the downloader, at most.
MOST_WAITING = 500
#: Where Scrapy's middleware keeps the page that it found while it asks whether that still holds.
FOUND = "cached_response"


class RFC9111Policy:
    """``HTTPCACHE_POLICY``: RFC 9111, as a private or as a shared cache (``MOCRA_HTTPCACHE_SCOPE``)."""

    def __init__(self, settings: BaseSettings) -> None:
        """Raises ConfigurationError: a setting is wrong."""
        self.options = read_httpcache(settings)
        self.machine = Machine(rules_of(self.options))

    def should_cache_request(self, request: Request) -> bool:
        """What Scrapy's own middleware asks.

        Raises:
            ConfigurationError: always: it can't use this policy.
        """
        raise _not_ours("HTTPCACHE_POLICY", POLICY)


class BackendCacheStorage(FoundResponses):
    """``HTTPCACHE_STORAGE``: on ``MOCRA_BACKEND``, for all workers."""

    def __init__(self, settings: BaseSettings) -> None:
        """Raises ConfigurationError: a setting is wrong."""
        super().__init__()
        self.options = read_httpcache(settings)
        self.pages: SharedPages | None = None

    def open_spider(self, spider: Spider) -> None:
        """What Scrapy's own middleware calls, too.

        Raises:
            ConfigurationError: that one is in use: it can't use this storage.
        """
        if self.pages is None:
            raise _not_ours("HTTPCACHE_STORAGE", STORAGE)

    def close_spider(self, spider: Spider) -> None:
        """It is closed with the backend."""


def _not_ours(name: str, path: str) -> ConfigurationError:
    return ConfigurationError(
        name,
        f"{path} works in our middleware only, and Scrapy's is in use",
        "Leave the add-on on (MOCRA_ENABLED), or set one of Scrapy's",
    )


class CacheOfPages:
    """A component of :class:`~mocra_scrapy.runtime.Mocra`: the entries of this crawler's scope, and who
    asks for what.
    """

    def __init__(self, mocra: Mocra) -> None:
        options = read_httpcache(mocra.settings)
        scope = options.namespace(mocra.crawl, mocra.options.project, mocra.job.spider)
        assert mocra.crawler.stats is not None
        self._stats = mocra.crawler.stats
        self._cache = mocra.backend.cache(f"http:{scope}", options.bounds)
        self._claims = mocra.backend.cache(f"http-claims:{scope}", CacheBounds(1_000_000, 268_435_456, 4096))
        self.pages = SharedPages(self._cache, options, self._stats)
        longest = mocra.settings.getfloat("DOWNLOAD_TIMEOUT") + mocra.options.bypass_max_wait
        self.flights = Flights(self._claims, mocra.worker, longest)

    async def open(self) -> None:
        """Nothing has to be fetched."""

    async def close(self) -> None:
        await self.flights.close()
        await self.pages.dictionary.close()
        if self._cache.evicted:
            self._stats.set_value("mocra/httpcache/evicted", self._cache.evicted)
        await self._cache.close()
        await self._claims.close()


class HttpCacheMiddleware(httpcache.HttpCacheMiddleware):
    """Scrapy's, with its settings, stats and flags. What differs:

    ==============  ====================================================================================
    our policy      RFC 9111, see :class:`~mocra_scrapy.downloadermiddlewares.httpcache_rfc9111.Rfc9111`,
                    with any storage
    our storage     the backend's, for all workers, with any policy
    either          a page that nobody has is asked for once at a time, by one worker
    pools           what says that a session is over is not kept, in one of Scrapy's storages either
    none of these   it is Scrapy's own
    ==============  ====================================================================================
    """

    def __init__(self, settings: Any, stats: StatsCollector) -> None:
        """Raises NotConfigured: ``HTTPCACHE_ENABLED`` is false; ConfigurationError: a setting is wrong."""
        super().__init__(settings, stats)
        self.options = read_httpcache(settings)
        self._rfc9111: Rfc9111 | None = None
        self._backend: BackendCacheStorage | None = None
        self._flights: Flights | None = None
        self._leads: WeakKeyDictionary[Request, str] = WeakKeyDictionary()
        self._waiting = 0
        self._hooks: EngineHooks | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        middleware = super().from_crawler(crawler)
        middleware._set_up(crawler)
        return middleware

    def _set_up(self, crawler: Crawler) -> None:
        mocra = Mocra.from_crawler(crawler)
        self._state, self._refusals = mocra.worker_state, mocra.refusals
        ours = isinstance(self.storage, BackendCacheStorage)
        if not ours and not isinstance(self.policy, RFC9111Policy):
            return
        parts = mocra.component(CacheOfPages)
        self._flights = parts.flights
        if ours:
            self._backend = self.storage
            self.storage.pages = parts.pages
        if isinstance(self.policy, RFC9111Policy):
            entries: Entries = parts.pages if ours else StorageEntries(self.storage, crawler)
            pages = PageCache(self.policy.machine, entries, parts.flights, self.options.wait)
            self._rfc9111 = Rfc9111(self, pages, self.options.ignored_schemes)
        elif self.options.shared:
            self.policy = SharingPolicy(self.policy, rules_of(self.options))

    def spider_opened(self, spider: Spider) -> None:
        if self._flights is not None:
            hooks = EngineHooks(self.crawler)
            hooks.on_finished(self._finished)
            hooks.on_closing(self._flights.stop)
        super().spider_opened(spider)

    def _finished(self, request: Request) -> None:
        if self._rfc9111 is not None:
            self._rfc9111.finished(request)
        elif (name := self._leads.pop(request, None)) is not None and self._flights is not None:
            self._flights.leave(name, stored=False)

    def spider_closed(self, spider: Spider) -> None:
        if self._rfc9111 is not None:
            self._rfc9111.close()
        super().spider_closed(spider)

    # ------------------------------------------------------------------ what Scrapy calls

    def process_request(  # type: ignore[override]
        self, request: Request, spider: Spider | None = None
    ) -> Awaitable[Request | Response | None] | Request | Response | None:
        if self._rfc9111 is not None:
            return self._rfc9111.process_request(request)
        storage = self._backend
        if storage is None or request.meta.get("dont_cache") or not self.policy.should_cache_request(request):
            return super().process_request(request)
        return self._looked_up(storage, request)

    def process_response(  # type: ignore[override]
        self, request: Request, response: Response, spider: Spider | None = None
    ) -> Awaitable[Request | Response] | Request | Response:
        if self._rfc9111 is not None:
            return self._rfc9111.process_response(request, response)
        storage = self._backend
        if self.is_refused(request, response):
            request.meta.pop(FOUND, None)
            if (name := self._leads.pop(request, None)) is not None and self._flights is not None:
                self._flights.leave(name, stored=False)
            return response
        result = super().process_response(request, response)
        if storage is None or (request not in self._leads and not storage.to_store):
            return result
        return self._stored(storage, request, result)

    def process_exception(
        self, request: Request, exception: Exception, spider: Spider | None = None
    ) -> Request | Response | None:
        if self._rfc9111 is not None:
            return self._rfc9111.process_exception(request, exception)
        name, flights = self._leads.pop(request, None), self._flights
        if flights is None:
            return super().process_exception(request, exception)
        if isinstance(exception, self.DOWNLOAD_EXCEPTIONS):
            flights.failed(name or self._name(request), leads=name is not None)
        elif name is not None:
            flights.leave(name, stored=False)
        return super().process_exception(request, exception)

    # ------------------------------------------------------------------ our storage below Scrapy's policies

    async def _looked_up(self, storage: BackendCacheStorage, request: Request) -> Request | Response | None:
        """What Scrapy's middleware decides, with what the backend has."""
        pages, flights = storage.pages, self._flights
        assert pages is not None
        assert flights is not None
        name = self._name(request)

        async def look() -> Stored | None:
            return next(iter(await pages.read(name)), None)

        async def look_at_pools() -> Stored | None:
            wanted = self.ignore_missing and "~" not in name
            return next(iter(await pages.read_pooled(name)), None) if wanted else None

        found = await look() or await look_at_pools()
        if found is None and not self.ignore_missing:
            found, leads = await flights.enter(name, look, self.options.wait, lambda: self.aside(request))
            if leads:
                self._leads[request] = name
            elif found is not None:
                self.stats.inc_value("mocra/httpcache/waited")
            elif flights.stopped and self.sent_back(request):
                return request
        if found is not None:
            storage.found[request] = response_of(found.answer, (), found.extra)
            request.meta["cache_timestamp"] = found.received
        result = super().process_request(request)
        if result is not None and found is not None:
            self.saved(found)
        return result

    async def _stored(
        self, storage: BackendCacheStorage, request: Request, result: Request | Response
    ) -> Request | Response:
        """What Scrapy's middleware wants to be stored, is."""
        assert storage.pages is not None
        name, stored = self._leads.pop(request, None), False
        try:
            for asked, response in storage.taken():
                entry = stored_of(asked, response, rules_of(self.options))
                personal = is_personal(ask_of(asked, shared=self.options.shared), entry.answer)
                stored = await storage.pages.write(self._name(asked), [entry], personal=personal)
        finally:
            if name is not None and self._flights is not None:
                self._flights.leave(name, stored=stored, useless=not stored)
        return result

    def _name(self, request: Request) -> str:
        fingerprinter = self.crawler.request_fingerprinter
        assert fingerprinter is not None
        user = "" if self.options.shared else user_of(request)
        return print_name(request.url, fingerprinter.fingerprint(request), user)

    # ------------------------------------------------------------------ for both

    def saved(self, stored: Stored) -> None:
        """Count what a hit saves: the bytes that did not travel, the seconds that its site took."""
        stats = self.stats
        stats.inc_value("mocra/httpcache/saved_bytes", len(stored.answer.body))
        seconds = stats.get_value("mocra/httpcache/saved_seconds", 0.0) + stored.took
        stats.set_value("mocra/httpcache/saved_seconds", round(seconds, 3))

    def is_refused(self, request: Request, response: Response) -> bool:
        """Whether *response* is none for a cache: a proxy was banned, a session is over."""
        return bool(request.meta.get("dont_cache")) or any(refuses(request, response) for refuses in self._refusals)

    def sent_back(self, request: Request) -> bool:
        """Whether *request*, which is not sent, goes back into the queue when it is returned."""
        return self._state.send_back(request)

    def aside(self, request: Request) -> AbstractContextManager[object]:
        """*request* waits for another one's answer: it takes no place of the downloader meanwhile, unless
        too many do.
        """
        if self._hooks is None:
            self._hooks = EngineHooks(self.crawler)
        waiting = self._flights.waiting if self._flights is not None else 0
        return self._hooks.stepped_out(request) if waiting < MOST_WAITING else nullcontext()
