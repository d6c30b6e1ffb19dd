"""``LocalLayer``: what a process keeps, and never longer than it may."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from mocra_scrapy.cache.local_layer import LocalBounds, LocalLayer
from tests.unit.cache.stage import Stage, until


class Changes:
    """In place of a cache: its changes are what the test says."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue()

    async def watch(self) -> Any:
        while True:
            name = await self.queue.get()
            yield name


class Layer:
    def __init__(self, **bounds: Any) -> None:
        self.now, self.changes = 0.0, Changes()
        given = {"entries": 100, **bounds}
        self.layer = LocalLayer(self.changes, LocalBounds(**given), lambda: self.now)  # type: ignore[arg-type]

    async def listen(self) -> LocalLayer:
        self.layer.start()
        await self.say("*")
        return self.layer

    async def say(self, name: str) -> None:
        self.changes.queue.put_nowait(name)
        await until(self.changes.queue.empty)
        await asyncio.sleep(0)

    def keep(self, name: str, value: bytes, left: float = 60.0) -> None:
        asked = self.layer.ask({name})
        self.layer.answered(asked, {name: (value, left)})


async def test_nothing_is_kept_before_it_listens() -> None:
    one = Layer()
    one.keep("a", b"1")
    assert one.layer.get("a") is None
    one.layer.start()
    one.keep("a", b"1")
    assert one.layer.get("a") is None, "the connection is not there yet"
    await one.say("*")
    one.keep("a", b"1")
    assert one.layer.get("a") == b"1"
    await one.layer.close()
    await one.layer.close()
    assert one.layer.get("a") is None
    one.keep("a", b"1")
    assert one.layer.get("a") is None


async def test_nothing_is_kept_with_no_entries() -> None:
    one = Layer(entries=0)
    one.layer.start()
    assert one.layer._task is None
    await one.layer.close()


async def test_a_change_drops_it() -> None:
    one = Layer()
    layer = await one.listen()
    for name in "abc":
        one.keep(name, name.encode())
    await one.say("b")
    assert [layer.get(name) for name in "abc"] == [b"a", None, b"c"]
    await one.say("*")  # something may have been missed
    assert [layer.get(name) for name in "abc"] == [None, None, None]
    await layer.close()


async def test_an_answer_that_a_change_overtook_is_not_kept() -> None:
    one = Layer()
    layer = await one.listen()
    for change in ("a", "*"):
        asked = layer.ask({"a", "b"})
        await one.say(change)
        layer.answered(asked, {"a": (b"old", 60), "b": (b"1", 60)})
        assert layer.get("a") is None
        assert layer.get("b") == (b"1" if change == "a" else None)
    assert not layer._asked, "nothing is left behind"
    await layer.close()


async def test_it_gets_no_older_than_its_age_or_its_end() -> None:
    one = Layer(age=5.0)
    layer = await one.listen()
    asked = layer.ask({"a", "b"})
    one.now = 2.0  # the answer took two seconds: its age counts from the question
    layer.answered(asked, {"a": (b"1", 60), "b": (b"1", 3.0)})
    one.now = 2.999
    assert (layer.get("a"), layer.get("b")) == (b"1", b"1")
    one.now = 3.0
    assert (layer.get("a"), layer.get("b")) == (b"1", None)
    one.now = 5.0
    assert layer.get("a") is None
    await layer.close()


async def test_it_is_bounded() -> None:
    one = Layer(entries=3, bytes=100)
    layer = await one.listen()
    for name in "abc":
        one.keep(name, b"x")
    assert layer.get("a") == b"x"  # used: it stays
    one.keep("d", b"x")
    assert [layer.get(name) for name in "abcd"] == [b"x", None, b"x", b"x"]
    one.keep("big", b"x" * 96)
    assert [layer.get(name) for name in ("a", "c", "d")] == [None, None, None]
    one.keep("huge", b"x" * 97)
    assert layer.get("huge") is None
    assert layer.get("big")
    one.keep("big", b"")
    assert layer._bytes == 3
    await layer.close()


@pytest.mark.parametrize("seed", range(5))
async def test_it_never_gives_what_was_invalidated(stage: Stage, seed: int) -> None:
    """Readers, writers and answers that take their time, in any order: once a writer has its answer
    and its message was heard, nobody reads an older value.
    """
    rng = random.Random(seed)
    writer = stage.cache()
    reader = stage.cache(local_entries=4, local_age=3600)
    reader.start()
    await until(lambda: reader._local._listens)
    written, slow = dict.fromkeys("abcdef", 0), stage.backend.cache("prices")

    async def read() -> None:
        name = rng.choice("abcdef")
        least = written[name]
        found = await reader.get(name, 0)
        assert found >= least, name

    async def write() -> None:
        name = rng.choice("abcdef")
        value = written[name] + 1
        await (writer if rng.random() < 0.7 else reader).set(name, value)
        await asyncio.sleep(0)  # the message
        await asyncio.sleep(0)
        written[name] = max(written[name], value)

    fetch = reader._cache.get_many

    async def late(names: Any) -> Any:
        answer = await fetch(names)
        for _ in range(rng.randint(0, 6)):
            await asyncio.sleep(0)
        return answer

    reader._cache.get_many = late  # type: ignore[method-assign]
    for _ in range(60):
        await asyncio.gather(*(read() if rng.random() < 0.8 else write() for _ in range(8)))
    assert stage.stats["local_hits"] > 20
    assert slow.evicted == 0
