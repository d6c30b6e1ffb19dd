"""``SharedSpace``: what is read when, and who tries again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.coordination import shared_values
from mocra_scrapy.coordination.shared_values import SharedSpace
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.interfaces import IShared
from mocra_scrapy.models import SharedValue

from .test_leadership import eventually


class Counted:
    """A store that notes what is read of it, and can refuse to write."""

    def __init__(self, real: IShared) -> None:
        self.real = real
        self.gets: list[str] = []
        self.looks = 0
        self.refused = 0

    async def get(self, name: str) -> SharedValue:
        self.gets.append(name)
        return await self.real.get(name)

    async def versions(self, prefix: str = "") -> Any:
        self.looks += 1
        return await self.real.versions(prefix)

    async def put(self, name: str, value: bytes | None, **conditions: Any) -> SharedValue | None:
        if self.refused:
            self.refused -= 1
            return None
        return await self.real.put(name, value, **conditions)

    def watch(self) -> AsyncIterator[str]:
        return self.real.watch()

    async def close(self) -> None: ...


@pytest.fixture
def store() -> Counted:
    return Counted(MemoryBackend().shared_values("place"))


async def test_what_nobody_set_is_read_once_as_well(store: Counted) -> None:
    space = SharedSpace(store, refresh=0.002)  # type: ignore[arg-type]
    unset, late = space.value("unset", 7), space.value("us", 8)
    await space.open()
    await eventually(lambda: store.looks > 5)
    assert store.gets == ["unset", "us"]
    assert (unset.value, late.value, unset.version) == (7, 8, 0)
    await space.close()


async def test_one_that_is_asked_for_after_the_opening_is_read_soon(store: Counted) -> None:
    """Long before the next look around, and without a message."""
    await store.real.put("late", b"1")
    space = SharedSpace(store, refresh=3600)  # type: ignore[arg-type]
    await space.open()
    await eventually(lambda: not space._kicked.is_set())  # the task that follows has had its first turn
    late = space.value("late", 0)
    await eventually(lambda: late.value == 1)
    assert store.gets == ["late"]
    await space.close()


@pytest.mark.parametrize(
    ("names", "beginning"),
    [(["a"], "a"), (["speed", "speeds"], "speed"), (["x1", "x2", "x30"], "x"), (["a", "b"], ""), (["", "a"], "")],
)
def test_versions_are_asked_for_by_what_all_names_begin_with(names: list[str], beginning: str) -> None:
    assert shared_values._shared_beginning(names) == beginning


async def test_who_was_overtaken_waits_a_little_longer_each_time(
    store: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(shared_values.asyncio, "sleep", pause)
    monkeypatch.setattr(shared_values.random, "random", lambda: 1.0)
    store.refused = 30
    assert await SharedSpace(store).value("n", 1).update(lambda n: n + 1) == 2  # type: ignore[arg-type]
    assert len(pauses) == 30
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < pauses[-1] <= 0.01


@pytest.mark.parametrize(
    ("default", "kind"),
    [(True, "boolean"), (1, "whole number"), (1.5, "number"), ("a", "string"), ([], "array"), ({}, "object")],
)
async def test_who_sets_another_type_reads_which_one_it_is(store: Counted, default: Any, kind: str) -> None:
    value = SharedSpace(store).value("x", default)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=rf"shared value 'x': None is no {kind}\. Use a {kind}"):
        await value.set(None)


async def test_a_task_that_follows_ends_with_the_space(store: Counted) -> None:
    before = asyncio.all_tasks()
    space = SharedSpace(store)  # type: ignore[arg-type]
    await space.open()
    assert len(asyncio.all_tasks() - before) == 2
    await space.open()
    assert len(asyncio.all_tasks() - before) == 2
    await space.close()
    assert asyncio.all_tasks() == before
