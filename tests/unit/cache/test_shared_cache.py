"""``SharedCache``: values, stats, what is said when the backend is away or a namespace is full."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from scrapy.http import TextResponse

from mocra_scrapy.cache import shared_cache, values
from mocra_scrapy.cache.options import cache_options
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError, UnreadablePayload
from tests.unit.cache.stage import Stage

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**63 - 1,
    2**63,
    -(2**63),
    -(2**200),
    1.5,
    "",
    "text",
    "1",
    b"",
    b"12",
    b"\x01\x02",
    [1, [2, (3, {4})]],
    {"a": 1, 2: None},
    dt.datetime(2026, 11, 29, 12, tzinfo=dt.timezone.utc),
    Decimal("1.10"),
    UUID(int=7),
    "x" * 5000,
    bytes(range(256)) * 1000,
]


async def test_values_come_back_as_they_were(stage: Stage) -> None:
    cache, other = stage.cache(), stage.cache()
    await cache.set_many({f"n{i}": value for i, value in enumerate(VALUES)})
    found = await other.get_many([f"n{i}" for i in range(len(VALUES) + 1)])
    assert found == {f"n{i}": value for i, value in enumerate(VALUES)}
    assert [type(found[f"n{i}"]) for i in range(len(VALUES))] == [type(value) for value in VALUES]
    assert await other.get("none") is None
    assert await other.get("none", default=7) == 7
    assert await other.get("n0", default=7) is None
    assert stage.stats == {"stored": len(VALUES), "hits": len(VALUES) + 1, "misses": 3}


async def test_numbers_are_counted_with(stage: Stage) -> None:
    cache = stage.cache()
    await cache.set("n", 41)
    assert await cache.increment("n") == 42
    assert await cache.get("n") == 42
    assert await cache.increment("m", -3, ttl=10) == -3
    await cache.set("flag", True)
    with pytest.raises(ConfigurationError, match="no whole number"):
        await cache.increment("flag")


async def test_the_other_verbs(stage: Stage) -> None:
    cache = stage.cache(ttl=100)
    assert await cache.add("a", 1)
    assert not await cache.add("a", 2, ttl=5)
    assert await cache.touch("a", 500)
    stage.now += 400
    assert await cache.get("a") == 1
    assert await cache.delete("a", "b") == 1
    assert not await cache.touch("a")
    await cache.set_many({f"p:{i:04d}": i for i in range(1200)} | {"q": 1})
    assert [name async for name in cache.names("p:")] == [f"p:{i:04d}" for i in range(1200)]
    assert (await cache.size()).entries == 1201
    best = cache.sorted_set("best")
    assert await best.add("x", 3)
    assert await best.update({"x": 1, "y": 2}) == 1
    assert await best.range(descending=True) == [("y", 2.0), ("x", 1.0)]
    assert (await best.count(2), await best.remove("x", "z")) == (1, 1)
    stage.now += 101
    assert await best.range() == []
    assert await cache.get("q") is None, "the namespace's ttl"
    await cache.set("z", 1)
    await cache.clear()
    assert (await cache.size()).entries == 0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (TextResponse("http://x"), "can't be stored"),
        ({"page": [TextResponse("http://x")]}, r"cache value 'n'\['page'\]\[0\]"),
        (object(), "ItemAdapter"),
        ([[]] * 3 + [{1: lambda: 0}], "can't be stored"),
        ("x" * 3000, "max_value_bytes = 2000"),
    ],
)
async def test_what_can_not_be_stored_is_refused(stage: Stage, value: Any, words: str) -> None:
    cache = stage.cache(max_value_bytes=2000)
    with pytest.raises(ConfigurationError, match=words):
        await cache.set("n", value)
    with pytest.raises(ConfigurationError, match=words):
        await cache.add("n", value)
    assert await cache.get("n") is None


async def test_what_can_not_be_read_is_missing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    cache, raw = stage.cache(), stage.backend.cache("prices")
    await cache.set("long", "text " * 1000)
    stored = await raw.get("long")
    assert stored is not None
    wrong = [
        b"",
        b"\x01",
        b"\x01\xc1",
        b"\x07foreign",
        b"1x",
        b"\x02\x00\x00",
        b"\x04",
        stored.value[:-3],
        b"\x01\xc7\x00\x7f",
    ]
    await raw.set_many({f"n{i}": content for i, content in enumerate(wrong)}, 60)
    assert await cache.get_many([f"n{i}" for i in range(len(wrong))]) == {}
    assert (stage.stats["unreadable"], stage.stats["misses"]) == (len(wrong), len(wrong))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "Cache 'prices': the value of 'n0' can't be read and counts as missing" in caplog.text
    # It says that it is 2 GiB large: nothing is decoded.
    bomb = b"\x04" + bytes.fromhex("a0") + (2**31).to_bytes(4, "little") + b"\x01\x00\x00"
    await raw.set("bomb", bomb, 60)
    assert await cache.get("bomb") is None


async def test_a_full_namespace_says_so_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    cache = stage.cache(max_entries=3)
    await cache.set_many({str(i): i for i in range(10)})
    await cache.add("a", 1)
    assert await cache.increment("b") == 1
    await cache.sorted_set("s").update({"x": 1})
    assert stage.stats["evicted"] == 10
    assert caplog.text.count("is full (max_entries = 3") == 1


async def test_an_outage_is_an_error(stage: Stage) -> None:
    away = stage.away()
    cache = stage.cache(wrapped=away)
    away.away = True
    for call in (
        cache.get("a"),
        cache.set("a", 1),
        cache.touch("a"),
        cache.delete("a"),
        cache.add("a", 1),
        cache.clear(),
    ):
        with pytest.raises(BackendUnavailable, match="it is away"):
            await call
    assert stage.stats["unavailable"] == 4


async def test_or_a_miss(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    away = stage.away()
    cache = stage.cache(wrapped=away, on_outage="miss")
    away.away = True
    assert await cache.get("a", 7) == 7
    assert await cache.get_many(["a", "b"]) == {}
    await cache.set("a", 1)
    assert (await cache.touch("a"), await cache.delete("a")) == (False, 0)
    for call in (cache.add("a", 1), cache.increment("a"), cache.clear(), cache.sorted_set("s").count()):
        with pytest.raises(BackendUnavailable):
            await call
    assert caplog.text.count("nothing is found and nothing is stored until") == 1
    away.away = False
    assert await cache.get("a") is None
    assert "Cache 'prices' is there again after" in caplog.text
    assert stage.stats["unavailable"] == 5


async def test_a_full_server_is_told(stage: Stage) -> None:
    """Reads go on where only writes are refused."""
    away = stage.away()
    cache = stage.cache(wrapped=away, on_outage="miss")
    await cache.set("a", 1)
    away.away = True
    await cache.set("b", 1)
    away.away = False
    assert await cache.get_many(["a", "b"]) == {"a": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tll": 1}, "'tll' is unknown. Known are ttl, max_entries"),
        ({"ttl": 0}, "ttl: 0"),
        ({"ttl": "soon"}, "ttl"),
        ({"max_entries": 0}, "max_entries"),
        ({"max_bytes": 1000}, "max_bytes"),
        ({"max_bytes": 1_000_000, "max_value_bytes": 100_000}, "max_value_bytes"),
        ({"local_entries": -1}, "local_entries"),
        ({"local_age": 1e6}, "local_age"),
        ({"on_outage": "shout"}, "Choose 'raise' or 'miss'"),
        ({"train": 1}, "neither True nor False"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match="cache 'prices'") as raised:
        cache_options("prices", arguments)
    assert words in str(raised.value)


def test_a_small_namespace_takes_smaller_values() -> None:
    assert cache_options("x", {"max_bytes": 1_600_000}).bounds.max_value_bytes == 100_000


LARGE_VALUES: list[Any] = [
    [{"a": i, "b": (str(i), None)} for i in range(20_000)],
    {f"k{i}": {i, b"x"} for i in range(20_000)},
    ({"deep": list(range(100_000))},),
    ["x" * 200_000],
    "x" * 200_000,
    [],
]


@pytest.mark.parametrize("value", LARGE_VALUES)
async def test_large_values_are_packed_and_unpacked_in_a_thread(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    loops: list[str] = []
    here = threading.get_ident()
    for name in ("pack_value", "read_value", "pack_large", "read_large"):
        true = getattr(values, name)

        def watched(*args: Any, true: Any = true, name: str = name) -> Any:
            if threading.get_ident() == here:
                loops.append(name)
            return true(*args)

        monkeypatch.setattr(shared_cache, name, watched)
    cache = stage.cache()
    await cache.set("a", value)
    assert await cache.get("a") == value
    assert loops == ([] if value else ["pack_value", "read_value"])
    assert values.pack_large("a", value) == values.pack_value("a", value)
    assert values.read_large(values.pack_value("a", value)) == value


@pytest.mark.parametrize("bad", [b"\xdd\xff\xff\xff\xff\x01", b"\x91\x01\x01", b"\x81\x90\x01", b"\xc1", b""])
def test_what_is_damaged_is_refused_in_parts_as_well(bad: bytes) -> None:
    with pytest.raises(UnreadablePayload):
        values.read_large(bad)


async def test_what_is_wrong_in_a_large_value_is_named(stage: Stage) -> None:
    wrong: list[Any] = ["x" * 200_000, {"y": object()}]
    with pytest.raises(ConfigurationError, match=r"cache value 'a'\[1\]\['y'\]: builtins\.object can't be stored"):
        await stage.cache().set("a", wrong)
    wrong[1] = wrong
    with pytest.raises(ConfigurationError):
        await stage.cache().set("a", wrong)
