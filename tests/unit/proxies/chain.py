"""The pool's middlewares of one crawler, without a network."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from scrapy import Request
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from mocra_scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from mocra_scrapy.downloadermiddlewares.httpproxy import (
    HttpProxyMiddleware,
    ProxyBodyMiddleware,
    ProxyChoiceMiddleware,
    ProxyRetryMiddleware,
)
from mocra_scrapy.proxies.component import Proxies
from mocra_scrapy.proxies.putting_off import PuttingOff
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.worker.earlier_failures import NO_FAILURES

URLS = [f"http://user:planted{n}@127.0.0.1:{8000 + n}" for n in range(3)]


class Delivery:
    """As much of one as is asked for."""

    failures = NO_FAILURES


class Chain:
    """The pool's middlewares of one crawler, and that of cookies where there are sessions."""

    def __init__(self, **settings: Any) -> None:
        self.crawler = get_crawler(
            settings_dict={"MOCRA_PROXIES": URLS, "MOCRA_BYPASS_MAX_WAIT": 0.01, "MOCRA_PROXY_REFRESH": 0, **settings}
        )
        self.crawler.spider = self.crawler.spidercls.from_crawler(self.crawler, name="s")
        self.mocra = Mocra.from_crawler(self.crawler)
        self.choice = ProxyChoiceMiddleware(self.crawler)
        self.outer, self.inner = HttpProxyMiddleware(self.crawler), ProxyBodyMiddleware(self.crawler)
        self.retry = ProxyRetryMiddleware(self.crawler)
        self.cookies = [CookiesMiddleware.from_crawler(self.crawler)] if "MOCRA_SESSIONS" in settings else []
        self.pool = self.mocra.component(Proxies)
        self.putting_off = self.mocra.component(PuttingOff)

    async def out(self, request: Request) -> Any:
        """The way to the site; what comes of it is a request that is to wait, or nothing."""
        for middleware in (*self.cookies, self.outer, self.choice):
            answer: Any = middleware.process_request(request)
            if isinstance(answer, Awaitable):
                answer = await answer
            if answer is not None:
                return answer
        return None

    def back(self, request: Request, response: Response) -> Any:
        response.request = request
        answer: Any = self.choice.process_response(request, response)
        for middleware in (self.outer, *self.cookies, self.retry, self.inner):
            if isinstance(answer, Request):
                break
            answer = middleware.process_response(request, answer)
        return answer

    def failed(self, request: Request, exception: Exception) -> Any:
        self.choice.process_exception(request, exception)
        return self.outer.process_exception(request, exception)

    def stat(self, name: str) -> int:
        assert self.crawler.stats is not None
        return cast("int", self.crawler.stats.get_value(f"mocra/proxy/{name}", 0))


def all_out(chain: Chain) -> None:
    for member in chain.pool.choices.members.values():
        member.whole.until = chain.pool.choices.clock() + 20
        chain.pool.choices.changed(member)
