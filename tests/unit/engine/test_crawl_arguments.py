"""What a crawler was told to crawl with, found where its parts are made."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.settings import Settings
from scrapy.utils.test import get_crawler

from mocra_scrapy.engine.crawl_arguments import CRAWLS, arguments_of


class Asking(Spider):
    """Swallows its arguments, as spiders may, and asks while it is made."""

    name = "asking"
    found: dict[str, Any]

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Any:
        cls.found = arguments_of(crawler)
        raise RuntimeError("that is all")


class Own(Crawler):
    """A project's own."""

    def crawl(self, *args: Any, **kwargs: Any) -> Any:
        return super().crawl(*args, **kwargs, more=3)


def test_both_ways_to_begin_a_crawl_are_known() -> None:
    assert {code.co_name for code in CRAWLS} == {"crawl", "crawl_async"}


@pytest.mark.parametrize("kind", [Crawler, Own])
def test_of_a_crawl(kind: type[Crawler]) -> None:
    failed: list[Any] = []
    crawler = kind(Asking, Settings())
    crawler.crawl("first", n="1").addErrback(failed.append)
    assert failed
    assert Asking.found == {"#1": "first", "n": "1", **({"more": 3} if kind is Own else {})}


async def test_of_a_crawl_in_a_coroutine() -> None:
    with pytest.raises(RuntimeError, match="that is all"):
        await Crawler(Asking, Settings()).crawl_async(n="2")
    assert Asking.found == {"n": "2"}


def test_outside_of_a_crawl_there_are_none() -> None:
    assert arguments_of(get_crawler(Asking)) == {}
