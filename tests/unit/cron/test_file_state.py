"""The state of a single runner in files keeps the rules of the contract, between processes and over
their deaths.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

from mocra_scrapy.cron.file_state import FileElection, FileShared, FileSigns
from mocra_scrapy.cron.folder import make_usable
from mocra_scrapy.exceptions import BackendCorrupted, BackendUnavailable, ConfigurationError
from mocra_scrapy.interfaces import IElection, IShared
from mocra_scrapy.models import SharedValue


@pytest.fixture
def shared(tmp_path: Path) -> FileShared:
    return FileShared(tmp_path / "state")


def test_contracts(tmp_path: Path) -> None:
    verifyObject(IShared, FileShared(tmp_path))
    verifyObject(IElection, FileElection(tmp_path))


async def test_values(shared: FileShared) -> None:
    assert await shared.get("a") == SharedValue(None, 0)
    for raw in (b"", b"x", bytes(range(256)), "ü".encode()):
        put = await shared.put("a", raw)
        assert put is not None
        assert await shared.get("a") == put
        assert put.value == raw
    await shared.put("ab", b"1")
    await shared.put("b", b"2")
    assert set(await shared.everything("a")) == {"a", "ab"}
    assert set(await shared.everything()) == {"a", "ab", "b"}


async def test_versions_and_fences(shared: FileShared) -> None:
    first = await shared.put("a", b"1", version=0)
    assert first is not None
    assert await shared.put("a", b"2", version=0) is None
    second = await shared.put("a", b"2", version=first.version)
    assert second is not None
    assert second.version > first.version
    assert await shared.put("a", b"3", version=first.version) is None
    fenced = await shared.put("a", b"3", version=second.version, fence=7)
    assert fenced is not None
    assert await shared.put("a", b"4", version=fenced.version, fence=6) is None
    assert await shared.put("a", b"4", version=fenced.version) is None
    person = await shared.put("a", b"5")
    assert person is not None
    assert person.fence == 7
    gone = await shared.put("a", None)
    assert gone is not None
    assert "a" not in await shared.everything()
    assert await shared.put("a", b"6", fence=6) is None, "a fence outlives deletion"
    again = await shared.put("a", b"6", version=0, fence=7)
    assert again is not None
    assert again.version > gone.version


async def test_concurrent_increments_all_count(tmp_path: Path) -> None:
    async def increment(shared: FileShared) -> None:
        for _ in range(25):
            while True:
                old = await shared.get("n")
                new = str(int(old.value or b"0") + 1).encode()
                if await shared.put("n", new, version=old.version) is not None:
                    break

    await asyncio.gather(*(increment(FileShared(tmp_path)) for _ in range(4)))
    assert (await FileShared(tmp_path).get("n")).value == b"100"


async def test_watchers_hear(shared: FileShared) -> None:
    async with aclosing(shared.watch()) as names:  # type: ignore[type-var]
        assert await anext(names) == "*"
        await shared.put("a", b"1")
        assert await asyncio.wait_for(anext(names), 30) == "*"


async def test_damage_is_told(tmp_path: Path) -> None:
    shared = FileShared(tmp_path)
    for text in ("", "{", "[]", '{"values": 3, "clock": 1}'):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(BackendCorrupted, match="move it away to begin anew"):
            await shared.get("a")
    (tmp_path / "plain").write_text("")
    with pytest.raises(BackendUnavailable, match="can't be used"):
        await FileShared(tmp_path / "plain").get("a")


async def test_a_half_written_file_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = FileShared(tmp_path)
    await shared.put("a", b"1")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BackendUnavailable, match="no space left"):
        await shared.put("a", b"2")
    assert (await shared.get("a")).value == b"1"


async def test_one_runner_a_folder(tmp_path: Path) -> None:
    one, two = FileElection(tmp_path), FileElection(tmp_path)
    one.take()
    with pytest.raises(ConfigurationError, match=rf"process {os.getpid()} on .* is a runner with its state here"):
        two.take()
    term = await one.campaign("one", 15)
    assert term is not None
    assert await two.campaign("two", 15) is None
    assert await one.renew("one", term.number, 15)
    assert not await one.renew("two", term.number, 15)
    assert await one.leader() == term
    assert not await one.resign("two", term.number)
    assert await one.resign("one", term.number)
    later = await two.campaign("two", 15)
    assert later is not None
    assert later.number > term.number
    two.close()
    one.close()


HOLDER = """
import asyncio, sys, pathlib
from mocra_scrapy.cron.file_state import FileSigns
signs = FileSigns(pathlib.Path(sys.argv[1]))
asyncio.run(signs.give("job", "w1", 30))
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_sign_of_life_ends_with_the_process(tmp_path: Path) -> None:
    signs = FileSigns(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert await signs.alive("job", frozenset({"w1", "w2"})) == {"w1"}
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert await signs.alive("job", frozenset({"w1"})) == frozenset()
    await signs.give("job", "mine", 30)
    assert await FileSigns(tmp_path).alive("job", frozenset({"mine"})) == {"mine"}
    await signs.end("job", "mine")
    assert await FileSigns(tmp_path).alive("job", frozenset({"mine"})) == frozenset()
    assert list((tmp_path / "alive").iterdir()) == []
    await signs.close()


async def test_a_folder_that_can_not_be_used_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    folder = tmp_path / "plain" / "below"
    with pytest.raises(ConfigurationError, match="it can't be used: Not a directory"):
        FileElection(folder).take()
    with pytest.raises(ConfigurationError, match="MOCRA_CRON_DIR"):
        await FileSigns(folder).give("job", "w", 30)


async def test_whoever_looks_knows_that_a_runner_lives(tmp_path: Path) -> None:
    runner, looking = FileElection(tmp_path), FileElection(tmp_path)
    assert await looking.leader() is None
    runner.take()
    found = await looking.leader()
    assert found is not None
    assert found.leader.startswith(f"process {os.getpid()} on ")
    runner.close()
    assert await looking.leader() is None


async def test_the_lock_of_a_launcher_is_held_by_its_crawl_too(tmp_path: Path) -> None:
    signs = FileSigns(tmp_path)
    assert await signs.give("job", "w", 30)
    (lock,) = signs.inherited("w")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,)) as crawl:
        await signs.close()
        assert await FileSigns(tmp_path).alive("job", frozenset({"w"})) == {"w"}
        crawl.kill()
        crawl.wait()
    assert await FileSigns(tmp_path).alive("job", frozenset({"w"})) == frozenset()


