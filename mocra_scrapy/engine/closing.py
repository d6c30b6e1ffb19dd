"""Whether the engine closes its spider, for whoever would make it wait.

The private names here: ``_slot`` of the engine and its ``closing``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy.crawler import Crawler


def is_closing(crawler: Crawler) -> bool:
    """Whether the spider of *crawler* is being closed, for whatever reason. Scrapy tells of it only
    when all pages and items are done.
    """
    try:
        engine: Any = getattr(crawler, "engine", None)
    except RuntimeError:  # Scrapy 2.18 and later: "not set yet"
        return False
    slot = getattr(engine, "_slot", None)
    return getattr(slot, "closing", None) is not None
