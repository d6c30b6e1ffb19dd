"""Counts links that are deeper than ``DEPTH_LIMIT``, on versions of Scrapy that don't."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from scrapy.spidermiddlewares.depth import DepthMiddleware

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response
    from scrapy.statscollectors import StatsCollector

#: The stat that newer versions count them in.
SCRAPYS = "depth/request_ignored_count"


def count_too_deep(middlewares: Iterable[Any], stats: StatsCollector) -> None:
    """Count them in ``mocra/depth/filtered``. Nothing happens where there is no limit, or where
    Scrapy counts them.
    """
    if SCRAPYS in DepthMiddleware.get_processed_request.__code__.co_consts:
        return
    for middleware in middlewares:
        if type(middleware) is DepthMiddleware and middleware.maxdepth:
            _count(middleware, stats)


def _count(middleware: DepthMiddleware, stats: StatsCollector) -> None:
    process = middleware.get_processed_request

    def get_processed_request(request: Request, response: Response | None) -> Request | None:
        processed = process(request, response)
        if processed is None:
            stats.inc_value("mocra/depth/filtered")
        return processed

    middleware.get_processed_request = get_processed_request  # type: ignore[method-assign]
