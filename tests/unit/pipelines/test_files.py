"""JSON Lines and the spill file: what a crash, a full disk and other people leave of them."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import SinkUnavailable
from mocra_scrapy.pipelines import appending
from mocra_scrapy.pipelines.appending import AppendedFile
from mocra_scrapy.pipelines.batch import Place
from mocra_scrapy.pipelines.items import stored_item
from mocra_scrapy.pipelines.jsonlines import JsonLinesPipeline, JsonLinesSink, zstd
from mocra_scrapy.pipelines.sink import StoredItem
from mocra_scrapy.pipelines.spill import Spill, SpillHead, read_head, read_item, spill_files

HEAD = SpillHead("jsonlines", "books", "shop:books", "w1", "JSON Lines in items", "shop.Books")


def item(n: int, size: int = 0) -> StoredItem:
    return stored_item({"n": n, "pad": "x" * size}, {"page": "ab", "item": n})


def sink(folder: Path, worker: str = "w1", **settings: Any) -> JsonLinesSink:
    names = {f"MOCRA_JSONLINES_{name.upper()}": value for name, value in settings.items()}
    place = Place("books", "shop:books", worker, "")
    return JsonLinesPipeline.make_sink(Settings({"MOCRA_JSONLINES_DIR": str(folder), **names}), place)


def numbers(path: Path) -> list[int]:
    data = path.read_bytes()
    return [json.loads(line)["n"] for line in (zstd.decompress(data) if "zst" in path.name else data).splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """A disk with so many bytes left; ``None``: enough."""
    left: list[int | None] = [None]
    write = os.write

    def writes(descriptor: int, data: Any) -> int:
        if left[0] is None:
            return write(descriptor, data)
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = data[: left[0]]
        left[0] -= len(part)
        return write(descriptor, part)

    monkeypatch.setattr(appending.os, "write", writes)

    def set_left(size: int | None) -> None:
        left[0] = size

    return set_left


# ------------------------------------------------------------------ JSON Lines


@pytest.mark.parametrize("compression", ["none", "zstd"])
async def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, full: Callable[[int | None], None], compression: str
) -> None:
    it = sink(tmp_path, compression=compression)
    await it.open()
    await it.write([item(1)])
    before = next(tmp_path.iterdir()).read_bytes()
    full(30)
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match="No space left on device"):
            await it.write([item(2, 500), item(3, 500)])
        assert next(tmp_path.iterdir()).read_bytes() == before
    full(None)
    await it.write([item(2), item(3)])
    await it.close()
    (file,) = tmp_path.iterdir()
    assert numbers(file) == [1, 2, 3]


async def test_files_are_finished_when_they_are_large(tmp_path: Path) -> None:
    it = sink(tmp_path, rotate_bytes=1000)
    await it.open()
    for n in range(5):
        await it.write([item(n, 600)])
    assert names(tmp_path) == ["books-w1-1.jsonl", "books-w1-2.jsonl", "books-w1-3.jsonl.part"]
    await it.close()
    assert [numbers(path) for path in sorted(tmp_path.iterdir())] == [[0, 1], [2, 3], [4]]


async def test_files_are_finished_when_they_are_old_also_without_further_items(tmp_path: Path) -> None:
    it = sink(tmp_path, rotate_seconds=0.01)
    await it.open()
    await it.write([item(1)])
    async with _within():
        while names(tmp_path) != ["books-w1-1.jsonl"]:
            await asyncio.sleep(0.005)
    await it.write([item(2)])
    await it.close()
    assert [numbers(path) for path in sorted(tmp_path.iterdir())] == [[1], [2]]


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("cut", [1, 5, 200])
async def test_what_a_dead_worker_left_is_finished_without_what_was_cut_off(
    tmp_path: Path, compression: str, cut: int
) -> None:
    dead = sink(tmp_path, "dead", compression=compression)
    await dead.open()
    await dead.write([item(1), item(2)])
    (part,) = tmp_path.iterdir()
    whole = part.stat().st_size
    await dead.write([item(n, n) for n in range(3, 40)])
    dead._files._file.close()  # type: ignore[union-attr]  # its process is gone
    os.truncate(part, max(whole + 1, part.stat().st_size - cut))
    alive = sink(tmp_path, "alive", compression=compression)
    await alive.open()
    (done,) = tmp_path.iterdir()
    assert done.suffix != ".part"
    found = numbers(done)
    assert found == list(range(1, len(found) + 1)), "whole lines only"
    assert len(found) >= 2
    await alive.close()
    dead._thread.shutdown()  # type: ignore[union-attr]


async def test_what_a_living_worker_writes_is_left_alone(tmp_path: Path) -> None:
    one = sink(tmp_path, "one")
    await one.open()
    await one.write([item(1)])
    other = sink(tmp_path, "other")
    await other.open()
    assert names(tmp_path) == ["books-one-1.jsonl.part"]
    await one.write([item(2)])
    await one.close()
    await other.close()
    assert numbers(tmp_path / "books-one-1.jsonl") == [1, 2]


async def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A replay writes for the worker that spilled, whose files are in that folder already."""
    for n in range(3):
        it = sink(tmp_path, "same")
        await it.open()
        await it.write([item(n)])
        await it.close()
    assert sorted(numbers(path) for path in tmp_path.iterdir()) == [[0], [1], [2]]
    (tmp_path / "books-dead-1.jsonl").write_text('{"n": 1}\n')
    (tmp_path / "books-dead-1.jsonl.part").write_text('{"n": 2}\n')
    it = sink(tmp_path, "other")
    await it.open()
    await it.close()
    assert (tmp_path / "books-dead-1.jsonl").read_text() == '{"n": 1}\n'
    assert (tmp_path / "books-dead-1.jsonl.part").read_text() == '{"n": 2}\n'


