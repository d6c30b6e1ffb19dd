"""Known links are dropped as they leave the callback, before Scrapy's
spider middlewares work on them.

Nine of ten links of a page are known, and the way through Scrapy's spider middlewares costs each of
them 40 µs: parsing its URL for a ``Referer``, counting its depth, six asynchronous generators. The
short cut is taken only where nobody can tell the difference, see :func:`answer_early`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy.spidermiddlewares.depth import DepthMiddleware

from mocra_scrapy.worker.recent_fingerprints import KnownLinks

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.worker.duplicates import ClusterFilter


#: Modules of middlewares of which it is known what they do to a link. (That of traps only drops.)
KNOWN_TO_US = ("scrapy.spidermiddlewares.", "mocra_scrapy.spidermiddlewares.traps")


class EarlyDuplicates:
    """Lets everything pass until :meth:`activate`."""

    def __init__(self) -> None:
        self._known: Callable[[Request], bool] | None = None
        self._dropped: Callable[[Response, int, int], None]

    def activate(self, known: Callable[[Request], bool], dropped: Callable[[Response, int, int], None]) -> None:
        """Drop requests that *known* says yes to; tell *dropped* the response, how many they were
        and how many of them had depth 0.
        """
        self._known, self._dropped = known, dropped

    def process_spider_output(self, response: Response, result: Iterable[Any]) -> Iterable[Any]:
        known, dropped, reset = self._known, 0, 0
        if known is None:
            yield from result
            return
        try:
            for o in result:
                if isinstance(o, Request) and known(o):
                    dropped += 1
                    reset += bool(o.meta.get("depth_reset"))
                else:
                    yield o
        finally:
            if dropped:
                self._dropped(response, dropped, reset)

    async def process_spider_output_async(self, response: Response, result: AsyncIterator[Any]) -> AsyncIterator[Any]:
        known, dropped, reset = self._known, 0, 0
        try:
            async for o in result:
                if known is not None and isinstance(o, Request) and known(o):
                    dropped += 1
                    reset += bool(o.meta.get("depth_reset"))
                else:
                    yield o
        finally:
            if dropped:
                self._dropped(response, dropped, reset)


def answer_early(crawler: Crawler, engine: EngineHooks, filter: ClusterFilter) -> None:
    """Ask *filter* about links as they leave the callback, where that makes no difference.

    It makes none when only Scrapy's own spider middlewares are there, of which it is known what
    they do to a request that is dropped afterwards (count its depth; that is done here), when
    nobody hears of dropped requests, and when what is a duplicate depends on URL, method and body
    alone. Not with ``DEPTH_LIMIT``, ``DEPTH_STATS_VERBOSE``, ``DUPEFILTER_DEBUG``: they tell of
    each link.
    """
    settings, stats = crawler.settings, crawler.stats
    middlewares = engine.spider_middlewares
    ours = next((mw for mw in middlewares if isinstance(mw, EarlyDuplicates)), None)
    foreign = [mw for mw in middlewares if mw is not ours and not type(mw).__module__.startswith(KNOWN_TO_US)]
    telling = any(settings.getbool(name) for name in ("DEPTH_STATS_VERBOSE", "DUPEFILTER_DEBUG"))
    if ours is None or foreign or telling or settings.getint("DEPTH_LIMIT") or stats is None:
        return
    recent, links, seen = filter.recent, filter.recent.fingerprint, filter.recent.recent
    if not isinstance(links, KnownLinks):
        return
    counts_depth = any(type(mw) is DepthMiddleware for mw in middlewares)

    def known_link(request: Request) -> bool:
        if not engine.unheard or request.dont_filter:
            return False
        # Ten of them come with each page: those that were met before need no more than this.
        met = links.newest.get(request.url) in seen and request.method == "GET" and not request.body
        if (not met or "verbatim_url" in request.meta) and not filter.is_seen(request):
            return False
        if not recent.told:
            recent.tell(request, crawler.spider)
        return True

    def dropped(response: Response, count: int, reset: int) -> None:
        recent.count(count)
        if counts_depth:
            depth = response.meta.setdefault("depth", 0) + 1 if count > reset else 0
            stats.max_value("request_depth_max", depth)

    ours.activate(known_link, dropped)
