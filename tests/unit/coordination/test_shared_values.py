"""``Shared``: types, updates, changes, what comes from the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.coordination.shared_values import SharedSpace
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from mocra_scrapy.interfaces import IShared
from mocra_scrapy.models import SharedValue

from .test_leadership import eventually


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
async def spaces(backend: MemoryBackend) -> AsyncIterator[Callable[..., SharedSpace]]:
    made: list[SharedSpace] = []

    def make(**more: Any) -> SharedSpace:
        made.append(SharedSpace(backend.shared_values("place"), **more))
        return made[-1]

    yield make
    for space in made:
        await space.close()
        await space.close()


async def test_all_see_a_change(spaces: Callable[..., SharedSpace]) -> None:
    here, there = spaces(), spaces()
    mine, theirs = here.value("speed", 5), there.value("speed", 7)
    await here.open()
    await there.open()
    told: list[tuple[int, int]] = []
    theirs.on_change(lambda new, old: told.append((new, old)))
    assert (mine.value, theirs.value) == (5, 7), "each its own default"
    await mine.set(9)
    assert mine.value == 9
    await eventually(lambda: theirs.value == 9)
    assert theirs.version == mine.version > 0
    await theirs.reset()
    assert theirs.value == 7
    await eventually(lambda: mine.value == 5)
    assert told == [(9, 7), (7, 9)]
    late = there.value("late", "x")
    await here.value("late", "y").set("z")
    await eventually(lambda: late.value == "z")
    assert there.value("late", "x") is late


async def test_updates_lose_nothing(spaces: Callable[..., SharedSpace]) -> None:
    counters = [spaces().value("n", 0) for _ in range(4)]

    async def count(counter: Any) -> None:
        for _ in range(50):
            await counter.update(lambda n: n + 1)

    await asyncio.gather(*map(count, counters))
    assert await counters[0].refresh() == 200


@pytest.mark.parametrize(
    ("default", "good", "bad"),
    [
        (True, [False], [0, 1, None, "true"]),
        (1, [0, -5, 10**15], [1.5, True, None, "1", [1]]),
        (1.0, [2, 2.5, 0], [True, "1", None, float("nan"), float("inf")]),
        ("a", ["", "ü"], [1, None, ["a"], b"a"]),
        ([], [[1, "a", {}]], [{}, "[]", (1, 2), [{1}]]),
        ({}, [{"a": [1]}], [[], None, {"a": object()}]),
        (None, [1, "a", [1], {"a": 1}, True, None], [object(), {1}, b""]),
    ],
)
async def test_types(default: Any, good: list[Any], bad: list[Any], spaces: Callable[..., SharedSpace]) -> None:
    value = spaces().value("x", default)
    for one in good:
        await value.set(one)
        assert value.value == one
        assert await value.update(lambda old: old) == one
    for one in bad:
        with pytest.raises(ConfigurationError, match="shared value 'x'"):
            await value.set(one)
        with pytest.raises(ConfigurationError):
            await value.update(lambda _, one=one: one)  # type: ignore[misc]
    assert value.value == good[-1]


async def test_a_default_that_is_no_json_is_refused(spaces: Callable[..., SharedSpace]) -> None:
    space = spaces()
    with pytest.raises(ConfigurationError):
        space.value("x", object())
    space.value("y", 1)
    with pytest.raises(ConfigurationError, match="Agree on one type"):
        space.value("y", "1")
    with pytest.raises(ConfigurationError, match="too many"):
        await space.value("z", "").set("x" * 2_000_000)


@pytest.mark.parametrize(
    "junk", [b"", b"\xff\x00", b"{", b'"text"', b"NaN", b"1.5", b"[" * 100_000, b"1" * 2_000_000, b"null", b"true"]
)
async def test_junk_in_the_store_is_told_once_and_passed_over(
    junk: bytes, spaces: Callable[..., SharedSpace], backend: MemoryBackend, caplog: pytest.LogCaptureFixture
) -> None:
    space = spaces(refresh=0.01)
    value = space.value("x", 1)
    await value.set(2)
    await space.open()
    store = backend.shared_values("place")
    await store.put("x", junk)
    await eventually(lambda: "not usable" in caplog.text)
    for _ in range(3):
        await value.refresh()
    assert value.value == 2
    assert caplog.text.count("not usable") == 1
    await store.put("x", b"3")
    await eventually(lambda: value.value == 3)


async def test_a_check_of_its_own(
    spaces: Callable[..., SharedSpace], backend: MemoryBackend, caplog: pytest.LogCaptureFixture
) -> None:
    def even(n: int) -> int:
        if n % 2:
            raise ValueError(f"{n} is odd")
        return n

    value = spaces().value("x", 0, check=even)
    await value.set(4)
    with pytest.raises(ConfigurationError, match="5 is odd"):
        await value.set(5)
    await backend.shared_values("place").put("x", b"7")
    assert await value.refresh() == 4
    assert "7 is odd" in caplog.text


async def test_a_listener_that_fails_harms_nobody(
    spaces: Callable[..., SharedSpace], caplog: pytest.LogCaptureFixture
) -> None:
    value, told = spaces().value("x", 0), []
    value.on_change(lambda new, old: 1 / 0)
    value.on_change(lambda new, old: told.append(new))
    await value.set(1)
    assert told == [1]
    assert "ZeroDivisionError" in caplog.text


async def test_what_a_leader_writes_is_not_updated(spaces: Callable[..., SharedSpace], backend: MemoryBackend) -> None:
    value = spaces().value("x", 0)
    await backend.shared_values("place").put("x", b"1", fence=5)
    with pytest.raises(ConfigurationError, match="only a leader"):
        await value.update(lambda n: n + 1)
    await value.set(3)
    assert value.value == 3


class Flaky:
    """A store that can be away, and whose messages can be lost."""

    def __init__(self, real: IShared) -> None:
        self.real = real
        self.away = self.deaf = False

    async def get(self, name: str) -> Any:
        if self.away:
            raise BackendUnavailable("away")
        return await self.real.get(name)

    async def versions(self, prefix: str = "") -> Any:
        if self.away:
            raise BackendUnavailable("away")
        return await self.real.versions(prefix)

    async def watch(self) -> AsyncIterator[str]:
        async for name in self.real.watch():
            if not self.deaf:
                yield name

    async def close(self) -> None: ...


async def test_an_outage_and_lost_messages_are_caught_up_with(
    backend: MemoryBackend, caplog: pytest.LogCaptureFixture
) -> None:
    store = backend.shared_values("place")
    await store.put("x", json.dumps(1).encode())
    flaky = Flaky(store)
    flaky.away = True
    space = SharedSpace(flaky, refresh=0.02)  # type: ignore[arg-type]
    value = space.value("x", 0)
    await space.open()
    assert value.value == 0
    assert "until the backend answers" in caplog.text
    flaky.away, flaky.deaf = False, True
    await eventually(lambda: value.value == 1)
    await store.put("x", b"2")
    await eventually(lambda: value.value == 2)
    flaky.away = True
    await store.put("x", b"3")
    await asyncio.sleep(0)
    flaky.away = False
    await eventually(lambda: value.value == 3)
    await space.close()


async def test_an_update_in_place_is_a_change_like_any_other(spaces: Callable[..., SharedSpace]) -> None:
    space = spaces()
    default: dict[str, int] = {}
    value, told = space.value("x", default), []
    value.on_change(lambda new, old: told.append((new, old)))

    def add(old: dict[str, int]) -> dict[str, int]:
        old["n"] = old.get("n", 0) + 1
        return old

    assert await value.update(add) == {"n": 1}
    assert await value.update(add) == {"n": 2}
    assert told == [({"n": 1}, {}), ({"n": 2}, {"n": 1})]
    assert default == {}
    await value.reset()
    assert value.value == value.default == {}


async def test_an_update_gives_what_was_stored(spaces: Callable[..., SharedSpace]) -> None:
    value: Any = spaces().value("x", {})
    assert await value.update(lambda old: {1: "a"}) == {"1": "a"} == value.value


class Scripted:
    """A store whose answers to ``get`` come in the order that the test chooses."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[SharedValue]] = []

    async def get(self, name: str) -> SharedValue:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return await self.waiting[-1]