async def test_an_empty_part_goes(tmp_path: Path) -> None:
    (tmp_path / "books-dead-1.jsonl.part").write_text('{"n": 1')
    it = sink(tmp_path)
    await it.open()
    await it.close()
    assert names(tmp_path) == []


async def test_a_file_that_somebody_took_away_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    it = sink(tmp_path / "items")
    await it.open()
    await it.write([item(1)])
    (tmp_path / "items" / "books-w1-1.jsonl.part").rename(tmp_path / "taken")
    with caplog.at_level(logging.WARNING):
        await it.write([item(2)])
    assert "was moved or deleted while it was written" in caplog.text
    await it.close()
    assert numbers(tmp_path / "taken") == [1]
    assert numbers(tmp_path / "items" / "books-w1-2.jsonl") == [2]


async def test_a_file_that_cannot_be_renamed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = sink(tmp_path, rotate_bytes=10)
    await it.open()

    def refuses(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(AppendedFile, "rename", refuses)
        await it.write([item(1)])
        await it.write([item(2)])
    await it.write([item(3)])
    await it.close()
    (file,) = tmp_path.iterdir()
    assert (file.name, numbers(file)) == ("books-w1-1.jsonl", [1, 2, 3])


def test_a_new_file_is_held_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one who looks for what dead workers left would find it, empty and held by nobody."""
    rename, looked = Path.rename, []

    def looks(self: Path, target: Any) -> Any:
        with pytest.raises(BlockingIOError):
            AppendedFile(self, create=False)
        looked.append(list(tmp_path.glob("*.part")))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", looks)
    file = AppendedFile(tmp_path / "x.part")
    file.append(b"x")
    file.close()
    assert looked == [[]]
    assert names(tmp_path) == ["x.part"]
    with pytest.raises(FileNotFoundError):
        AppendedFile(tmp_path / "y.part", create=False)
    again = AppendedFile(tmp_path / "x.part")
    assert again.size == 1
    again.close()


def test_names_of_files_are_safe(tmp_path: Path) -> None:
    it = sink(tmp_path, worker="../../w/1")
    assert it._files._stem == "books-..-..-w-1"


# ------------------------------------------------------------------ the spill file


def test_what_was_spilled_comes_back(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "spill", HEAD, 2**20)
    items = [item(1), stored_item({"odd": 'a"\n\u2028é'}, {}), stored_item({}, {"page": "cd", "item": 1})]
    spill.add(items[:1])
    spill.add(items[1:])
    spill.close()
    (path,) = spill_files(tmp_path / "spill")
    with path.open("rb") as file:
        assert read_head(file) == HEAD
        found = [read_item(line) for line in file]
    assert [(one.text, one.origin) for one in found if one] == [(one.text, dict(one.origin)) for one in items]


def test_nothing_is_made_where_nothing_is_spilled(tmp_path: Path) -> None:
    Spill(tmp_path / "spill", HEAD, 2**20).close()
    assert spill_files(tmp_path / "spill") == []
    assert names(tmp_path) == []


def test_a_spill_folder_is_bounded_over_all_its_files(tmp_path: Path) -> None:
    one = Spill(tmp_path, HEAD, 1000)
    one.add([item(1, 500)])
    other = Spill(tmp_path, SpillHead("jsonlines", "books", "shop:books", "w2", "x", "shop.Books"), 1000)
    with pytest.raises(SinkUnavailable, match=r"is full \(MOCRA_SPILL_MAX_BYTES = 1000\)"):
        other.add([item(2, 500)])
    one.close()


def test_a_disk_that_is_full_leaves_the_spill_file_as_it_was(
    tmp_path: Path, full: Callable[[int | None], None]
) -> None:
    spill = Spill(tmp_path, HEAD, 2**20)
    spill.add([item(1)])
    before = spill.path.read_bytes()
    full(20)
    with pytest.raises(OSError, match="No space left"):
        spill.add([item(2, 100)])
    assert spill.path.read_bytes() == before
    full(None)
    spill.add([item(3)])
    spill.close()
    assert spill.path.read_bytes().count(b"\n") == 3


def test_a_disk_that_is_full_from_the_beginning_leaves_no_spill_file(
    tmp_path: Path, full: Callable[[int | None], None]
) -> None:
    spill = Spill(tmp_path, HEAD, 2**20)
    full(20)
    with pytest.raises(OSError, match="No space left"):
        spill.add([item(1)])
    spill.close()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "line", [b'{"origin":{},"item":{"n":1}}', b"\xff\n", b"[]\n", b'{"item":1,"origin":{}}\n', b"\n"]
)
def test_a_line_that_was_cut_off_or_is_none_of_ours_is_no_item(line: bytes) -> None:
    assert read_item(line) is None


class _within:
    """Half a minute for what is waited for."""

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._timer = asyncio.get_running_loop().call_later(30, task.cancel)

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
