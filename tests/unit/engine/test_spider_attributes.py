"""``download_delay`` of a spider counts where Scrapy listens to it, and no further."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.settings import Settings

from mocra_scrapy.engine import spider_attributes
from mocra_scrapy.engine.spider_attributes import download_delay_of
from mocra_scrapy.runtime import Mocra

MAKES_A_SETTING = hasattr(Crawler, "_apply_deprecated_spider_attr")


class Plain(Spider):
    name = "plain"


class OfTheClass(Spider):
    name = "class"
    download_delay = 0.25


class OfTheConstructor(OfTheClass):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.download_delay = 0.75


def opened(cls: type[Spider], priority: str = "", delay: float = 0.0) -> Crawler:
    """A crawler as it is when the scheduler is made."""
    settings = Settings()
    if priority:
        settings.set("DOWNLOAD_DELAY", delay, priority)
    crawler = Crawler(cls, settings)
    crawler.spider = crawler._create_spider()
    crawler._apply_settings()
    return crawler


def interval(crawler: Crawler) -> float:
    return Mocra.from_crawler(crawler).options.limits.of("s.test").interval


@pytest.mark.filterwarnings("ignore::scrapy.exceptions.ScrapyDeprecationWarning")
@pytest.mark.parametrize(
    ("cls", "expected"), [(Plain, 0.0), (OfTheClass, 0.25), (OfTheConstructor, 0.75)], ids=lambda x: str(x)[-20:]
)
def test_a_spiders_own_delay(cls: type[Spider], expected: float) -> None:
    assert interval(opened(cls)) == expected


@pytest.mark.filterwarnings("ignore::scrapy.exceptions.ScrapyDeprecationWarning")
def test_the_command_line_wins_where_it_does_in_scrapy() -> None:
    crawler = opened(OfTheClass, "cmdline", 0.5)
    assert interval(crawler) == (0.5 if MAKES_A_SETTING else 0.25)


def test_older_and_newer_scrapy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        """It asks the spider."""

    class New:
        def _apply_deprecated_spider_attr(self) -> None:
            """It makes a setting of it."""

    class Made:
        spidercls = OfTheClass
        spider: Spider | None = None

    crawler: Any = Made()
    monkeypatch.setattr(spider_attributes, "ScrapysCrawler", New)
    assert download_delay_of(crawler) is None
    monkeypatch.setattr(spider_attributes, "ScrapysCrawler", Old)
    assert download_delay_of(crawler) == 0.25
    crawler.spider = OfTheConstructor()
    assert download_delay_of(crawler) == 0.75
    crawler.spider, crawler.spidercls = None, Plain
    assert download_delay_of(crawler) is None
