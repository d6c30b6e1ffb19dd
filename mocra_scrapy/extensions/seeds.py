"""``Seeds``: the crawl is fed from the sources that ``MOCRA_SEEDS`` names, while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.exceptions import NotConfigured

from mocra_scrapy.engine.refusal import told_in_one_line
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.reader import touched

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class Seeds:
    """Opens :class:`mocra_scrapy.seeds.SeedSources` where the crawl has any."""

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises NotConfigured: it has none; ConfigurationError: a setting is wrong."""
        if not touched(crawler.settings, "MOCRA_SEEDS"):
            raise NotConfigured
        from mocra_scrapy.settings.seeds import read_seeds

        options = read_seeds(crawler.settings, getattr(crawler.spidercls, "name", None) or "spider")
        mocra = Mocra.from_crawler(crawler)
        if not options.sources or mocra.one_off:
            raise NotConfigured
        from mocra_scrapy.seeds import SeedSources  # not in the start of a worker that needs none

        with told_in_one_line(crawler):
            mocra.extension(SeedSources)
        return cls()
