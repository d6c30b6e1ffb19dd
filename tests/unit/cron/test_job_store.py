"""The store of all jobs: what it reads."""

from __future__ import annotations

from typing import Any

import pytest

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.cron.job_store import Address, Store
from mocra_scrapy.cron.leader_note import LeaderNote, jobs_digest, read_note
from mocra_scrapy.cron.state import JobState
from mocra_scrapy.models import SharedValue


class Counting:
    """Shared values, and what was asked of them."""

    def __init__(self) -> None:
        self.real = MemoryBackend().shared_values("cron")
        self.calls: list[str] = []

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any, **more: Any) -> Any:
            self.calls.append(verb)
            return await getattr(self.real, verb)(*args, **more)

        return call


@pytest.fixture
def shared() -> Counting:
    return Counting()


@pytest.fixture
def store(shared: Counting) -> Store:
    made = Store(Address("redis://nowhere", "p", "n", "f"))
    made.shared = shared  # type: ignore[assignment]
    return made


async def test_states_are_read_once_and_then_what_changed(store: Store, shared: Counting) -> None:
    for i in range(200):
        await store.change(f"job{i}", lambda _, i=i: JobState(last=i + 1))  # type: ignore[misc]
    fresh = Store(store.address)
    fresh.shared = shared  # type: ignore[assignment]
    shared.calls.clear()
    assert len(await fresh.everything()) == 200
    assert shared.calls == ["versions", "everything"]
    shared.calls.clear()
    assert len(await fresh.everything()) == 200
    assert shared.calls == ["versions"]
    await store.change("job7", lambda state: JobState(last=99))
    await store.shared.put("job8", None)
    shared.calls.clear()
    found = await fresh.everything()
    assert shared.calls == ["versions", "get"]
    assert found["job7"].state.last == 99
    assert "job8" not in found
    assert len(found) == 199


async def test_what_went_back_is_read_again(store: Store, shared: Counting) -> None:
    """A fail-over that lost a write: another version, though a smaller one."""
    await store.change("shop", lambda _: JobState(last=1))
    old = shared.real._space.values["shop"]  # type: ignore[attr-defined]
    await store.change("shop", lambda _: JobState(last=2))
    assert (await store.everything())["shop"].state.last == 2
    shared.real._space.values["shop"] = old  # type: ignore[attr-defined]
    assert (await store.everything())["shop"].state.last == 1


async def test_a_damaged_state_is_told_once(store: Store, shared: Counting, caplog: pytest.LogCaptureFixture) -> None:
    shared.real._space.values["bad"] = SharedValue(b"rubbish", 0)  # type: ignore[attr-defined]
    await store.change("good", lambda _: JobState(last=1))
    for _ in range(3):
        found = await store.everything()
        assert found["bad"].state.broken
        assert not found["good"].state.broken
    assert caplog.text.count("`scrapy cron forget bad` deletes it") == 1


async def test_the_leaders_note_is_no_job(store: Store) -> None:
    note = LeaderNote("w", "host", 1, 7, 10.0, jobs_digest({}), "cron.toml", ("shop",))
    await store.write_note(note)
    assert await store.leading() == note
    assert await store.everything() == {}
    await store.write_note(LeaderNote("old", "host", 1, 6, 10.0, "", "", ()))
    assert await store.leading() == note, "a later term has written"
    for raw in (None, b"", b"[]", b"{}", b"null", b"\xff"):
        assert read_note(raw) is None
    assert note.differs(note.digest) == ""
    assert "MOCRA_CRON_NAME" in note.differs("another")