async def test_what_a_fail_over_lost_is_not_kept(backend: MemoryBackend) -> None:
    """An answer that was asked for after the last one counts, whatever its version; of two that
    crossed, the greater version.
    """
    store = Scripted()
    value = SharedSpace(store).value("x", 0)  # type: ignore[arg-type]
    first = asyncio.ensure_future(value.refresh())
    second = asyncio.ensure_future(value.refresh())
    await asyncio.sleep(0)
    store.waiting[1].set_result(SharedValue(b"50", 9))
    assert await second == 50
    store.waiting[0].set_result(SharedValue(b"40", 8))
    assert await first == 50, "it was overtaken"
    third = asyncio.ensure_future(value.refresh())
    await asyncio.sleep(0)
    store.waiting[2].set_result(SharedValue(b"40", 8))
    assert await third == 40
    assert value.version == 8


async def test_an_idle_process_reads_versions_only(backend: MemoryBackend, spaces: Callable[..., SharedSpace]) -> None:
    store, gets, looks = backend.shared_values("place"), [], []

    class Counting:
        async def get(self, name: str) -> SharedValue:
            gets.append(name)
            return await store.get(name)

        async def versions(self, prefix: str = "") -> Any:
            looks.append(prefix)
            return await store.versions(prefix)

        def watch(self) -> Any:
            return store.watch()

        async def close(self) -> None: ...

    for i in range(20):
        await store.put(f"v{i}", b"1")
    space = SharedSpace(Counting(), refresh=0.005)  # type: ignore[arg-type]
    values = [space.value(f"v{i}", 0) for i in range(20)]
    await space.open()
    assert sorted(gets) == sorted(f"v{i}" for i in range(20))
    await eventually(lambda: len(looks) > 5)
    assert len(gets) == 20
    assert set(looks) == {"v"}
    await store.put("v7", b"2")
    await eventually(lambda: values[7].value == 2)
    assert set(gets[20:]) == {"v7"}
    await space.close()


