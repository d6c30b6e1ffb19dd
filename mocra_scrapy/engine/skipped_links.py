"""Hears what Scrapy's own middlewares refuse. They count it; nobody else learns which request it was:
there is no signal for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.spidermiddlewares.depth import DepthMiddleware
from scrapy.spidermiddlewares.urllength import UrlLengthMiddleware

if TYPE_CHECKING:
    from scrapy import Request, Spider

#: Hears why, and which request.
Listener = Callable[[str, "Request"], None]


def hear_of_skipped(middlewares: Iterable[Any], skipped: Listener) -> None:
    """Tell *skipped* of each request that one of *middlewares* refuses, by the reason ``offsite``,
    ``robots``, ``depth`` or ``url_length``. Classes that a project derives from Scrapy's are heard,
    too. One that Scrapy should have changed by then is left alone: nobody hears of it.
    """
    for middleware in middlewares:
        if isinstance(middleware, OffsiteMiddleware):
            _hear(middleware, "should_follow", _offsite, skipped)
        elif isinstance(middleware, RobotsTxtMiddleware):
            _hear(middleware, "process_request_2", _robots, skipped)
        elif isinstance(middleware, (DepthMiddleware, UrlLengthMiddleware)):
            reason = "depth" if isinstance(middleware, DepthMiddleware) else "url_length"
            _hear(middleware, "get_processed_request", _dropped(reason), skipped)


def _hear(middleware: Any, name: str, wrapped: Callable[[Any, Listener], Any], skipped: Listener) -> None:
    method = getattr(middleware, name, None)
    if method is not None:
        setattr(middleware, name, wrapped(method, skipped))


def _offsite(method: Callable[[Request, Spider], bool], skipped: Listener) -> Any:
    def should_follow(request: Request, spider: Spider) -> bool:
        follow = method(request, spider)
        if not follow:
            skipped("offsite", request)
        return follow

    return should_follow


def _robots(method: Callable[[Any, Request], None], skipped: Listener) -> Any:
    def process_request_2(rp: Any, request: Request, *more: Any) -> None:
        try:
            method(rp, request, *more)
        except IgnoreRequest:
            skipped("robots", request)
            raise

    return process_request_2


def _dropped(reason: str) -> Callable[[Any, Listener], Any]:
    def wrapped(method: Callable[[Request, Any], Request | None], skipped: Listener) -> Any:
        def get_processed_request(request: Request, response: Any) -> Request | None:
            processed = method(request, response)
            if processed is None:
                skipped(reason, request)
            return processed

        return get_processed_request

    return wrapped
