"""ICache: values, counters, names, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.interfaces import ICache
from mocra_scrapy.models import CacheBounds, Cached, CacheSize

from .harness import Harness

BYTES = [b"", b"\x00\xff\r\n", b"plain", bytes(range(256)) * 4000, b"0", b"007"]
NAMES = ["a", "nämé:{x} *?[", "\udc80 no utf-8", "x" * 1024, " ", "日本"]


async def value(cache: ICache, name: str) -> bytes | None:
    found = await cache.get(name)
    return None if found is None else found.value


def left_over(harness: Harness, namespace: str) -> list[str]:
    """Keys of the server that are there without an entry."""
    keys = harness.keys()
    return [key for key in keys if f"+cache:{namespace}:" in key and not key.endswith(":skew")]


async def held(cache: ICache) -> list[str]:
    return list(await cache.names(most=1000))


async def test_an_entry_comes_back_byte_for_byte(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache(second=True)
    assert await cache.get("a") is None
    for name, content in zip(NAMES, BYTES, strict=True):
        await cache.set(name, content, 60)
        found = await other.get(name)
        assert found is not None
        assert found.value == content
        assert 50 < found.expires_in <= 60
    await cache.set("a", b"new", 60)
    assert await value(other, "a") == b"new"
    assert await harness.cache("elsewhere").get("a") is None
    for wrong in ("", "x" * 1025, b"a", "\ud800"):
        with pytest.raises(ConfigurationError, match="cache name"):
            await cache.get(wrong)  # type: ignore[arg-type]
    for ttl in (0, -1, float("nan"), float("inf"), 1e10, True, "60"):
        with pytest.raises(ConfigurationError, match="ttl of a cache entry"):
            await cache.set("a", b"x", ttl)  # type: ignore[arg-type]


async def test_an_entry_ends_to_the_millisecond(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache(second=True)
    with harness.standing_clock() as move:
        await cache.set("a", b"1", 0.25)
        assert await cache.get("a") == Cached(b"1", 0.25)
        move(249)
        assert await other.get("a") == Cached(b"1", 0.001)
        move(1)
        assert await other.get("a") is None
        assert await other.add("a", b"2", 0.001)
        assert not await cache.add("a", b"3", 60)
        move(1)
        assert await cache.add("a", b"3", 60)
        assert await cache.increment("n", 5, 10) == 5
        move(9999)
        assert await cache.increment("n", 1, 10) == 6
        move(1)
        assert await cache.increment("n", 1, 10) == 1
        await cache.set("gone", b"", 1)
        move(1000)
        assert not await cache.touch("gone", 60)
        assert await cache.delete(["gone"]) == 0
        assert "gone" not in await held(cache)


async def test_many_entries_come_in_order(harness: Harness) -> None:
    cache = harness.cache()
    assert await cache.get_many([]) == []
    names = [f"n{i}" for i in range(60)]
    stored = {name: name.encode() for name in names[::2]}
    await cache.set_many(stored, 60)
    asked = [*reversed(names), "n0", "n1"]
    found = await harness.cache(second=True).get_many(asked)
    assert [one and one.value for one in found] == [stored.get(name) for name in asked]
    # More than one call brings: 20 MiB.
    await cache.set_many({f"big{i}": bytes([i]) * 2_000_000 for i in range(10)}, 60)
    found = await cache.get_many([*(f"big{i}" for i in range(10)), "none"])
    assert [one and (one.value[:1], len(one.value)) for one in found] == [
        *((bytes([i]), 2_000_000) for i in range(10)),
        None,
    ]


async def test_many_entries_are_stored(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache(second=True)
    await cache.set_many({}, 60)
    await cache.set_many({f"n{i}": b"%d" % i for i in range(1300)}, 60)
    assert [one and one.value for one in await other.get_many([f"n{i}" for i in range(1300)])] == [
        b"%d" % i for i in range(1300)
    ]
    # What is refused is refused before anything is stored.
    with pytest.raises(ConfigurationError):
        await cache.set_many({"new": b"1", "": b"2"}, 60)
    assert await cache.get("new") is None


async def test_a_full_namespace_makes_room(harness: Harness) -> None:
    parts = harness.cache_parts
    cache, other = harness.cache(max_entries=4 * parts), harness.cache(second=True)
    names = harness.beside(9)
    for name, ttl in zip(names, (400, 100, 300, 200), strict=False):
        await cache.set(name, b"x", ttl)
    await cache.set(names[1], b"again", 150)  # in its own place
    assert (await held(other), cache.evicted) == (names[:4], 0)
    await cache.set(names[4], b"short", 10)  # the new one does not make room
    assert (await held(other), cache.evicted) == ([names[0], *names[2:5]], 1)
    await harness.advance(11)
    await cache.set(names[5], b"x", 500)  # what is over goes first
    assert (await held(other), cache.evicted) == ([names[0], names[2], names[3], names[5]], 1)
    await cache.set_many(dict.fromkeys(names[6:9], b"y"), 600)
    assert (await held(other), cache.evicted) == (names[5:9], 4)
    assert await cache.add(names[0], b"z", 5)
    assert await cache.increment(names[1], ttl=5) == 1
    assert (await held(other), cache.evicted) == ([names[1], *names[6:9]], 6)
    # More than the namespace holds, in one call.
    await cache.set_many(dict.fromkeys(harness.beside(11, "more"), b""), 60)
    assert len(await held(other)) == 4
    # By bytes: a value grows, others make room.
    small = harness.cache("bytes", max_bytes=65_536 * parts, max_value_bytes=4096)
    names = harness.beside(17, "b")
    for at, name in enumerate(names[:16]):
        await small.set(name, bytes(4000), 100 + at)
    assert (await small.size()).bytes == 16 * (4000 + len(names[0]))
    await small.set(names[0], bytes(4096 - len(names[0])), 50)
    assert (len(await held(small)), small.evicted) == (16, 0)
    await small.set(names[16], bytes(4090), 100)
    assert (await held(small), small.evicted) == (names[1:], 1)
    # What grows makes no room for itself, though it ends first.
    grows = harness.cache("grows", max_bytes=65_536 * parts, max_value_bytes=4096)
    names = harness.beside(32, "g")
    for at, name in enumerate(names):
        await grows.set(name, bytes(2000), 100 + at)
    await grows.set(names[0], bytes(4090), 50)
    assert (await held(grows), grows.evicted) == ([names[0], *names[2:]], 1)
    assert (await grows.size()).bytes == 30 * 2006 + 4096


async def test_what_had_to_go_is_counted(harness: Harness) -> None:
    parts = harness.cache_parts
    cache = harness.cache(max_entries=1200 * parts)
    names = harness.beside(1201)
    await cache.set_many(dict.fromkeys(names[:1200], b""), 60)
    assert cache.evicted == 0
    # A writer with a smaller bound brings it down at once, though no call removes more than 500.
    other = harness.cache(second=True, max_entries=10 * parts)
    await other.set(names[1200], b"", 90)
    assert (other.evicted, cache.evicted, (await cache.size()).entries) == (1191, 0, 10)
    # What is over makes room, too, but did not have to go.
    over = harness.cache("over", max_entries=40 * parts)
    await over.set_many(dict.fromkeys(names[:30], b""), 5)
    await over.set_many(dict.fromkeys(names[30:40], b""), 60)
    await harness.advance(6)
    await over.set_many(dict.fromkeys(names[40:70], b""), 60)
    assert (over.evicted, await held(over)) == (0, names[30:70])


async def test_a_value_too_large_is_refused(harness: Harness) -> None:
    cache = harness.cache(max_value_bytes=1000)
    await cache.set("a", bytes(999), 60)
    for call in (
        cache.set("a", bytes(1000), 60),
        cache.add("b", bytes(1000), 60),
        cache.set_many({"a": bytes(1000)}, 60),
    ):
        with pytest.raises(ConfigurationError, match="max_value_bytes = 1000"):
            await call
    with pytest.raises(ConfigurationError, match="Give bytes"):
        await cache.set("a", "text", 60)  # type: ignore[arg-type]
    assert await value(cache, "a") == bytes(999)
    for wrong in ({"max_entries": 0}, {"max_bytes": 100}, {"max_bytes": 1_000_000, "max_value_bytes": 62_501}):
        with pytest.raises(ConfigurationError, match="of a cache"):
            CacheBounds(**wrong)


async def test_an_entry_is_added_once(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache(second=True)
    for i in range(5):
        got = await asyncio.gather(*(one.add(f"n{i}", b"%d" % who, 60) for who, one in enumerate((cache, other) * 4)))
        assert sum(got) == 1
        assert await value(cache, f"n{i}") == b"%d" % got.index(True)
    await cache.delete(["n0"])
    assert await other.add("n0", b"again", 60)


async def test_a_touched_entry_ends_later(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache(second=True)
    assert not await cache.touch("a", 60)
    await cache.set("a", b"1", 60)
    assert await other.touch("a", 600)
    await harness.advance(500)
    assert await value(cache, "a") == b"1"
    assert await cache.touch("a", 10), "or sooner"
    await harness.advance(11)
    assert await cache.get("a") is None


async def test_only_that_value_is_deleted(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache(second=True)
    assert not await cache.delete_if("a", b"")
    for old, new in (
        (b"1", b"2"),
        (b"", b"x" * 600_000),
        (b"x" * 600_000, b"y" * 600_000),
        (b"x" * 600_000, b"1"),
        (b"1", b"x" * 600_000),
    ):
        await cache.set("a", old, 60)
        await other.set("a", new, 60)  # meanwhile
        assert not await cache.delete_if("a", old)
        assert await value(cache, "a") == new
        assert await cache.delete_if("a", new)
        assert not await cache.delete_if("a", new)
        assert await value(other, "a") is None
        assert await cache.size() == CacheSize(0, 0)
    assert left_over(harness, "place") == []
    await cache.set("a", b"1", 1)
    await harness.advance(2)
    assert not await cache.delete_if("a", b"1"), "it is over"


async def test_no_increment_is_lost(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache(second=True)
    got = await asyncio.gather(*(one.increment("n") for one in (cache, other) * 50))
    assert sorted(got) == list(range(1, 101))
    assert await value(cache, "n") == b"100"
    assert await cache.increment("n", -101) == -1
    await cache.set("n", b"41", 60)
    assert await other.increment("n") == 42
    assert await other.increment("big", 2**62) == 2**62
    assert await other.increment("big", 2**62 - 1) == 2**63 - 1, "exact beyond 2 ** 53"


async def test_a_counter_keeps_its_end(harness: Harness) -> None:
    cache = harness.cache()
    assert await cache.increment("n", ttl=100) == 1
    await harness.advance(60)
    assert await cache.increment("n", ttl=100) == 2
    await harness.advance(60)
    assert await cache.increment("n", ttl=100) == 1


async def test_what_is_no_number_is_not_counted(harness: Harness) -> None:
    cache = harness.cache()
    for content in (b"", b"x", b"1.5", b" 1", b"+1", b"01", b"-0", b"9223372036854775808", b"9223372036854775807"):
        await cache.set("n", content, 60)
        with pytest.raises(ConfigurationError, match="no whole number of 64 bits"):
            await cache.increment("n")
        assert await value(cache, "n") == content
    for by in (2**63, 1.5, True, "1"):
        with pytest.raises(ConfigurationError, match="can't be added"):
            await cache.increment("m", by)  # type: ignore[arg-type]
    assert await cache.get("m") is None


async def test_deleted_entries_are_gone(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache(second=True)
    await cache.set_many({f"n{i}": b"" for i in range(1200)}, 60)
    await cache.add_members("n7", {"a": 1}, 60)
    assert await other.delete([f"n{i}" for i in range(5, 1300)]) == 1196
    assert await held(cache) == [f"n{i}" for i in range(5)]
    assert await cache.members("n7") == []
    assert await cache.delete(await held(cache)) == 5
    assert await cache.size() == CacheSize(0, 0)
    assert left_over(harness, "place") == []


async def test_names_are_given_in_pages(harness: Harness) -> None:
    cache = harness.cache()
    names = sorted(
        (f"{head}:{i}" for head in ("a", "b", "b%", "é", "\udc80") for i in range(30)),
        key=lambda n: n.encode("utf-8", "surrogateescape"),
    )
    await cache.set_many(dict.fromkeys(names, b""), 600)
    await cache.set_many({f"b:~{i}": b"" for i in range(30)}, 60)
    await cache.add_members("b:set", {"a": 1}, 600)
    await harness.advance(61)

    async def all_of(prefix: str, most: int) -> list[str]:
        found: list[str] = []
        while page := await cache.names(prefix, found[-1] if found else "", most):
            assert len(page) <= most
            found += page
        return found

    assert await all_of("", 7) == names
    assert await all_of("b", 7) == [name for name in names if name.startswith("b")]
    assert await all_of("b:", 100) == [name for name in names if name.startswith("b:")]
    assert await all_of("é", 7) == [name for name in names if name.startswith("é")]
    assert await all_of("c", 7) == []
    assert await cache.names("b", after="a") == [name for name in names if name.startswith("b")]
    for most in (0, 10_001, True, 1.5):
        with pytest.raises(ConfigurationError, match="page by page"):
            await cache.names(most=most)  # type: ignore[arg-type]


async def test_a_namespace_knows_its_size(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache(second=True)
    assert await cache.size() == CacheSize(0, 0)
    await cache.set("abc", b"12345", 60)
    await cache.set("é", b"", 60)
    assert await other.size() == CacheSize(2, 10)
    await cache.set("abc", b"1", 60)
    await cache.increment("n", 99)
    await cache.increment("n", 1)
    assert await other.size() == CacheSize(3, 10)
    await cache.add_members("set", {"a": 1, "bb": 2}, 60)
    await cache.add_members("set", {"a": 3}, 60)
    assert await other.size() == CacheSize(5, 16)
    assert await cache.remove_members("set", ["a"]) == 1
    assert await other.size() == CacheSize(4, 15)
    await harness.advance(61)
    await cache.names()  # who finds what is over clears it away
    assert await cache.members("set") == []
    assert await other.size() == CacheSize(1, 4)


async def test_a_cleared_namespace_is_empty(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache("elsewhere")
    await other.set("a", b"kept", 60)
    await cache.set_many({f"n{i}": b"" for i in range(50)}, 60)
    for i in range(40):
        await cache.add_members(f"set{i}", {"a": 1}, 60)
    await cache.clear()
    assert (await cache.size(), await held(cache)) == (CacheSize(0, 0), [])
    assert await cache.members("set7") == []
    assert left_over(harness, "place") == []
    assert await value(other, "a") == b"kept"
    await cache.set("a", b"new", 60)
    assert await cache.size() == CacheSize(1, 4)


async def test_watchers_hear_of_changed_entries(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache(second=True)
    heard: list[str] = []

    async def listen(changes: AsyncIterator[str]) -> None:
        async for name in changes:
            heard.extend([name])

    async def until(name: str) -> list[str]:
        async def look() -> None:
            while name not in heard:
                await asyncio.sleep(0.001)

        await asyncio.wait_for(look(), 30)
        found = list(heard)
        heard.clear()
        return found

    listening = asyncio.ensure_future(listen(other.watch()))
    try:
        await until("*")
        for call in (
            cache.set("a{}", b"1", 60),
            cache.set_many({"a{}": b"1"}, 60),
            cache.touch("a{}", 60),
            cache.delete(["a{}"]),
            cache.add("a{}", b"1", 60),
            cache.delete_if("a{}", b"1"),
            cache.add("a{}", b"1", 60),
        ):
            await call
            assert await until("a{}") == ["a{}"]
        assert not await cache.add("a{}", b"1", 60)
        await cache.increment("n")
        assert await until("n") == ["n"]
        await cache.increment("n")
        assert await until("n") == ["n"]
        await cache.clear()
        assert set(await until("*")) == {"*"}
        await harness.cut_off()
        await cache.set("after", b"1", 60)
        assert {*await until("*" if harness.keys() else "after")} <= {"*", "after"}
    finally:
        listening.cancel()
        await asyncio.wait([listening])
