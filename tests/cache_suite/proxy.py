"""A crawler with our HTTP cache as a proxy: what the suite of cache tests asks of it is fetched by its
engine, through its downloader middlewares.

``python -m tests.cache_suite.proxy crawl|spider|all http://127.0.0.1:ORIGIN`` prints the port that it listens on.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import scrapy
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.exceptions import DontCloseSpider, IgnoreRequest
from scrapy.http.request import NO_CALLBACK

#: What belongs to the connection between the suite and us.
OF_THE_CONNECTION = (b"connection", b"host", b"keep-alive", b"content-length", b"transfer-encoding", b"accept-encoding")

SETTINGS: dict[str, Any] = {
    "ADDONS": {"mocra_scrapy.Addon": 300},
    "HTTPCACHE_ENABLED": True,
    "HTTPCACHE_POLICY": "mocra_scrapy.downloadermiddlewares.httpcache.RFC9111Policy",
    "HTTPCACHE_STORAGE": "mocra_scrapy.downloadermiddlewares.httpcache.BackendCacheStorage",
    "MOCRA_CLOSE": "never",
    "ROBOTSTXT_OBEY": False,
    # The suite wants to see each answer as it came, and says itself what is to be sent.
    "RETRY_ENABLED": False,
    "REDIRECT_ENABLED": False,
    "METAREFRESH_ENABLED": False,
    "COOKIES_ENABLED": False,
    "COMPRESSION_ENABLED": False,
    "HTTPERROR_ENABLED": False,
    "DEFAULT_REQUEST_HEADERS": {},
    "DOWNLOAD_DELAY": 0,
    "CONCURRENT_REQUESTS": 200,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 200,
    "TELNETCONSOLE_ENABLED": False,
    "LOG_LEVEL": "WARNING",
}


class Proxy(scrapy.Spider):
    """Forwards what comes in on a port of its own."""

    name = "proxy"

    async def start(self) -> AsyncIterator[Any]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.crawler.signals.connect(self.stay, scrapy.signals.spider_idle)
        print(server.sockets[0].getsockname()[1], flush=True)
        return
        yield

    def stay(self) -> None:
        raise DontCloseSpider

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                method, path, _ = line.split(b" ", 2)
                headers: dict[bytes, list[bytes]] = {}
                while (field := await reader.readline()).strip():
                    name, _, value = field.partition(b":")
                    headers.setdefault(name.strip().lower(), []).append(value.strip())
                length = int(headers.get(b"content-length", [b"0"])[0])
                body = await reader.readexactly(length) if length else b""
                writer.write(await self.forward(method, path, headers, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def forward(self, method: bytes, path: bytes, headers: dict[bytes, list[bytes]], body: bytes) -> bytes:
        fields: dict[Any, Any] = {name: lines for name, lines in headers.items() if name not in OF_THE_CONNECTION}
        engine = self.crawler.engine
        assert engine is not None
        request = scrapy.Request(
            self.settings["ORIGIN"] + path.decode("latin-1"),
            method=method.decode(),
            headers=fields,
            body=body,
            callback=NO_CALLBACK,
            meta={"handle_httpstatus_all": True, "dont_cache": path.startswith((b"/config/", b"/state/"))},
        )
        try:
            response = await engine.download_async(request)
        except IgnoreRequest:
            return b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n"
        except Exception:
            return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
        head = [b"HTTP/1.1 %d Whatever" % response.status]
        for name, lines in dict.items(response.headers):
            if name.lower() not in (b"content-length", b"transfer-encoding", b"connection"):
                head += [b"%s: %s" % (name, line) for line in lines]
        # A length that is no number of this body's bytes is what some cases send on purpose.
        length = response.headers.get(b"Content-Length")
        empty = method == b"HEAD" or response.status in (204, 304)
        if length is not None and empty:
            head.append(b"Content-Length: " + length)
        elif not empty:
            head.append(b"Content-Length: %d" % len(response.body))
        return b"\r\n".join(head) + b"\r\n\r\n" + (b"" if empty else response.body)


def main(scope: str, origin: str) -> None:
    # CACHE_SUITE_SETTINGS: to run it with another policy, for the table of the guide.
    other = json.loads(os.environ.get("CACHE_SUITE_SETTINGS", "{}"))
    settings = {**SETTINGS, "MOCRA_HTTPCACHE_SCOPE": scope, "ORIGIN": origin, **other}
    process = AsyncCrawlerProcess(settings=settings)
    process.crawl(Proxy)
    process.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
