"""The shared HTTP cache beside Scrapy's storages, full, and far away: ``python -m benchmarks httpcache``.

Each crawl is a process of its own that fetches the same pages: first with an empty cache, then, measured, with a
full one. Pages are of 20 kB: a menu that stands on each, and a part of Python's own sources.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import redis as sync_redis
import scrapy
from scrapy.crawler import AsyncCrawlerProcess

from benchmarks.servers import ROOT, delay_proxy, redis_server
from mocra_scrapy.backends import open_backend
from mocra_scrapy.cache.httpcache.listing import sites
from mocra_scrapy.models import CacheBounds

OURS = "mocra_scrapy.downloadermiddlewares.httpcache"
THEIRS = "scrapy.extensions.httpcache"
#: Contestant -> its policy, its storage, what is added to a round trip (ms); ``None``: no Redis.
CONTESTANTS: dict[str, tuple[str, str, float | None]] = {
    "Scrapy, files": (f"{THEIRS}.DummyPolicy", f"{THEIRS}.FilesystemCacheStorage", None),
    "Scrapy, DBM": (f"{THEIRS}.DummyPolicy", f"{THEIRS}.DbmCacheStorage", None),
    "Scrapy, RFC2616Policy, files": (f"{THEIRS}.RFC2616Policy", f"{THEIRS}.FilesystemCacheStorage", None),
    "ours below DummyPolicy, Redis": (f"{THEIRS}.DummyPolicy", f"{OURS}.BackendCacheStorage", 0.0),
    "ours, Redis": (f"{OURS}.RFC9111Policy", f"{OURS}.BackendCacheStorage", 0.0),
    "ours, Redis 2 ms away": (f"{OURS}.RFC9111Policy", f"{OURS}.BackendCacheStorage", 2.0),
    "ours, Redis 10 ms away": (f"{OURS}.RFC9111Policy", f"{OURS}.BackendCacheStorage", 10.0),
}


class Pages(scrapy.Spider):
    """Fetches ``/0`` to ``/pages - 1``."""

    name = "pages"

    async def start(self) -> AsyncIterator[Any]:
        for n in range(int(self.pages)):  # type: ignore[attr-defined]
            yield scrapy.Request(f"{self.site}/{n}")  # type: ignore[attr-defined]

    def parse(self, response: Any) -> None:
        assert response.status == 200


def page(n: int) -> bytes:
    chance = random.Random(n)
    sources = sorted(Path(os.__file__).parent.glob("*.py"))
    text = sources[n % len(sources)].read_text(errors="replace")
    begin = chance.randrange(max(1, len(text) - 12_000))
    menu = "".join(f'<li><a href="/section/{i}/index.html">Section number {i}</a></li>' for i in range(120))
    return f"<html><title>{n}</title><ul>{menu}</ul><pre>{html.escape(text[begin : begin + 12_000])}</pre>".encode()


async def serve() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode().strip("/")
                body = page(int(path)) if path.isdigit() else b""
                fields = b"Content-Type: text/html\r\nCache-Control: max-age=86400\r\n"
                writer.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (fields, len(body)) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def crawl(given: str) -> None:
    """One crawl, in this process; its figures on the last line."""
    settings = json.loads(given)
    process = AsyncCrawlerProcess(settings=settings)
    crawler = process.create_crawler(Pages)
    process.crawl(crawler, site=settings["SITE"], pages=settings["PAGES"])
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    process.start()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert crawler.stats is not None
    print(
        json.dumps(
            {"seconds": time.perf_counter() - began, "cpu": cpu, "hits": crawler.stats.get_value("httpcache/hit", 0)}
        )
    )


@contextmanager
def site() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.httpcache", "serve"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.communicate()


def run(settings: dict[str, Any]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.httpcache", "crawl", json.dumps(settings)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def warm(name: str, pages: int, url: str, port: int, folder: Path) -> dict[str, Any]:
    """A full cache, and what it takes for each page."""
    policy, storage, away = CONTESTANTS[name]
    settings: dict[str, Any] = {
        "HTTPCACHE_ENABLED": True,
        "HTTPCACHE_POLICY": policy,
        "HTTPCACHE_STORAGE": storage,
        "HTTPCACHE_DIR": str(folder / name.replace(",", "").replace(" ", "-")),
        "SITE": url,
        "PAGES": pages,
        "LOG_LEVEL": "ERROR",
        "TELNETCONSOLE_ENABLED": False,
        "CONCURRENT_REQUESTS": 64,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 64,
        "DOWNLOAD_DELAY": 0,
        "MOCRA_SUMMARY": False,
    }
    with sync_redis.Redis(port=port) as server:
        server.flushall()
        empty = server.info("memory")["used_memory"]
        with delay_proxy(port, (away or 0.0) / 2) if away else nullcontext(port) as near:
            if away is not None:
                settings |= {"ADDONS": {"mocra_scrapy.Addon": 300}, "MOCRA_BACKEND": f"redis://127.0.0.1:{near}/0"}
            run(settings | {"MOCRA_CRAWL": "cold"})
            if away is not None:
                kept = server.info("memory")["used_memory"] - empty
            else:
                files = [path for path in Path(settings["HTTPCACHE_DIR"]).rglob("*") if path.is_file()]
                kept = sum(path.stat().st_blocks * 512 for path in files)
            found = run(settings | {"MOCRA_CRAWL": "warm"})
    assert found["hits"] == pages, (name, found)
    return {
        "contestant": name,
        "pages_per_s": round(pages / found["seconds"]),
        "cpu_ms_per_page": round(found["cpu"] * 1000 / pages, 2),
        "bytes_per_page": round(kept / pages),
    }


async def full(port: int, entries: int) -> dict[str, Any]:
    """What calls take in a namespace with so many entries, and what the server was longest busy with."""
    backend = open_backend(f"redis://127.0.0.1:{port}/0")
    await backend.open()
    cache = backend.cache("http:bench", CacheBounds(max_entries=2 * entries, max_bytes=2**34))
    try:
        for begin in range(0, entries, 5000):
            names = (f"page:{n % 997}.test/{n:032x}" for n in range(begin, min(begin + 5000, entries)))
            await cache.set_many(dict.fromkeys(names, b"x" * 200), 3600)
        with sync_redis.Redis(port=port) as server:
            server.config_set("slowlog-log-slower-than", 0)
            server.config_set("slowlog-max-len", 10_000)
            server.slowlog_reset()
            took: dict[str, list[float]] = {"get": [], "set": [], "sites": []}
            for n in range(500):
                name = f"page:{n % 997}.test/{n * 7 % entries:032x}"
                for verb, call in (("get", cache.get(name)), ("set", cache.set(name, b"y" * 200, 3600))):
                    began = time.perf_counter()
                    await call
                    took[verb].append(time.perf_counter() - began)
            began = time.perf_counter()
            await sites(cache, 20)
            took["sites"].append(time.perf_counter() - began)
            longest = max(int(one["duration"]) for one in server.slowlog_get(10_000))
    finally:
        await cache.close()
        await backend.close()
    return {
        "entries": entries,
        "get_ms": round(sorted(took["get"])[250] * 1000, 2),
        "set_ms": round(sorted(took["set"])[250] * 1000, 2),
        "list_20_sites_ms": round(took["sites"][0] * 1000, 1),
        "server_longest_ms": round(longest / 1000, 2),
    }


def measure(quick: bool) -> dict[str, list[dict[str, Any]]]:
    pages, sizes = (300, (1000, 20_000)) if quick else (2000, (1000, 1_000_000))
    names = [name for name in CONTESTANTS if not quick or "away" not in name]
    with redis_server() as port, site() as url, tempfile.TemporaryDirectory(prefix="bench-httpcache-") as folder:
        rows = [warm(name, pages, url, port, Path(folder)) for name in names]
        with sync_redis.Redis(port=port) as server:
            server.flushall()
        return {"warm": rows, "full": [asyncio.run(full(port, size)) for size in sizes]}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        crawl(sys.argv[2])
