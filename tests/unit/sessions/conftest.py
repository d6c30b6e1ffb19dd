"""Workers that share sessions on one store, and sites that they visit; no process, no network."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.downloadermiddlewares.redirect import RedirectMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from mocra_scrapy import Mocra
from mocra_scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from mocra_scrapy.sessions.assignment import Assignment
from mocra_scrapy.sessions.component import Sessions

Site = Callable[[Request], Response]


class ShopSpider(Spider):
    name = "shop"


def sent(request: Request) -> dict[str, str]:
    """The cookies that *request* carries."""
    raw = (request.headers.get("Cookie") or b"").decode()
    return dict(part.split("=", 1) for part in raw.split("; ") if part)


def far_away(values: Any) -> None:
    """Let other things happen before and after each call of *values*, as with a server."""
    rng = random.Random(7)

    def slowed(call: Any) -> Any:
        async def slow(*args: Any, **more: Any) -> Any:
            for _ in range(rng.randrange(5)):
                await asyncio.sleep(0)
            answer = await call(*args, **more)
            for _ in range(rng.randrange(5)):
                await asyncio.sleep(0)
            return answer

        return slow

    values.get, values.put = slowed(values.get), slowed(values.put)


class Visitor:
    """A worker: the middleware, and an engine that asks *site*.

    Attributes:
        asked: each request as the site saw it: its URL, cookies and headers.
        paused: while it is set, answers stay on their way.
    """

    def __init__(self, url: str, site: Site, **settings: Any) -> None:
        self.site = site
        known = {"MOCRA_BACKEND": url, "MOCRA_SESSIONS": True, **settings}
        self.crawler: Any = get_crawler(ShopSpider, known, prevent_warnings=False)
        self.crawler.spider = self.crawler._create_spider()
        self.crawler.engine = SimpleNamespace(download_async=self.fetch, downloader=SimpleNamespace())
        self.mocra = Mocra.from_crawler(self.crawler)
        self.middleware = CookiesMiddleware.from_crawler(self.crawler)
        self.redirects = RedirectMiddleware.from_crawler(self.crawler)
        self.sessions, self.assignment = self.mocra.component(Sessions), self.mocra.component(Assignment)
        self.stats = self.crawler.stats
        self.landed = asyncio.Event()
        self.landed.set()
        self.on_way = 0
        self.gone = False

    async def open(self) -> None:
        if self.mocra.backend.shared:
            await self.mocra.backend.open(30.0)
        for values in (self.sessions.store._values, self.sessions._pooled):
            far_away(values)
        await self.sessions.open()

    async def close(self) -> None:
        if not self.gone:
            await self.sessions.close()
        if self.mocra.backend.shared:
            await self.mocra.backend.close()

    async def kill(self) -> None:
        """It does nothing any more, and says nothing."""
        self.gone = True
        tasks = [*self.sessions._tasks, *self.sessions.store._tasks]
        for pool in self.sessions.pools.values():
            tasks += [*pool.making.values(), *pool._told]
        for record in self.sessions.store.records.values():
            tasks += [task for task in (record.reading, record.writing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def once(self, request: Request) -> Response | Request:
        """*request* through the middleware, to the site and back."""
        done: Any = self.middleware.process_request(request)
        out = await done if done is not None else None
        if out is not None:
            return out  # type: ignore[no-any-return]
        self.on_way += 1
        await self.landed.wait()
        response = self.site(request)
        await asyncio.sleep(0)
        if self.gone:
            raise asyncio.CancelledError
        response.request = request
        answer: Any = self.middleware.process_response(request, response)
        return await answer if asyncio.iscoroutine(answer) else answer  # type: ignore[no-any-return]

    async def fetch(self, request: Request) -> Response:
        """The same with redirects and retries, as the engine does it."""
        while True:
            answer = await self.once(request)
            if isinstance(answer, Response):
                answer = self.redirects.process_response(request, answer)
            if isinstance(answer, Response):
                return answer
            if answer is request:
                raise IgnoreRequest("it goes back into the queue")
            request = answer

    async def get(self, url: str, **meta: Any) -> Response:
        return await self.fetch(Request(url, meta=meta))


class Stage:
    """Where workers meet: a store of this process, or the server at *url*."""

    def __init__(self, url: str = "") -> None:
        self.url = url or f"memory://{secrets.token_hex(8)}"
        self.name = secrets.token_hex(8)
        self.visitors: list[Visitor] = []

    async def visitor(self, site: Site, **settings: Any) -> Visitor:
        one = Visitor(self.url, site, MOCRA_CRAWL=self.name, **settings)
        self.visitors.append(one)
        await one.open()
        return one

    async def close(self) -> None:
        for visitor in self.visitors:
            await visitor.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    one = Stage()
    yield one
    await one.close()


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for *condition*; generous, for a busy machine."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not happen"
        await asyncio.sleep(0.005)
