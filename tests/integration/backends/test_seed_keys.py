"""Keys of a Redis that others fill with seeds: what a worker took goes to others when it dies, and is
gone when it is stored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from tests.services.redis_server import RedisServer

pytestmark = pytest.mark.redis

KEY = "books:start_urls"


@pytest.fixture
async def backend(redis_url: str) -> AsyncIterator[Any]:
    backend: Any = open_backend(redis_url)
    await backend.open()
    yield backend
    for key in await backend._client.raw.keys("*books*"):
        await backend._client.raw.delete(key)
    await backend.close()


def seeds(answer: Any) -> list[bytes]:
    return [seed for _, seed in answer[0]]


def numbers(answer: Any) -> list[int]:
    return [number for number, _ in answer[0]]


async def test_a_list_is_taken_from_its_head(backend: Any) -> None:
    raw, pile = backend._client.raw, backend.seed_pile(KEY, "a", 60)
    await raw.rpush(KEY, *(f"u{i}" for i in range(5)))
    answer = await pile.take(3)
    assert seeds(answer) == [b"u0", b"u1", b"u2"]
    assert await pile.stored(numbers(answer)) == 3
    assert seeds(await pile.take(10)) == [b"u3", b"u4"]
    assert await pile.take(10) == ([], False)
    assert not await raw.exists(KEY)


async def test_sets_and_sorted_sets(backend: Any) -> None:
    raw, pile = backend._client.raw, backend.seed_pile(KEY, "a", 60)
    await raw.sadd(KEY, "x", "y", "z")
    answer = await pile.take(10)
    assert sorted(seeds(answer)) == [b"x", b"y", b"z"]
    await pile.stored(numbers(answer))
    await raw.zadd(KEY, {"low": 1, "high": 10, "middle": 5})
    assert seeds(await pile.take(2)) == [b"high", b"middle"]
    assert seeds(await pile.take(2)) == [b"low"]


async def test_what_a_dead_worker_took_goes_to_others(backend: Any) -> None:
    raw = backend._client.raw
    a, b = backend.seed_pile(KEY, "a", 60), backend.seed_pile(KEY, "b", 60)
    await raw.rpush(KEY, *(f"u{i}" for i in range(5)))
    taken = await a.take(3)
    assert seeds(await b.take(10)) == [b"u3", b"u4"]
    assert await b.take(10) == ([], True), "somebody has some that are not stored"
    await raw.zadd("{books:start_urls}:mocra:workers", {"a": 0})  # it was silent for too long
    assert sorted(seeds(await b.take(10))) == [b"u0", b"u1", b"u2"]
    assert await b.take(10) == ([], False)
    assert await a.stored(numbers(taken)) == 0, "they are not its own any more"


async def test_who_says_that_it_lives_keeps_what_it_took(backend: Any) -> None:
    raw = backend._client.raw
    a, b = backend.seed_pile(KEY, "a", 60), backend.seed_pile(KEY, "b", 60)
    await raw.rpush(KEY, "u0")
    await a.take(1)
    await raw.zadd("{books:start_urls}:mocra:workers", {"a": 0})
    await a.live()
    assert await b.take(10) == ([], True)


async def test_who_leaves_gives_what_is_not_stored_to_others_at_once(backend: Any) -> None:
    raw = backend._client.raw
    a, b = backend.seed_pile(KEY, "a", 60), backend.seed_pile(KEY, "b", 60)
    await raw.rpush(KEY, "u0", "u1")
    answer = await a.take(2)
    await a.stored(numbers(answer)[:1])
    assert await a.leave() == 1
    assert seeds(await b.take(10)) == [b"u1"]
    assert await b.leave() == 1
    c = backend.seed_pile(KEY, "c", 60)
    answer = await c.take(10)
    assert seeds(answer) == [b"u1"]
    await c.stored(numbers(answer))
    assert await c.leave() == 0
    assert [key async for key in raw.scan_iter("{books*")] == []


async def test_an_answer_that_was_lost_is_given_again(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, pile = backend._client.raw, backend.seed_pile(KEY, "a", 60)
    await raw.rpush(KEY, *(f"u{i}" for i in range(5)))
    first = await pile.take(1)
    run = backend._client.run

    async def lost(*arguments: Any) -> Any:
        await run(*arguments)
        raise BackendUnavailable("the answer was lost")

    monkeypatch.setattr(backend._client, "run", lost)
    with pytest.raises(BackendUnavailable):
        await pile.take(2)
    monkeypatch.setattr(backend._client, "run", run)
    again = await pile.take(2)
    assert seeds(again) == [b"u1", b"u2"]
    assert seeds(await pile.take(10)) == [b"u3", b"u4"]
    assert await pile.stored(numbers(first) + numbers(again)) == 3


async def test_an_answer_is_of_bounded_size(backend: Any) -> None:
    raw, pile = backend._client.raw, backend.seed_pile(KEY, "a", 60)
    await raw.rpush(KEY, *(b"x" * 600_000 for _ in range(5)))
    assert [len(seeds(await pile.take(100))) for _ in range(3)] == [2, 2, 1]
    await raw.xadd("books:stream", {"seed": b"x" * 5_000_000})
    assert len(await backend.seed_stream("books:stream").read("0", 10)) == 1


@pytest.mark.parametrize(("fill", "kind"), [("set", "string"), ("hset", "hash"), ("xadd", "stream")])
async def test_a_key_of_another_type_is_told(backend: Any, fill: str, kind: str) -> None:
    arguments = {"set": ["x"], "hset": ["a", "b"], "xadd": [{"a": "b"}]}[fill]
    await getattr(backend._client.raw, fill)(KEY, *arguments)
    with pytest.raises(ConfigurationError, match=f"is a {kind}, not a list, set or sorted set"):
        await backend.seed_pile(KEY, "a", 60).take(1)
    if kind != "stream":
        with pytest.raises(ConfigurationError, match=f"is a {kind}, not a stream"):
            await backend.seed_stream(KEY).read("0", 1)


async def test_a_stream_is_read_on(backend: Any) -> None:
    raw, stream = backend._client.raw, backend.seed_stream(KEY)
    assert await stream.read("0", 10) == []
    ids = [(await raw.xadd(KEY, {"url": f"u{i}"})).decode() for i in range(5)]
    got = await stream.read("0", 3)
    assert [identity for identity, _ in got] == ids[:3]
    assert got[0][1] == {b"url": b"u0"}
    assert [identity for identity, _ in await stream.read(ids[2], 10)] == ids[3:]
    await raw.xdel(KEY, ids[2])
    assert [identity for identity, _ in await stream.read(ids[2], 10)] == ids[3:], "an id need not be there"


async def test_missing_rights_are_named(redis_single: RedisServer) -> None:
    with redis_single.client() as client:
        client.acl_setuser(
            "reader", enabled=True, passwords=["+word"], categories=["+@all"], keys=["mocra:*"], channels=["*"]
        )
    backend: Any = open_backend(f"redis://reader:word@127.0.0.1:{redis_single.port}")
    with pytest.raises(
        ConfigurationError, match=r"MOCRA_SEEDS: .*Grant the user: ~books:start_urls ~\{books:start_urls\}:mocra:\*"
    ):
        await backend.seed_pile(KEY, "a", 60).take(1)
    await backend.close()
    wrong: Any = open_backend(f"redis://reader:nonsense@127.0.0.1:{redis_single.port}")
    with pytest.raises(ConfigurationError, match=r"MOCRA_SEEDS: .*user name or password"):
        await wrong.seed_stream(KEY).read("0", 1)
    await wrong.close()
    with redis_single.client() as client:
        client.acl_deluser("reader")
