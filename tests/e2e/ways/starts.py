"""Ways in which a crawl begins, and in which it is fed and closed."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from scrapy import signals
from scrapy.core.engine import ExecutionEngine
from scrapy.crawler import Crawler
from scrapy.exceptions import CloseSpider, DontCloseSpider, IgnoreRequest
from scrapy.http import Response

from tests.e2e.ways.way import Way, _OneSeed

#: Whether this Scrapy has a reason for a ``start()`` that raises, and one for its ``CloseSpider``.
TELLS = "start_error" in inspect.getsource(ExecutionEngine)
CLOSES = "except CloseSpider" in inspect.getsource(ExecutionEngine._process_start_next)


class StartGenerator(Way):
    async def start(self) -> Any:
        for n in range(5):
            yield self.get(f"/ok/{n}")


class StartUrls(Way):
    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        # The default start() doesn't filter: each of them is fetched.
        self.start_urls = [f"{self.site}/ok/{n}" for n in (1, 2, 1)]


class StartFromAList(Way):
    async def start(self) -> Any:
        for request in [self.get("/ok/a"), self.get("/ok/b"), self.get("/ok/a")]:
            yield request


class StartIsEmpty(Way):
    async def start(self) -> Any:
        for never in ():
            yield never


class StartAwaits(Way):
    async def start(self) -> Any:
        await asyncio.sleep(0)
        yield self.get("/ok/a")
        response = await self.crawler.engine.download_async(self.get("/ok/inline"))
        yield {"inline": response.status}
        yield self.get("/ok/b")


class StartWaitsForTheEngine(Way):
    """As Scrapy's documentation has it for a lazy ``start()``."""

    async def start(self) -> Any:
        for n in range(12):
            if self.crawler.engine.needs_backout():
                await self.crawler.signals.wait_for(signals.scheduler_empty)
            yield self.get(f"/ok/{n}")

    settings_ = {"CONCURRENT_REQUESTS": 2}


class StartYieldsItems(Way):
    async def start(self) -> Any:
        yield {"item": 1}
        yield self.get("/ok/a")
        yield {"item": 2}


class StartYieldsOnlyItems(Way):
    async def start(self) -> Any:
        yield {"item": 1}
        yield {"item": 2}


class StartRaises(Way):
    """Scrapy goes on with what it has and closes with a reason that says so."""

    differs = {} if TELLS else {"reason": "an older Scrapy calls a broken start() finished"}

    async def start(self) -> Any:
        yield self.get("/ok/a")
        yield self.get("/links/3", self.links)
        raise ValueError("in the middle of start()")

    def links(self, response: Response) -> Any:
        yield from response.follow_all(css="a")


class StartRaisesAtOnce(Way):
    differs = {} if TELLS else {"reason": "an older Scrapy calls a broken start() finished"}

    async def start(self) -> Any:
        raise ValueError("before anything")
        yield


class _Fingerprinter:
    """A project's own that doesn't know all of its pages."""

    def fingerprint(self, request: Any) -> bytes:
        if request.url.endswith("/bad"):
            raise KeyError("no id in the URL")
        url: bytes = request.url.encode()
        return url


class SeedThatHasNoFingerprint(Way):
    """Scrapy stops for this: it is no error of ``start()`` but of taking in what that gave."""

    settings_ = {"REQUEST_FINGERPRINTER_CLASS": _Fingerprinter}
    page: Any = None

    async def start(self) -> Any:
        self.page = asyncio.Event()
        yield self.get("/ok/a")
        await self.page.wait()
        yield self.get("/ok/bad")
        yield self.get("/ok/never")

    def parse(self, response: Response, **more: Any) -> Any:
        self.page.set()
        yield from super().parse(response, **more)


class StartClosesTheSpider(Way):
    differs = {} if CLOSES else {"reason": "an older Scrapy doesn't close for this and calls it finished"}

    async def start(self) -> Any:
        yield {"item": 1}
        raise CloseSpider("nothing_to_do")


class SeedsTwice(Way):
    """``dont_filter`` seeds that are the same are two."""

    async def start(self) -> Any:
        for _ in range(3):
            yield self.get("/ok/a", dont_filter=True)
        yield self.get("/ok/a")
        yield self.get("/ok/a")


class SeedsThatStayHere(Way):
    async def start(self) -> Any:
        yield self.get("/ok/a", lambda response: [{"lambda": 1}, self.get("/ok/child")])
        yield self.get("/ok/b")
        yield self.get("/ok/a")


# ---------------------------------------------------------------------- spider_idle


class _Idle(Way):
    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **more: Any) -> Any:
        spider = super().from_crawler(crawler, *args, **more)
        crawler.signals.connect(spider.idle, signals.spider_idle)
        return spider

    async def start(self) -> Any:
        yield self.get("/ok/first")

    def idle(self) -> None:
        raise NotImplementedError


