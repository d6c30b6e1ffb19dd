"""What a retry middleware gives up that is not ours: Scrapy's own, or a project's subclass of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scrapy.downloadermiddlewares.retry import RetryMiddleware

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler


def on_given_up(crawler: Crawler, given_up: Callable[[Request, Any], None]) -> None:
    """Call *given_up* with each request that the crawler's retry middleware tries no more, and the
    reason: a text, an exception or its class. Ours (``leaves_letters``) does the same by itself.

    It asks ``_retry``, which subclasses call with reasons of their own: a response that they give
    up looks like any other one.
    """
    try:
        middleware: Any = crawler.get_downloader_middleware(RetryMiddleware)
    except RuntimeError:  # there is no engine
        return
    if middleware is None or getattr(middleware, "leaves_letters", False):
        return
    retry = middleware._retry

    def and_tell(request: Request, reason: Any, *args: Any, **kwargs: Any) -> Request | None:
        again: Request | None = retry(request, reason, *args, **kwargs)
        if again is None:
            given_up(request, reason)
        return again

    middleware._retry = and_tell
