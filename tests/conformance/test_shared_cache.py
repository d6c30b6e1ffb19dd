"""What the cache's contract is used for, on every backend: local layers and computing once."""

from __future__ import annotations

import asyncio

from mocra_scrapy.cache.options import cache_options
from mocra_scrapy.cache.shared_cache import SharedCache

from .harness import Harness


def shared_cache(harness: Harness, second: bool = False, **arguments: object) -> SharedCache:
    options = cache_options("place", arguments)
    return SharedCache(
        "place",
        harness.cache(second=second),
        harness.shared("cache:place", second=second),
        harness.locks("cache:place:a", second=second),
        options,
    )


async def until_kept(cache: SharedCache, name: str) -> None:
    """Read it until the local layer has it."""

    async def look() -> None:
        while cache._local.get(name) is None:
            await cache.get(name)
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), 60)


async def until_dropped(cache: SharedCache, name: str) -> None:
    async def look() -> None:
        while cache._local.get(name) is not None:
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), 60)


async def test_a_local_layer_hears_of_changes(harness: Harness) -> None:
    reader = shared_cache(harness, local_entries=10, local_age=3600)
    writer = shared_cache(harness, second=True)
    reader.start()
    await writer.set("a", {"version": 1})
    await until_kept(reader, "a")
    (await reader.get("a"))["version"] = "changed in place"
    assert await reader.get("a") == {"version": 1}, "each reader has its own copy"
    await writer.set("a", {"version": 2})
    await until_dropped(reader, "a")
    assert await reader.get("a") == {"version": 2}
    for change in (writer.delete("a"), writer.clear()):
        await writer.set("a", 1)
        await until_kept(reader, "a")
        await change
        await until_dropped(reader, "a")
        assert await reader.get("a") is None
    await writer.set("a", 1)
    await until_kept(reader, "a")
    await reader.increment("a")  # its own changes, too
    assert await reader.get("a") == 2
    # A connection that broke: what may have been missed is read anew.
    await until_kept(reader, "a")
    if harness.keys():
        await harness.cut_off()
        await until_dropped(reader, "a")
    for cache in (reader, writer):
        await cache.close()


async def test_twenty_callers_compute_once(harness: Harness) -> None:
    caches, computed = [shared_cache(harness, second=bool(i % 2)) for i in range(4)], []

    async def compute() -> str:
        computed.append(1)
        await asyncio.sleep(0.02)
        return "value"

    asked = [cache.get_or_compute("a", compute, wait=60) for cache in caches for _ in range(5)]
    assert await asyncio.gather(*asked) == ["value"] * 20
    assert len(computed) == 1
    for cache in caches:
        await cache.close()