async def test_what_could_not_be_read_is_read_again(backend: MemoryBackend) -> None:
    """Without a further message, and long before the next look around."""
    store, fails = backend.shared_values("place"), [True]

    class Once:
        async def get(self, name: str) -> SharedValue:
            if fails:
                fails.pop()
                raise BackendUnavailable("just now")
            return await store.get(name)

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    space = SharedSpace(Once(), refresh=1000)  # type: ignore[arg-type]
    value = space.value("x", 0)
    await space.open()
    await store.put("x", b"1")
    await eventually(lambda: value.value == 1)
    assert fails == []


async def test_what_could_not_be_read_is_read_again_without_a_new_message(backend: MemoryBackend) -> None:
    """Its message was heard once: nobody tells of it a second time before the next refresh."""
    store = backend.shared_values("place")
    flaky = Flaky(store)
    space = SharedSpace(flaky, refresh=3600)  # type: ignore[arg-type]
    value = space.value("x", 0)
    await space.open()
    await store.put("x", b"1")
    await eventually(lambda: value.value == 1)  # it listens, and has looked around
    flaky.away = True
    await store.put("x", b"3")
    await eventually(lambda: "x" in space._stale)
    with pytest.raises(BackendUnavailable):
        await space._catch_up()
    assert space._stale == {"x"}
    assert space._kicked.is_set(), "the task that follows looks again by itself"
    flaky.away = False
    await eventually(lambda: value.value == 3)
    await space.close()