class IdleFeedsOnce(_Idle):
    fed = False

    def idle(self) -> None:
        if not self.fed:
            self.fed = True
            self.crawler.engine.crawl(self.get("/ok/fed"))
            raise DontCloseSpider


class IdleFeedsWithoutAWord(_Idle):
    """It is seen that there is something again, whether or not ``DontCloseSpider`` is raised."""

    fed = 0

    def idle(self) -> None:
        if self.fed < 3:
            self.fed += 1
            self.crawler.engine.crawl(self.get(f"/ok/fed-{self.fed}"))


class IdleFeedsLater(_Idle):
    """Batches come from elsewhere; ``DontCloseSpider`` is raised until the last has come."""

    task: Any = None

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.batches = [["/ok/a"], ["/ok/a", "/ok/b"], ["/ok/c", "/moods/503,200/late"]]

    def idle(self) -> None:
        if self.task is not None and not self.task.done():
            raise DontCloseSpider
        if self.batches:
            self.task = asyncio.ensure_future(self.feed(self.batches.pop(0)))
            raise DontCloseSpider

    async def feed(self, paths: list[str]) -> None:
        # Longer than a worker takes to find out that the queue has nothing.
        await asyncio.sleep(0.4)
        for path in paths:
            self.crawler.engine.crawl(self.get(path))


class IdleFeedsForEver(_Idle):
    settings_ = {"CLOSESPIDER_ITEMCOUNT": 4, "CONCURRENT_REQUESTS": 1}
    fed = 0

    def idle(self) -> None:
        self.fed += 1
        self.crawler.engine.crawl(self.get(f"/ok/fed-{self.fed}"))
        raise DontCloseSpider


class IdleCloses(_Idle):
    def idle(self) -> None:
        raise CloseSpider("had_enough")


class IdleOfTwoMinds(_Idle):
    """One handler would close, another one feeds: it is not closed before it has fed."""

    fed = False

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **more: Any) -> Any:
        spider = super().from_crawler(crawler, *args, **more)
        crawler.signals.connect(spider.other, signals.spider_idle)
        return spider

    def idle(self) -> None:
        raise CloseSpider("had_enough")

    def other(self) -> None:
        if not self.fed:
            self.fed = True
            self.crawler.engine.crawl(self.get("/ok/fed"))
            raise DontCloseSpider


# ---------------------------------------------------------------------- from elsewhere


class _Extension:
    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        crawler.signals.connect(self.opened, signals.spider_opened)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Any:
        return cls(crawler)

    def opened(self, spider: Any) -> None:
        raise NotImplementedError


class AtOnce(_Extension):
    def opened(self, spider: Any) -> None:
        self.crawler.engine.crawl(spider.get("/ok/from-extension"))


class ByTimer(_Extension):
    def opened(self, spider: Any) -> None:
        asyncio.get_running_loop().call_later(0.1, lambda: self.crawler.engine.crawl(spider.get("/ok/by-timer")))


class ExtensionCrawls(StartGenerator):
    settings_ = {"EXTENSIONS": {AtOnce: 1}}


class TimerCrawls(Way):
    settings_ = {"EXTENSIONS": {ByTimer: 1}}

    async def start(self) -> Any:
        yield self.get("/slow/0.4")


class Picky:
    def __init__(self, crawler: Crawler) -> None:
        self.spider, self.dropped = crawler, 0
        crawler.signals.connect(self.scheduled, signals.request_scheduled)
        crawler.signals.connect(self.gone, signals.request_dropped)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Any:
        return cls(crawler)

    def scheduled(self, request: Any) -> None:
        if request.url.endswith("/2"):
            raise IgnoreRequest

    def gone(self, request: Any) -> None:
        self.spider.stats.inc_value("ways/dropped")


class SignalsAreHeard(_OneSeed):
    """A handler of ``request_scheduled`` refuses, one of ``request_dropped`` counts."""

    seed = "/links/5"
    settings_ = {"EXTENSIONS": {Picky: 1}}

    def seeded(self, response: Response) -> Any:
        for _ in range(2):
            yield from response.follow_all(css="a")


class CloseInACallback(_OneSeed):
    def seeded(self, response: Response) -> Any:
        yield {"item": 1}
        raise CloseSpider("enough")


class StopInACallback(_OneSeed):
    """As an extension does that has had enough; the engine tells the crawler of its end."""

    def seeded(self, response: Response) -> Any:
        self.stopping = asyncio.ensure_future(self.crawler.engine.stop_async())
        yield {"item": 1}


class Unwilling(_Extension):
    def opened(self, spider: Any) -> None:
        raise CloseSpider("not_today")


class CloseWhenItIsOpened(StartGenerator):
    settings_ = {"EXTENSIONS": {Unwilling: 1}}