async def test_on_a_full_disk_nothing_has_happened(
    shared: FileShared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to the state, nor is room taken by half of a new one; and it goes on afterwards."""
    first = await shared.put("a", b"1")
    before = (tmp_path / "state" / "state.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BackendUnavailable, match=r"state.json can't be used .*No space left"):
            await shared.put("a", b"2" * 10_000)
    assert (tmp_path / "state" / "state.json").read_bytes() == before
    assert not (tmp_path / "state" / "state.new").exists()
    assert await shared.get("a") == first
    assert await shared.put("a", b"3") is not None


def test_a_folder_that_can_not_be_made_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"MOCRA_CRON_DIR = .*file.* can't be used.*Name a folder"):
        make_usable(tmp_path / "file" / "cron")
    make_usable(tmp_path / "new" / "cron")
    assert (tmp_path / "new" / "cron").is_dir()


async def test_a_full_disk_keeps_no_runner_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the folder, and contends when there is room again."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    one, two = FileElection(tmp_path), FileElection(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        patch.setattr(os, "fsync", full)
        one.take()
        with pytest.raises(BackendUnavailable, match="No space left"):
            await one.campaign("one", 15)
    with pytest.raises(ConfigurationError, match="another process is a runner"):
        two.take()
    assert await one.campaign("one", 15) is not None
    one.close()
