"""Ways through the downloader: redirects, retries, inline requests, caches, filters."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from typing import Any

from scrapy import Request, signals
from scrapy.exceptions import IgnoreRequest
from scrapy.http import HtmlResponse, Response
from scrapy.pipelines.files import FilesPipeline

from tests.e2e.ways.way import Way, _OneSeed


class InlineRequests(_OneSeed):
    async def seeded(self, response: Response) -> Any:
        fetch = self.crawler.engine.download_async
        for path in ("/ok/inline", "/redirect/ok/target", "/moods/503,200/retried", "/status/404"):
            got = await fetch(self.get(path))
            yield {"inline": path, "status": got.status, "url": self.path(got.url)}
        both = await asyncio.gather(fetch(self.get("/ok/one")), fetch(self.get("/ok/two")))
        yield {"both": [got.status for got in both]}
        yield self.get("/ok/inline", self.parse)


class InlineOfItself(_OneSeed):
    """The request in flight is fetched once more in its own callback."""

    async def seeded(self, response: Response) -> Any:
        for n in range(2):
            got = await self.crawler.engine.download_async(response.request)
            yield {"n": n, "status": got.status}
        yield self.get("/ok/child")


class InlineFails(_OneSeed):
    settings_ = {"RETRY_TIMES": 1}

    async def seeded(self, response: Response) -> Any:
        try:
            await self.crawler.engine.download_async(self.get("/drop"))
        except Exception as error:
            yield {"failed": type(error).__name__}
        yield self.get("/ok/child")


class TheSameAgain(_OneSeed):
    """``yield response.request``: filtered, unless it says ``dont_filter``."""

    # Scrapy's DepthMiddleware writes a depth into the request that is dropped, which is the one in
    # flight, so that what is yielded after it counts from there.
    differs = {"request_depth_max": "a known link is dropped before the spider middlewares see it"}
    n = 0

    def seeded(self, response: Response) -> Any:
        self.n += 1
        yield {"n": self.n}
        if self.n == 1:
            yield response.request
        if self.n < 4:
            yield response.request.replace(dont_filter=True)


class Polling(Way):
    n = 0

    async def start(self) -> Any:
        yield self.get("/ok/poll", self.poll, dont_filter=True)

    def poll(self, response: Response) -> Any:
        self.n += 1
        yield {"n": self.n}
        if self.n < 5:
            yield response.request


class Redirects(Way):
    settings_ = {"REDIRECT_MAX_TIMES": 2}

    async def start(self) -> Any:
        port = self.site.rpartition(":")[2]
        yield self.get("/redirect/ok/target")
        yield self.get("/redirect/redirect/ok/twice")
        yield self.get("/redirect/redirect/redirect/ok/too-often", errback=self.failed)
        yield self.get(f"/redirect//localhost:{port}/ok/other-host")
        yield self.get("/redirect/ok/asked", meta={"dont_redirect": True, "handle_httpstatus_list": [302]})
        yield self.get("/ok/form", method="POST", body=b"x")

    def failed(self, failure: Any) -> Any:
        yield {"failed": failure.type.__name__}


class RedirectToAKnownPage(_OneSeed):
    """The second redirect to a page is filtered, as any second request to it is."""

    seed = "/redirect/ok/target"

    def seeded(self, response: Response) -> Any:
        yield {"page": self.path(response.url)}
        yield self.get("/ok/target")
        yield self.get("/redirect/ok/target?again")
        yield self.get("/redirect/ok/target?free", dont_filter=True)


class Offsite(Way):
    allowed_domains = ["127.0.0.1"]

    async def start(self) -> Any:
        port = self.site.rpartition(":")[2]
        yield self.get("/ok/home")
        yield Request(f"http://localhost:{port}/ok/abroad")
        yield self.get(f"/redirect//localhost:{port}/ok/abroad")
        yield Request(f"http://localhost:{port}/ok/allowed", meta={"allow_offsite": True})


class Retries(Way):
    letters = {"retry": 1}
    settings_ = {"RETRY_TIMES": 2}

    async def start(self) -> Any:
        yield self.get("/moods/503,504,200/both")
        yield self.get("/status/503", errback=self.failed)
        yield self.get("/status/503/none", errback=self.failed, meta={"dont_retry": True})
        yield self.get("/moods/503,503,503,200/more", meta={"max_retry_times": 3})
        yield self.get("/moods/503,200/local", lambda response: {"local": response.status})

    def failed(self, failure: Any) -> Any:
        yield {"failed": failure.type.__name__, "times": failure.value.response.meta.get("retry_times", 0)}


class AskedToWait(Way):
    """503 with ``Retry-After``."""

    differs = dict.fromkeys(
        ("retry/count", "retry/reason_count/503 Service Unavailable"),
        "what a site asks to wait for is deferred, which costs no retry (mocra/retry/deferred)",
    )

    async def start(self) -> Any:
        yield self.get("/busy/0/told")


class RetriesOfACallback(_OneSeed):
    """``get_retry_request`` in a callback."""

    def seeded(self, response: Response) -> Any:
        from scrapy.downloadermiddlewares.retry import get_retry_request

        again = get_retry_request(response.request, spider=self, reason="not yet", max_retry_times=2)
        yield again or {"times": response.meta["retry_times"]}


class CookieJars(_OneSeed):
    def seeded(self, response: Response) -> Any:
        for jar in ("a", "b"):
            yield self.get(f"/ok/{jar}", self.next, meta={"cookiejar": jar}, cookies={"name": jar})

    def next(self, response: Response) -> Any:
        jar = response.meta["cookiejar"]
        yield self.get(f"/ok/next-{jar}", self.shows, meta={"cookiejar": jar})

    def shows(self, response: Response) -> Any:
        yield {"cookie": response.request.headers.get("Cookie", b"").decode()}


class Priorities(Way):
    settings_ = {"CONCURRENT_REQUESTS": 1, "DEPTH_PRIORITY": 1}

    async def start(self) -> Any:
        for priority in (0, 5, -5, 10**20, -(10**20)):
            yield self.get(f"/ok/{priority}", priority=priority)


class Answers:
    """A downloader middleware of the kind that answers by itself."""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        if request.url.endswith("/made-up"):
            return HtmlResponse(request.url, body=b"<html>", request=request)
        if request.url.endswith("/moved"):
            return request.replace(url=request.url.replace("/moved", "/here"))
        if request.url.endswith("/ignored"):
            raise IgnoreRequest
        return None

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if request.url.endswith("/again") and not request.meta.get("again"):
            return request.replace(dont_filter=True, meta={**request.meta, "again": 1})
        if request.url.endswith("/itself") and not request.meta.get("again"):
            request.meta["again"] = 1
            return request
        if request.url.endswith("/bad"):
            raise ValueError("a bug in a middleware")
        return response

    def process_exception(self, request: Any, exception: Exception, spider: Any = None) -> Any:
        if request.url.endswith("/drop?rescued"):
            return HtmlResponse(request.url, body=b"<html>", request=request)
        return None


class DownloaderMiddlewares(Way):
    letters = {"download": 1}
    settings_ = {"DOWNLOADER_MIDDLEWARES": {Answers: 501}, "RETRY_ENABLED": False}

    async def start(self) -> Any:
        for name in ("made-up", "moved", "ignored", "again", "bad", "here"):
            yield self.get(f"/ok/{name}", errback=self.failed)
        yield self.get("/ok/itself", dont_filter=True)
        yield self.get("/drop?rescued")
        yield self.get("/ok/a/bad")

    def failed(self, failure: Any) -> Any:
        yield {"failed": failure.type.__name__}


class HttpCache(_OneSeed):
    settings_ = {"HTTPCACHE_ENABLED": True}

    @classmethod
    def update_settings(cls, settings: Any) -> None:
        super().update_settings(settings)
        settings.set("HTTPCACHE_DIR", tempfile.mkdtemp(), "spider")

    def seeded(self, response: Response) -> Any:
        yield {"cached": "cached" in response.flags}
        if "cached" not in response.flags:
            yield response.request.replace(dont_filter=True)


class Robots(Way):
    settings_ = {"ROBOTSTXT_OBEY": True}

    async def start(self) -> Any:
        yield self.get("/ok/a")
        yield self.get("/ok/b", self.parse)


class Files(_OneSeed):
    """Scrapy's media pipelines fetch inline."""

    settings_ = {"ITEM_PIPELINES": {FilesPipeline: 1}, "MEDIA_ALLOW_REDIRECTS": True}

    @classmethod
    def update_settings(cls, settings: Any) -> None:
        super().update_settings(settings)
        settings.set("FILES_STORE", tempfile.mkdtemp(), "spider")

    def seeded(self, response: Response) -> Any:
        item = {"file_urls": [self.site + "/ok/file", self.site + "/redirect/ok/moved-file", self.site + "/status/404"]}
        yield item
        yield dict(item)


