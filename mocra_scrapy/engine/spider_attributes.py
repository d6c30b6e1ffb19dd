"""What a spider's own attributes say where Scrapy listens to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.crawler import Crawler as ScrapysCrawler

if TYPE_CHECKING:
    from scrapy.crawler import Crawler


def download_delay_of(crawler: Crawler) -> float | None:
    """``spider.download_delay`` as far as it counts; ``None``: ``DOWNLOAD_DELAY`` does.

    Newer Scrapy makes a setting of it, unless that is set at a higher priority. Older ones ask the
    spider itself, which may have set it in its constructor.
    """
    if hasattr(ScrapysCrawler, "_apply_deprecated_spider_attr"):
        return None
    spider = getattr(crawler, "spider", None) or crawler.spidercls
    delay = getattr(spider, "download_delay", None)
    return None if delay is None else float(delay)
