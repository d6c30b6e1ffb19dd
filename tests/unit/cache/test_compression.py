"""``Compression``: what is compressed, with which dictionary, and what is read of it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from mocra_scrapy.cache import compression
from mocra_scrapy.cache.compression import Compression, compressed, decompressed
from mocra_scrapy.exceptions import UnreadablePayload
from mocra_scrapy.interfaces import IShared
from tests.unit.cache.stage import Away, Stage, until


def page(i: int) -> bytes:
    """Pages of one site, that have their frame in common."""
    rng = random.Random(i)
    words = " ".join(rng.choice(("price", "book", "author", "cover", "stock")) + str(rng.random()) for _ in range(20))
    frame = "".join(
        f'<li class="item-{n}"><a href="/shop/{n * 7919}">Department {n * 104729}</a></li>' for n in range(40)
    )
    return f"<html><body><ul>{frame}</ul><p>{words}</p></body></html>".encode()


@pytest.fixture
def values(stage: Stage) -> IShared:
    return stage.backend.shared_values("cache:prices")


async def trained(one: Compression) -> None:
    for i in range(compression.SAMPLES):
        await one.pack(page(i))
        await asyncio.sleep(0)
    await one.pack(page(0))  # the first task is over: this one trains
    await until(lambda: one._current is not None)


async def test_small_and_large_payloads(values: IShared) -> None:
    one = Compression(values, most=1_000_000)
    for payload in (b"", b"x" * 1023, b"x" * 1024, random.Random(1).randbytes(5000), b"long " * 100_000):
        stored = await one.pack(payload)
        assert len(stored) <= len(payload) + 1
        assert await one.unpack(stored) == payload
    assert len(await one.pack(b"x" * 1024)) < 50
    with pytest.raises(UnreadablePayload, match="max_value_bytes = 1000000"):
        await one.pack(bytes(1_000_001))
    await one.close()


async def test_a_dictionary_is_made_once_and_shared(values: IShared) -> None:
    one, other = Compression(values, most=1_000_000), Compression(values, most=1_000_000)
    await trained(one)
    stored = await one.pack(page(1000))
    assert len(stored) < 0.9 * len(compressed(page(1000)))
    assert await other.unpack(stored) == page(1000)
    await trained(other)
    assert other._current is not None
    assert one._current is not None
    assert other._current.identity == one._current.identity, "the first one is kept"
    late = Compression(values, most=1_000_000)
    await late.pack(page(1))
    await until(lambda: late._current is not None)  # it looks for one at once
    for each in (one, other, late):
        await each.close()


async def test_a_lost_dictionary_is_stored_again(values: IShared, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Compression(values, most=1_000_000)
    await trained(one)
    stored = await one.pack(page(7))
    await values.put("dictionary", None)
    other = Compression(values, most=1_000_000)
    with pytest.raises(UnreadablePayload, match="stored nowhere"):
        await other.unpack(stored)
    monkeypatch.setattr(compression, "CHECK", 0.0)
    await one.pack(page(8))
    await until(lambda: one._task is not None and one._task.done())
    with pytest.raises(UnreadablePayload, match="stored nowhere"):
        await other.unpack(stored)  # not looked for again so soon
    monkeypatch.setattr(compression, "MISSING", 0.0)
    assert await other.unpack(stored) == page(7)
    await values.put("dictionary", b"rubbish")
    third = Compression(values, most=1_000_000)
    with pytest.raises(UnreadablePayload):
        await third.unpack(stored)
    for each in (one, other, third):
        await each.close()


async def test_no_dictionary_where_none_is_wanted(values: IShared) -> None:
    one = Compression(values, most=1_000_000, trains=False)
    for i in range(2 * compression.SAMPLES):
        await one.pack(page(i))
    await until(lambda: one._task is None or one._task.done())
    assert (await values.get("dictionary")).value is None
    await one.close()


async def test_nothing_hangs_on_the_dictionary(values: IShared) -> None:
    away: Any = Away(values)
    one = Compression(away, most=1_000_000)
    away.away = True
    for i in range(compression.SAMPLES):
        await one.pack(page(i))
    await until(lambda: one._task is not None and one._task.done())
    assert await one.unpack(await one.pack(page(1))) == page(1)
    await one.close()


def test_what_is_cut_off_or_too_long_is_refused() -> None:
    stored = compressed(b"some text " * 500)
    assert decompressed(stored, 5000) == b"some text " * 500
    for wrong in (stored[:-1], stored[:9], stored[:1], stored + b"x", stored[:20] + b"\xff" + stored[21:]):
        with pytest.raises(UnreadablePayload):
            decompressed(wrong, 5000)
    with pytest.raises(UnreadablePayload, match="more than 4999"):
        decompressed(stored, 4999)
