"""The arguments that a spider was made with: Scrapy keeps them nowhere.

``crawler.crawl(spider_cls, *args, **kwargs)`` hands them to ``spider_cls.from_crawler`` and forgets
them; a spider may take them without keeping them. But whatever is made by a crawler is made inside
of that call, so its frame is on the stack.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import TYPE_CHECKING, Any

from scrapy.crawler import Crawler

if TYPE_CHECKING:
    from types import FrameType


def _codes() -> frozenset[CodeType]:
    """Of the methods that begin a crawl; a decorated one is known by the function inside."""
    functions = (getattr(Crawler, name, None) for name in ("crawl", "crawl_async"))
    return frozenset(
        getattr(function, "__wrapped__", function).__code__ for function in functions if function is not None
    )


CRAWLS = _codes()


def arguments_of(crawler: Crawler) -> dict[str, Any]:
    """What *crawler* was told to crawl with, by name, where this is called while it makes its parts;
    else nothing. One without a name is called by its place: ``#1``.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code in CRAWLS and frame.f_locals.get("self") is crawler:
            names = frame.f_locals
            placed = {f"#{place}": value for place, value in enumerate(names["args"], 1)}
            return {**placed, **names["kwargs"]}
        frame = frame.f_back
    return {}
