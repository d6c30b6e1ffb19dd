"""The cache's keys on a Redis of its own: none stays for ever, a full server and one that is away are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from mocra_scrapy.backends import open_backend
from mocra_scrapy.backends.redis import cache as redis_cache
from mocra_scrapy.backends.redis.connection import client
from mocra_scrapy.exceptions import BackendCorrupted, BackendUnavailable
from mocra_scrapy.models import CacheBounds
from tests.services.redis_server import RedisServer

pytestmark = pytest.mark.redis


@asynccontextmanager
async def opened(server: RedisServer) -> AsyncIterator[Any]:
    backend = open_backend(server.url, prefix="keys")
    await backend.open(60)
    try:
        yield backend
    finally:
        await backend.close()


async def test_every_key_expires(own_redis: RedisServer) -> None:
    async with opened(own_redis) as backend:
        cache = backend.cache("a")
        with redis.Redis.from_url(own_redis.url) as server:
            await cache.set("short", b"1", 5)
            await cache.set("long", b"1", 1000)
            await cache.increment("n", ttl=50)
            await cache.add_members("set", {"a": 1}, 2000)
            await cache.touch("short", 3000)
            left = {key: server.pttl(key) for key in server.keys("keys:{+cache:*")}
            # Each outlives the last entry, and by no more than that second.
            assert len(left) == 6
            assert all(990_000 < ms <= 3_001_000 for ms in left.values()), left
            ends = dict(server.zrange("keys:{+cache:a:0}:ends", 0, -1, withscores=True))
            assert set(ends) == {b"vshort", b"vlong", b"vn", b"sset"}
            await cache.delete(["short", "long", "n", "set"])
            assert not server.keys("keys:{+cache:*")


async def test_a_full_server_is_told_and_can_be_read(own_redis: RedisServer) -> None:
    async with opened(own_redis) as backend:
        cache = backend.cache("a")
        await cache.set("kept", b"1" * 1000, 60)
        with redis.Redis.from_url(own_redis.url) as server:
            server.config_set("maxmemory", 1)
            server.config_set("maxmemory-policy", "noeviction")
            try:
                for call in (
                    cache.set("new", b"1", 60),
                    cache.add("new", b"1", 60),
                    cache.increment("new"),
                    cache.add_members("new", {"a": 1}, 60),
                ):
                    with pytest.raises(BackendUnavailable, match="its memory is full"):
                        await call
                found = await cache.get("kept")
                assert found is not None
                assert found.value == b"1" * 1000
                assert await cache.names() == ["kept"]
                assert await cache.delete(["kept"]) == 1, "how room is made"
            finally:
                server.config_set("maxmemory", 0)
        assert await cache.add("new", b"1", 60)
        assert (await cache.size()).entries == 1, "what was refused left nothing"


async def test_one_that_is_away_is_told(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 1.0)
    async with opened(own_redis) as backend:
        cache = backend.cache("a")
        await cache.set("a", b"1", 60)
        own_redis.stop()
        with pytest.raises(BackendUnavailable, match="redis://"):
            await cache.get("a")
        own_redis.start()
        await backend.open(60)
        assert await cache.add("b", b"1", 60)


async def test_keys_of_somebody_else_are_told(own_redis: RedisServer) -> None:
    async with opened(own_redis) as backend:
        cache = backend.cache("b")
        with redis.Redis.from_url(own_redis.url) as server:
            server.set("keys:{+cache:b:0}:ends", b"text")
            with pytest.raises(BackendCorrupted, match="WRONGTYPE"):
                await cache.set("a", b"1", 60)
            server.delete("keys:{+cache:b:0}:ends")
            # Somebody deleted a key: what is not known to end is not there, and a value comes in its place.
            await cache.set_many({"a": b"1", "b": b"2"}, 60)
            server.delete("keys:{+cache:b:0}:ends")
            assert list(await cache.get_many(["a", "b"])) == [None, None]
            assert await cache.add("a", b"3", 60)
            server.delete("keys:{+cache:b:0}:values")
            assert await cache.get("a") is None
            await cache.set("a", b"4", 60)
            found = await cache.get("a")
            assert found is not None
            assert found.value == b"4"


async def test_a_call_is_one_round_trip_and_short(own_redis: RedisServer) -> None:
    """Counted by the server: 500 names are one call, and no call takes more than its share."""
    async with opened(own_redis) as backend:
        cache = backend.cache("c", CacheBounds(max_bytes=2**30))
        await cache.set_many({f"n{i}": b"x" * 100 for i in range(500)}, 60)
        with redis.Redis.from_url(own_redis.url) as server:
            server.config_resetstat()
            assert all(await cache.get_many([f"n{i}" for i in range(500)]))
            assert server.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
            # 20 MB: in parts of a few MiB, not in one.
            large = {f"big{i}": b"x" * 200_000 for i in range(100)}
            await cache.set_many(large, 60)
            server.config_resetstat()
            got = await cache.get_many(list(large))
            assert [one and len(one.value) for one in got] == [200_000] * 100
            assert server.info("commandstats")["cmdstat_evalsha"]["calls"] == 5


async def test_clearing_and_making_room_take_bounded_steps(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_cache, "STEP", 10)
    async with opened(own_redis) as backend:
        cache = backend.cache("e")
        long = "x" * 100  # a hash that Redis does not give as a whole
        await asyncio.gather(*(cache.add_members(f"{i}{long}", {"a": 1}, 60) for i in range(100)))
        with redis.Redis.from_url(own_redis.url) as server:
            server.config_resetstat()
            await cache.clear()
            assert server.info("commandstats")["cmdstat_evalsha"]["calls"] > 3
            assert not server.keys("keys:{+cache:e:*")
            await cache.set_many({f"n{i}": b"" for i in range(1200)}, 60)
            server.config_resetstat()
            await backend.cache("e", CacheBounds(max_entries=10)).set("new", b"", 90)
            assert server.info("commandstats")["cmdstat_evalsha"]["calls"] == 3, "500 go, 500, and the rest"


async def test_a_large_value_is_stored_in_pieces(own_redis: RedisServer) -> None:
    """Each command takes a part of it, so the server serves others in between."""
    async with opened(own_redis) as backend:
        cache = backend.cache("d")
        first, second = bytes(range(256)) * 4097, b"y" * 3_000_000
        with redis.Redis.from_url(own_redis.url) as server:
            await cache.set("a", first, 5)
            pieces = server.keys("keys:{+cache:d:0}:piece:*")
            assert sorted(map(server.strlen, pieces)) == [256, *[262_144] * 4]
            assert all(4000 < server.pttl(key) <= 6000 for key in pieces)
            await cache.touch("a", 1000)
            assert all(990_000 < server.pttl(key) <= 1_001_000 for key in pieces)
            assert (await cache.size()).bytes == len(first) + 1
            await cache.set("a", second, 60)
            assert not server.exists(*pieces)
            assert len(server.keys("keys:{+cache:d:0}:piece:*")) == 12
            assert not await cache.add("a", first, 60)
            assert len(server.keys("keys:{+cache:d:0}:piece:*")) == 12, "what was refused is gone"
            assert await cache.add("b", first, 60)
            found = await cache.get_many(["a", "b", "c"])
            assert [one and one.value for one in found] == [second, first, None]
            # Replaced by a writer while its pieces are being read.
            read = cache._pieces.read

            async def overtaken(head: str, cut: str) -> bytes | None:
                cache._pieces.read = read
                await cache.set("a", b"small", 60)
                value: bytes | None = await read(head, cut)
                return value

            cache._pieces.read = overtaken
            assert (await cache.get("a")).value == b"small"
            # Pieces that somebody deleted: a miss.
            server.delete(server.keys("keys:{+cache:d:0}:piece:*")[0])
            assert await cache.get("b") is None
            await cache.clear()
            assert not server.keys("keys:{+cache:d:*")
