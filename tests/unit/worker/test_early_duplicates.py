"""Known links are dropped as they leave the callback, where nobody can tell the difference."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.http import Response
from scrapy.spidermiddlewares.depth import DepthMiddleware
from scrapy.spidermiddlewares.referer import RefererMiddleware
from scrapy.utils.test import get_crawler

from mocra_scrapy.worker.duplicates import ClusterFilter, RecentDupeFilter
from mocra_scrapy.worker.early_duplicates import EarlyDuplicates, answer_early

KNOWN, NEW, AGAIN = "http://s.test/known", "http://s.test/new", "http://s.test/again"
WAYS = ("process_spider_output", "process_spider_output_async")


class Theirs:
    """A spider middleware of the project's own."""


def output() -> list[Any]:
    return [Request(KNOWN), {"item": 1}, Request(NEW), Request(AGAIN, meta={"depth_reset": True}), Request(KNOWN)]


async def passed(ours: EarlyDuplicates, way: str, response: Response, things: list[Any]) -> list[Any]:
    if way == WAYS[0]:
        return list(ours.process_spider_output(response, things))

    async def each() -> AsyncIterator[Any]:
        for thing in things:
            yield thing

    return [thing async for thing in ours.process_spider_output_async(response, each())]


def urls(things: list[Any]) -> list[Any]:
    return [thing.url if isinstance(thing, Request) else thing for thing in things]


def a_page(**meta: Any) -> Response:
    return Response("http://s.test/", request=Request("http://s.test/", meta=meta))


class Stage:
    """A filter that knows two links, spider middlewares, and an engine whose signals nobody hears."""

    def __init__(self, *more: object, depth: bool = True, **settings: Any) -> None:
        self.crawler = get_crawler(Spider, settings)
        self.crawler.spider = Spider("s")
        self.filter = ClusterFilter(RecentDupeFilter.from_crawler(self.crawler))
        for url in (KNOWN, AGAIN):
            self.filter.remember(self.filter.recent.fingerprint(Request(url)))
        self.ours = EarlyDuplicates()
        scrapys: list[object] = [RefererMiddleware(self.crawler.settings)]
        if depth:
            assert self.crawler.stats is not None
            scrapys.append(DepthMiddleware.from_crawler(self.crawler))
        self.engine = SimpleNamespace(unheard=True, spider_middlewares=(self.ours, *scrapys, *more))
        answer_early(self.crawler, self.engine, self.filter)  # type: ignore[arg-type]

    def stat(self, name: str) -> Any:
        assert self.crawler.stats is not None
        return self.crawler.stats.get_value(name)

    async def __call__(self, way: str, *things: Any, **meta: Any) -> list[Any]:
        return urls(await passed(self.ours, way, a_page(**meta), list(things) or output()))


@pytest.mark.parametrize("way", WAYS)
async def test_before_anybody_asked_all_pass(way: str) -> None:
    assert urls(await passed(EarlyDuplicates(), way, a_page(), output())) == urls(output())


@pytest.mark.parametrize("way", WAYS)
async def test_what_was_dropped_is_told_once_a_page(way: str) -> None:
    ours, told = EarlyDuplicates(), []
    page = a_page()
    ours.activate(lambda request: request.url in (KNOWN, AGAIN), lambda *facts: told.append(facts))
    assert urls(await passed(ours, way, page, output())) == [{"item": 1}, NEW]
    assert told == [(page, 3, 1)]
    assert urls(await passed(ours, way, page, [Request(NEW)])) == [NEW]
    assert len(told) == 1, "nothing was dropped"


@pytest.mark.parametrize("way", WAYS)
async def test_a_callback_that_breaks_off_has_its_links_counted(way: str) -> None:
    ours, told = EarlyDuplicates(), []
    ours.activate(lambda request: True, lambda *facts: told.append(facts[1:]))

    class BreaksOff(list[Any]):
        def __iter__(self) -> Any:
            yield Request(KNOWN)
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        await passed(ours, way, a_page(), BreaksOff())
    assert told == [(1, 0)]


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_dropped_early_counts_as_in_scrapy(way: str) -> None:
    stage = Stage()
    assert await stage(way, depth=4) == [{"item": 1}, NEW]
    assert stage.stat("dupefilter/filtered") == 3
    assert stage.stat("request_depth_max") == 5
    assert stage.filter.recent.told, "the first one is logged"


@pytest.mark.parametrize("way", WAYS)
async def test_of_links_that_begin_anew_the_depth_is_nothing(way: str) -> None:
    stage = Stage()
    again = [Request(AGAIN, meta={"depth_reset": True}) for _ in range(2)]
    assert await stage(way, *again, depth=4) == []
    assert stage.stat("request_depth_max") == 0
    assert stage.stat("dupefilter/filtered") == 2


async def test_a_page_without_a_depth_has_depth_0() -> None:
    stage = Stage()
    assert await stage(WAYS[1]) == [{"item": 1}, NEW]
    assert stage.stat("request_depth_max") == 1


async def test_without_scrapys_depth_middleware_none_is_counted() -> None:
    stage = Stage(depth=False)
    assert await stage(WAYS[1], depth=4) == [{"item": 1}, NEW]
    assert stage.stat("request_depth_max") is None
    assert stage.stat("dupefilter/filtered") == 3


async def test_while_somebody_hears_what_is_dropped_nothing_is() -> None:
    stage = Stage()
    stage.engine.unheard = False
    assert await stage(WAYS[1]) == urls(output())
    assert stage.stat("dupefilter/filtered") is None


@pytest.mark.parametrize(
    "stage",
    [
        lambda: Stage(Theirs()),
        lambda: Stage(DEPTH_LIMIT=3),
        lambda: Stage(DEPTH_STATS_VERBOSE=True),
        lambda: Stage(DUPEFILTER_DEBUG=True),
        lambda: Stage(REQUEST_FINGERPRINTER_CLASS=f"{__name__}.OwnFingerprinter"),
    ],
    ids=["a middleware of the project", "DEPTH_LIMIT", "DEPTH_STATS_VERBOSE", "DUPEFILTER_DEBUG", "a fingerprinter"],
)
async def test_where_somebody_could_tell_the_difference_all_pass(stage: Any) -> None:
    assert await stage()(WAYS[1]) == urls(output())


class OwnFingerprinter:
    def fingerprint(self, request: Request) -> bytes:
        return request.url.encode()


def test_without_our_middleware_there_is_nothing_to_do() -> None:
    stage = Stage()
    stage.engine.spider_middlewares = ()
    answer_early(stage.crawler, stage.engine, stage.filter)  # type: ignore[arg-type]
