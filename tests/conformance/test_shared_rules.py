"""IShared: named values with versions and fences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mocra_scrapy.models import SharedValue

from .harness import Harness

BYTES = [b"", b"\x00\xff\r\n", b"plain", bytes(range(256)) * 40, b"0", b"1"]


async def test_a_value_comes_back_byte_for_byte(harness: Harness) -> None:
    values, others = harness.shared(), harness.shared(second=True)
    assert await values.get("x") == SharedValue(None, 0, 0)
    for i, value in enumerate(BYTES):
        stored = await values.put(f"nämé:{i} {{x}}", value)
        assert stored is not None
        assert stored.value == value
        assert await others.get(f"nämé:{i} {{x}}") == stored
    assert await harness.shared("elsewhere").get("nämé:0 {x}") == SharedValue(None, 0, 0)
    gone = await values.put("nämé:2 {x}", None)
    assert gone is not None
    assert gone.value is None
    assert (await others.get("nämé:2 {x}")).value is None


async def test_values_are_listed_by_prefix(harness: Harness) -> None:
    values = harness.shared()
    assert await values.everything() == {}
    for name in ("a:1", "a:2", "a%", "b:1", "ä:1"):
        await values.put(name, name.encode())
    await values.put("a:3", b"gone")
    await values.put("a:3", None)
    await values.put("a:4", b"gone", fence=5)
    await values.put("a:4", None, fence=5)
    found = await harness.shared(second=True).everything("a:")
    assert {name: one.value for name, one in found.items()} == {"a:1": b"a:1", "a:2": b"a:2"}
    assert found["a:1"] == await values.get("a:1")
    assert set(await values.everything()) == {"a:1", "a:2", "a%", "b:1", "ä:1"}
    assert set(await values.everything("ä")) == {"ä:1"}


async def test_versions_grow(harness: Harness) -> None:
    values, others = harness.shared(), harness.shared(second=True)
    versions = []
    for i in range(8):
        stored = await (values, others)[i % 2].put("x", None if i % 3 == 2 else b"v")
        assert stored is not None
        versions.append(stored.version)
        if i == 5:
            await harness.wipe()
    assert versions == sorted(set(versions))
    assert versions[0] > 0


async def test_a_stale_version_changes_nothing(harness: Harness) -> None:
    values, others = harness.shared(), harness.shared(second=True)
    first = await values.put("x", b"1", version=0)
    assert first is not None
    assert await others.put("x", b"2", version=0) is None
    assert await others.put("x", b"2", version=first.version + 1) is None
    second = await others.put("x", b"2", version=first.version)
    assert second is not None
    assert await values.put("x", b"3", version=first.version) is None
    assert await values.put("x", None, version=first.version) is None
    assert await values.get("x") == second
    assert await values.put("x", None, version=second.version)
    again = await others.put("x", b"4", version=0)
    assert again is not None, "there is none"
    assert again.version > second.version
    raced = await asyncio.gather(*(one.put("x", b"5", version=again.version) for one in (values, others) * 5))
    assert sum(one is not None for one in raced) == 1


async def test_a_stale_fence_changes_nothing(harness: Harness) -> None:
    values, others = harness.shared(), harness.shared(second=True)
    new = await values.put("x", b"new", fence=8)
    assert new is not None
    assert new.fence == 8
    assert await others.put("x", b"old", fence=7) is None
    assert await others.put("x", None, fence=7) is None
    assert await others.put("x", b"old", fence=7, version=new.version) is None
    assert await others.get("x") == new
    assert await others.put("x", b"same", fence=8)
    deleted = await others.put("x", None, fence=9)
    assert deleted is not None
    assert deleted.fence == 9
    assert await values.put("x", b"old", fence=8) is None, "remembered over deletion"
    assert await values.put("x", b"old", fence=8, version=0) is None
    assert (await values.get("x")).value is None
    assert await values.put("y", b"old", fence=1), "each name for itself"
    fence = 1_790_000_000_123_456
    assert await values.put("x", b"big", fence=fence, version=0)
    assert await values.put("x", b"big", fence=fence - 1) is None
    assert (await others.get("x")).fence == fence


async def test_a_person_overrides(harness: Harness) -> None:
    values = harness.shared()
    fenced = await values.put("x", b"leader", fence=5)
    assert fenced is not None
    assert await values.put("x", b"somebody", version=fenced.version) is None, "with a version, but no fence"
    forced = await values.put("x", b"person")
    assert forced is not None
    assert (forced.value, forced.fence) == (b"person", 5)
    assert await values.put("x", b"stale", fence=4) is None, "the fence stays"
    assert await values.put("x", b"leader", fence=5, version=forced.version)


async def test_a_value_may_end_by_itself(harness: Harness) -> None:
    values, others = harness.shared(), harness.shared(second=True)
    first = await values.put("x", b"1", lasts=100)
    assert first is not None
    await values.put("longer", b"2", lasts=1000)
    await values.put("for good", b"3", lasts=100)
    await values.put("for good", b"3")
    await harness.advance(90)
    assert await others.get("x") == first
    await harness.advance(11)
    assert (await others.get("x")).value is None
    assert set(await others.everything()) == set(await others.versions()) == {"longer", "for good"}
    second = await others.put("x", b"4", version=0, lasts=100)
    assert second is not None, "there is none"
    assert second.version > first.version
    assert await values.put("x", b"5", version=first.version) is None
    await harness.advance(2000)
    assert set(await others.everything()) == {"for good"}


async def test_values_that_end_are_bounded(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    values = harness.shared()
    for backend in ("memory", "redis"):
        monkeypatch.setattr(f"mocra_scrapy.backends.{backend}.shared.MOST_ENDING", 3)
    await values.put("for good", b"")
    for n in range(5):
        await values.put(f"{n}", b"", lasts=1000 + n)
    await values.put("short", b"", lasts=10)
    assert set(await values.everything()) == {"for good", "2", "3", "4"}, "what ends first goes first"
    await harness.advance(1003.5)
    await values.put("new", b"", lasts=10)
    assert set(await values.everything()) == {"for good", "4", "new"}


async def until(watching: AsyncIterator[str], *wanted: str) -> None:
    """Read until one of *wanted* comes."""
    while await asyncio.wait_for(watching.__anext__(), 30) not in wanted:
        pass


async def test_every_watcher_hears_of_a_change(harness: Harness) -> None:
    values, others = harness.shared("a: {b}"), harness.shared("a: {b}", second=True)
    watching = [values.watch(), others.watch(), others.watch(), harness.shared("else").watch()]
    for one in watching:
        assert await asyncio.wait_for(one.__anext__(), 30) == "*"
    await values.put("näme x", b"1")
    for one in watching[:3]:
        await until(one, "näme x")
    await others.put("näme x", None)
    await others.put("näme x", b"refused", version=5)
    for one in watching[:3]:
        await until(one, "näme x")
    with_more = asyncio.ensure_future(watching[3].__anext__())
    await harness.shared("else", second=True).put("own", b"")
    assert await asyncio.wait_for(with_more, 30) == "own"
    for one in watching:
        await one.aclose()  # type: ignore[attr-defined]


async def test_a_cut_off_watcher_catches_up(harness: Harness) -> None:
    values, others = harness.shared(), harness.shared(second=True)
    watching = values.watch()
    await until(watching, "*")
    await harness.cut_off()
    await others.put("x", b"1")
    await until(watching, "*", "x")
    assert (await values.get("x")).value == b"1"
    await others.put("y", b"2")
    await until(watching, "y")
    await watching.aclose()  # type: ignore[attr-defined]


async def test_versions_are_listed_without_values(harness: Harness) -> None:
    values, others = harness.shared(), harness.shared(second=True)
    for name in ("a:1", "a:2", "b"):
        await values.put(name, name.encode() * 1000)
    await values.put("a:2", None)
    await values.put("a:3", b"fenced", fence=7)
    found = await others.versions("a:")
    assert found == {name: one.version for name, one in (await values.everything("a:")).items()}
    assert set(found) == {"a:1", "a:3"}
    assert set(await others.versions()) == {"a:1", "a:3", "b"}


async def test_a_damaged_value_stops_no_other(harness: Harness) -> None:
    values = harness.shared()
    good = await values.put("good", b"1")
    assert good is not None
    if not await harness.damage("bad"):
        return
    damaged = SharedValue(b"\xc1rubbish", 0, 0)
    assert await values.everything() == {"good": good, "bad": damaged}
    assert await values.versions() == {"good": good.version, "bad": 0}
    assert await values.get("bad") == damaged
    assert await values.put("bad", b"2", version=0) is None, "there is something"
    mended = await values.put("bad", b"2")
    assert mended is not None
    assert await values.get("bad") == mended
