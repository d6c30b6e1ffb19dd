"""What the cache costs: ``python -m benchmarks cache [--quick]``.

µs are the server's own CPU time for a call, which the load of the machine changes little; calls a second
are those of one client with 32 under way. The namespace is filled first: a call must cost the same
however much there is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis as sync_redis

from benchmarks.servers import redis_server
from mocra_scrapy.backends import open_backend
from mocra_scrapy.cache.options import cache_options
from mocra_scrapy.cache.shared_cache import SharedCache
from mocra_scrapy.interfaces import ICache
from mocra_scrapy.models import CacheBounds

TOGETHER = 32
TTL = 3600.0
KIB = 1024


def used(server: sync_redis.Redis) -> tuple[float, int]:
    """Microseconds of the server's main thread, bytes of what it stores."""
    cpu = server.info("cpu")
    seconds = cpu["used_cpu_user_main_thread"] + cpu["used_cpu_sys_main_thread"]
    return 1e6 * float(seconds), int(server.info("memory")["used_memory"])


async def calls(server: sync_redis.Redis, count: int, call: Callable[[int], Awaitable[object]]) -> dict[str, Any]:
    """*call* so often, 32 of it under way."""
    turn = iter(range(count))

    async def work() -> None:
        for i in turn:
            await call(i)

    before, began = used(server)[0], time.perf_counter()
    await asyncio.gather(*(work() for _ in range(TOGETHER)))
    seconds = time.perf_counter() - began
    return {"µs of the server": round((used(server)[0] - before) / count, 1), "calls/s": round(count / seconds)}


async def filled(server: sync_redis.Redis, cache: ICache, entries: int) -> float:
    """Bytes of the server around each of *entries* values of 16 bytes with names of 40."""
    before = used(server)[1]
    for at in range(0, entries, 500):
        await cache.set_many({f"{i:040d}": b"%016d" % i for i in range(at, min(at + 500, entries))}, TTL)
    return (used(server)[1] - before) / entries - 56


async def measure(quick: bool) -> list[dict[str, Any]]:
    entries, count = (20_000, 2000) if quick else (1_000_000, 20_000)
    rows: list[dict[str, Any]] = []
    with redis_server() as port, sync_redis.Redis(port=port) as server:
        backend = open_backend(f"redis://127.0.0.1:{port}/0")
        await backend.open()
        bounds = CacheBounds(max_entries=2 * entries, max_bytes=2**32)
        cache = backend.cache("bench", bounds)
        around = await filled(server, cache, entries)

        async def row(what: str, call: Callable[[int], Awaitable[object]], times: int = count) -> None:
            rows.append({"what": what, **await calls(server, times, call)})

        for name, size in (("200 bytes", 200), ("10 KiB", 10 * KIB), ("1 MiB", KIB * KIB)):
            value, some = b"x" * size, max(50, count // (1 + size // KIB))
            await row(f"set, {name}", lambda i, value=value: cache.set(f"v{i % 50}", value, TTL), some)  # type: ignore[misc]
            await row(f"get, {name}", lambda i: cache.get(f"v{i % 50}"), some)
        await row("get, nothing there", lambda i: cache.get(f"none {i}"))
        await row("get_many, 100 of 16 bytes", lambda i: cache.get_many([f"{n:040d}" for n in range(100)]), count // 20)
        await row(
            "set_many, 100 of 16 bytes",
            lambda i: cache.set_many({f"{n:040d}": b"x" * 16 for n in range(100)}, TTL),
            count // 20,
        )
        await row("increment", lambda i: cache.increment("n"))
        await row("add_members, 1", lambda i: cache.add_members("set", {f"m{i}": float(i)}, TTL))
        await row("members, 100", lambda i: cache.members("set", low=i))
        await row("names, 100 behind a prefix", lambda i: cache.names(f"{i % 100:038d}"[:36]))
        full = backend.cache("full", CacheBounds(max_entries=1000))
        await filled(server, full, 1000)
        await row("set in a full namespace", lambda i: full.set(f"x{i}", b"x" * 200, TTL))
        await local(backend, server, row)
        await backend.close()
    rows.append(
        {"what": f"bytes around an entry, {entries} of them", "µs of the server": round(around), "calls/s": None}
    )
    return rows


async def local(backend: Any, server: sync_redis.Redis, row: Any) -> None:
    """Through ``mocra.cache``: codec, compression, and the local layer."""
    for what, arguments in (
        ("mocra.cache get, a dict of 5 KiB", {}),
        ("the same, local layer", {"local_entries": 100}),
    ):
        options = cache_options("values", arguments)
        values = SharedCache(
            "values", backend.cache("values", options.bounds), backend.shared_values("values"), backend.locks(), options
        )
        values.start()
        await values.set("page", {"text": "some words of a page " * 230, "links": list(range(50))})
        while not arguments or (await values.get("page") and values._local.get("page") is None):
            await asyncio.sleep(0.01)
            if not arguments:
                break
        await row(what, lambda i, values=values: values.get("page"))
        await values.close()


def main(quick: bool) -> list[dict[str, Any]]:
    return asyncio.run(measure(quick))
