"""Ways in which callbacks, errbacks, pipelines and spider middlewares give requests and items."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import scrapy
from scrapy import Request
from scrapy.exceptions import DropItem
from scrapy.http import Response

from tests.e2e.ways.way import Way, _OneSeed


class CallbackGenerator(_OneSeed):
    def seeded(self, response: Response) -> Any:
        yield {"item": 1}
        yield None
        yield self.get("/ok/child")
        yield self.get("/ok/child")


class CallbackAsyncGenerator(_OneSeed):
    async def seeded(self, response: Response) -> Any:
        yield {"item": 1}
        await asyncio.sleep(0)
        yield self.get("/ok/child")


class CallbackCoroutine(_OneSeed):
    async def seeded(self, response: Response) -> Any:
        await asyncio.sleep(0)
        return [{"item": 1}, self.get("/ok/child")]


class CallbackReturnsOne(_OneSeed):
    def seeded(self, response: Response) -> Any:
        return self.get("/ok/child", self.one)

    def one(self, response: Response) -> Any:
        return {"item": 1}


class CallbackReturnsNone(_OneSeed):
    def seeded(self, response: Response) -> Any:
        return None


class CallbackYieldsRubbish(_OneSeed):
    def seeded(self, response: Response) -> Any:
        yield 7
        yield self.get("/ok/child")


@dataclasses.dataclass
class Thing:
    n: int


class Classic(scrapy.Item):
    n = scrapy.Field()


class ItemsOfAllKinds(_OneSeed):
    def seeded(self, response: Response) -> Any:
        return [Thing(1), Classic(n=2), {"n": 3}]


class CallbackRaises(_OneSeed):
    letters = {"callback": 1}

    def seeded(self, response: Response) -> Any:
        yield {"item": "before"}
        yield self.get("/ok/before")
        raise ValueError("in the middle")


class CoroutineRaises(_OneSeed):
    letters = {"callback": 1}

    async def seeded(self, response: Response) -> Any:
        await asyncio.sleep(0)
        raise ValueError("in the middle")


class AsyncGeneratorRaises(_OneSeed):
    letters = {"callback": 1}

    async def seeded(self, response: Response) -> Any:
        yield {"item": "before"}
        yield self.get("/ok/before")
        await asyncio.sleep(0)
        raise ValueError("in the middle")


class WrongArguments(Way):
    letters = {"callback": 1}

    async def start(self) -> Any:
        yield self.get("/ok/a", self.needs)

    def needs(self, response: Response, something: int) -> Any:
        yield {"something": something}


# ---------------------------------------------------------------------- errbacks


class Refuses:
    def process_request(self, request: Any, spider: Any = None) -> None:
        if "refused" in request.url:
            raise scrapy.exceptions.IgnoreRequest("no")
        if "breaks" in request.url:
            raise ValueError("a bug in a middleware")


class Errbacks(Way):
    letters = {"download": 2, "retry": 5}
    settings_ = {"RETRY_TIMES": 1, "DOWNLOADER_MIDDLEWARES": {Refuses: 500}}

    async def start(self) -> Any:
        for path in ("/drop", "/status/404", "/status/503", "/ok/refused", "/ok/breaks"):
            yield self.get(path, errback=self.failed)
            yield self.get(f"{path}/nobody-listens")
        yield Request("http://127.0.0.1:1/closed", self.parse, errback=self.failed)
        yield self.get("/status/404/coroutine", errback=self.failed_too)

    def failed(self, failure: Any) -> Any:
        path = self.path(failure.request.url)
        yield {"failed": path, "kind": failure.type.__name__}
        yield self.get(f"/ok/after{path}")

    async def failed_too(self, failure: Any) -> Any:
        return [{"failed": "coroutine"}]


class ErrbackRaises(Way):
    letters = {"callback": 1}

    async def start(self) -> Any:
        yield self.get("/status/404", errback=self.failed)

    def failed(self, failure: Any) -> Any:
        yield {"failed": 1}
        raise ValueError("in an errback")


class HandledStatus(Way):
    handle_httpstatus_list = [404]

    async def start(self) -> Any:
        yield self.get("/status/404", errback=self.parse)
        yield self.get("/status/410")
        yield self.get("/status/418", meta={"handle_httpstatus_all": True})


# ---------------------------------------------------------------------- pipelines


class Moody:
    @classmethod
    def from_crawler(cls, crawler: Any) -> Any:
        pipeline = cls()
        pipeline.crawler = crawler
        return pipeline

    crawler: Any

    async def process_item(self, item: Any) -> Any:
        await asyncio.sleep(0)
        spider, kind = self.crawler.spider, item.get("kind")
        if kind == "drop":
            raise DropItem("not wanted")
        if kind == "fail":
            raise ValueError("a bug in a pipeline")
        if kind == "crawl":
            self.crawler.engine.crawl(spider.get("/ok/from-pipeline"))
        if kind == "inline":
            response = await self.crawler.engine.download_async(spider.get("/ok/inline-of-pipeline"))
            item["status"] = response.status
        return item


class Pipelines(_OneSeed):
    letters = {"item": 2}
    settings_ = {"ITEM_PIPELINES": {Moody: 1}}

    def seeded(self, response: Response) -> Any:
        for kind in ("fine", "drop", "fail", "crawl", "inline", "fail", "fine"):
            yield {"kind": kind}


class PipelineOfStartItems(Way):
    settings_ = {"ITEM_PIPELINES": {Moody: 1}}

    async def start(self) -> Any:
        for kind in ("fine", "drop", "fail", "crawl", "inline"):
            yield {"kind": kind}


class OnlyOneItemAtATime(Pipelines):
    settings_ = {"ITEM_PIPELINES": {Moody: 1}, "CONCURRENT_ITEMS": 1}


# ---------------------------------------------------------------------- spider middlewares


class AddsAndDrops:
    def process_spider_output(self, response: Any, result: Any) -> Any:
        for one in result:
            if not (isinstance(one, Request) and one.url.endswith("/1")):
                yield one
        yield Request(response.urljoin("/ok/added"))

    async def process_spider_output_async(self, response: Any, result: Any) -> Any:
        async for one in result:
            if not (isinstance(one, Request) and one.url.endswith("/1")):
                yield one
        yield Request(response.urljoin("/ok/added"))


class Rescues:
    def process_spider_exception(self, response: Any, exception: Exception) -> Any:
        return [{"rescued": str(exception)}, Request(response.urljoin("/ok/rescued"))]


class RefusesInput:
    def process_spider_input(self, response: Any) -> None:
        if response.url.endswith("/2"):
            raise ValueError("not this one")


class SpiderMiddlewares(_OneSeed):
    seed = "/links/4"
    settings_ = {"SPIDER_MIDDLEWARES": {AddsAndDrops: 100, RefusesInput: 200}}

    def seeded(self, response: Response) -> Any:
        yield from response.follow_all(css="a", errback=self.failed)

    def failed(self, failure: Any) -> Any:
        yield {"failed": str(failure.value)}


class SpiderMiddlewareRescues(CallbackRaises):
    letters = {}
    settings_ = {"SPIDER_MIDDLEWARES": {Rescues: 100}}


class DepthLimit(_OneSeed):
    settings_ = {"DEPTH_LIMIT": 3, "CONCURRENT_REQUESTS": 1}

    def seeded(self, response: Response) -> Any:
        depth = response.meta["depth"]
        yield {"depth": depth}
        yield self.get(f"/ok/depth-{depth + 1}", self.seeded)
