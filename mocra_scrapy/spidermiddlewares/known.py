"""``KnownLinksMiddleware``: known links are dropped as they leave the callback, see
:mod:`mocra_scrapy.worker.early_duplicates`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mocra_scrapy.worker.early_duplicates import EarlyDuplicates

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class KnownLinksMiddleware(EarlyDuplicates):
    """Stands nearest to the spider. Lets everything pass until the worker is open.

    ``SPIDER_MIDDLEWARES = {"mocra_scrapy.spidermiddlewares.known.KnownLinksMiddleware": None}``
    takes it out.
    """

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls()