# ---------------------------------------------------------------------- fingerprints


class _Fingerprinted(_OneSeed):
    seed = "/links/20"

    def seeded(self, response: Response) -> Any:
        yield from response.follow_all(css="a")
        yield from response.follow_all(css="a")
        yield {"page": "seed"}


class WholeUrl:
    def fingerprint(self, request: Any) -> bytes:
        return bytes(request.url, "ascii")


class Hexadecimal:
    def fingerprint(self, request: Any) -> bytes:
        return hashlib.sha1(request.url.encode()).hexdigest().encode()


class FourBytes:
    def fingerprint(self, request: Any) -> bytes:
        return hashlib.sha1(request.url.encode()).digest()[:4]


class RaisesForOne:
    def fingerprint(self, request: Any) -> bytes:
        if request.url.endswith("/3"):
            raise KeyError("id")
        return hashlib.sha1(request.url.encode()).digest()


class Listener:
    def __init__(self, crawler: Any) -> None:
        crawler.signals.connect(self.heard, signals.request_scheduled)

    @classmethod
    def from_crawler(cls, crawler: Any) -> Any:
        return cls(crawler)

    def heard(self) -> None:
        """Somebody listens: known links are not dropped early."""


class FingerprintIsTheUrl(_Fingerprinted):
    settings_ = {"REQUEST_FINGERPRINTER_CLASS": WholeUrl}


class FingerprintInHexadecimal(_Fingerprinted):
    settings_ = {"REQUEST_FINGERPRINTER_CLASS": Hexadecimal}


class FingerprintOfFourBytes(_Fingerprinted):
    settings_ = {"REQUEST_FINGERPRINTER_CLASS": FourBytes}


class FingerprinterRaises(_Fingerprinted):
    letters = {"child_lost": 1}
    seed = "/links/8"
    settings_ = {"REQUEST_FINGERPRINTER_CLASS": RaisesForOne}


class FingerprinterRaisesAndSomebodyListens(FingerprinterRaises):
    settings_ = {"REQUEST_FINGERPRINTER_CLASS": RaisesForOne, "EXTENSIONS": {Listener: 1}}
