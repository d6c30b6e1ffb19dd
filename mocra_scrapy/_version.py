"""The package's version, and which Scrapy it needs."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

OLDEST_SCRAPY = (2, 14)


def too_old(scrapy: Any) -> str | None:
    """A sentence where Scrapy is too old for our imports."""
    found = scrapy.version_info
    if found[:2] >= OLDEST_SCRAPY:
        return None
    oldest, shown = ".".join(map(str, OLDEST_SCRAPY)), ".".join(map(str, found))
    return (
        f"mocra_scrapy needs Scrapy {oldest} or later, and this is {shown}. Upgrade it: pip install"
        f' "scrapy>={oldest}", or take mocra_scrapy out of ADDONS and SCHEDULER'
    )
