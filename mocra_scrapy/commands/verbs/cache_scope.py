"""The entries of one scope of the HTTP cache, as the words of ``scrapy mocra cache`` see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scrapy.http import Request
from scrapy.utils.misc import build_from_crawler, load_object

from mocra_scrapy.cache.httpcache.pages import SharedPages, page_name, print_name
from mocra_scrapy.commands.verbs.backend_session import opened_backend
from mocra_scrapy.settings.crawl import read_options
from mocra_scrapy.settings.httpcache import read_httpcache

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

    from mocra_scrapy.interfaces import ICache
    from mocra_scrapy.settings.httpcache import HttpCacheOptions


class Uncounted(Counter[str]):
    """A command has no stats."""

    def inc_value(self, key: str, count: int = 1, start: int = 0) -> None:
        self[key] += count


@dataclass
class CacheOfScope:
    """One scope's entries. *counts*: what stats would have."""

    settings: BaseSettings
    options: HttpCacheOptions
    scope: str
    cache: ICache
    pages: SharedPages
    counts: Uncounted


@asynccontextmanager
async def opened_cache(settings: BaseSettings, spider: str) -> AsyncIterator[CacheOfScope]:
    crawl, options = read_options(settings, spider), read_httpcache(settings)
    async with opened_backend(crawl) as (backend, _):
        scope = options.namespace(crawl.crawl, crawl.project, spider)
        cache = backend.cache(f"http:{scope}", options.bounds)
        counts = Uncounted()
        pages = SharedPages(cache, options, counts)
        try:
            yield CacheOfScope(settings, options, scope, cache, pages, counts)
        finally:
            await pages.dictionary.close()
            await cache.close()


def names_of(one: CacheOfScope, url: str) -> tuple[str, str]:
    """Of the page at *url*, under our policy and under Scrapy's."""
    request = Request(url)
    return page_name(request.url), print_name(request.url, fingerprint_of(one.settings, request))


def fingerprint_of(settings: BaseSettings, request: Request) -> bytes:
    """By the project's own fingerprinter. (One that wants a crawler gets none.)"""

    class Crawler:
        pass

    crawler: Any = Crawler()
    crawler.settings = settings
    cls = load_object(settings["REQUEST_FINGERPRINTER_CLASS"])
    found: bytes = build_from_crawler(cls, crawler).fingerprint(request)
    return found
