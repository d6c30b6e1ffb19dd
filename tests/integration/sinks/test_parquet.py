"""``ParquetPipeline``: its files, their columns, and what a crash leaves."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mocra_scrapy.exceptions import ConfigurationError, ItemRefused, SinkUnavailable
from mocra_scrapy.pipelines.parquet import ParquetPipeline
from mocra_scrapy.pipelines.parquet_files import HEAD
from tests.integration.sinks.storing import ORIGIN, books, opened, sink_of, stored


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "items"


def where(folder: Path, **more: Any) -> dict[str, Any]:
    return {"PARQUET_DIR": str(folder), **more}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for name in files(folder) for row in pq.read_table(folder / name).to_pylist()]


async def test_a_file_is_there_when_it_is_whole_and_its_spool_until_then(folder: Path) -> None:
    async with opened(ParquetPipeline, **where(folder)) as sink:
        await sink.write(books(3))
        assert files(folder) == ["_books-w1-1.parquet.part"]
        await sink.write(books(2))
    assert files(folder) == ["books-w1-1.parquet"]
    found = rows(folder)
    assert [row["id"] for row in found] == [0, 1, 2, 0, 1]
    assert found[1]["_mocra"] == {**ORIGIN, "item": 2}


async def test_what_a_killed_worker_left_is_finished_by_the_next_one(folder: Path) -> None:
    sink = sink_of(ParquetPipeline, **where(folder))
    await sink.open()
    await sink.write(books(5))
    await sink.write(books(7))
    spool = folder / "_books-w1-1.parquet.part"
    with spool.open("ab") as file:  # the beginning of a batch, as a crash leaves it
        file.write(HEAD.pack(b"MOCP", 5000, 1) + b"x" * 100)
    left = spool.with_name("_books-w2-1.parquet.part")
    left.write_bytes(spool.read_bytes())  # of a dead worker: nobody holds it
    other = sink_of(ParquetPipeline, **where(folder))
    other._files._stem = "books-w3"
    await other.open()
    await other.close()
    assert files(folder) == ["_books-w1-1.parquet.part", "books-w2-1.parquet"], "of the living one nothing is taken"
    assert [row["id"] for row in rows_of(folder / "books-w2-1.parquet")] == [*range(5), *range(7)]
    await sink.close()
    assert files(folder) == ["books-w1-1.parquet", "books-w2-1.parquet"]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


async def test_a_replay_for_a_worker_that_spilled_leaves_its_files_alone(folder: Path) -> None:
    """It has the worker's name."""
    for count in (3, 4):
        async with opened(ParquetPipeline, **where(folder)) as sink:
            await sink.write(books(count))
    assert files(folder) == ["books-w1-1.parquet", "books-w1-2.parquet"]
    assert len(rows(folder)) == 7


async def test_a_crash_between_file_and_spool_makes_the_same_file_once_more(folder: Path) -> None:
    async with opened(ParquetPipeline, **where(folder)) as sink:
        await sink.write(books(5))
        spool = folder / "_books-w1-1.parquet.part"
        kept = spool.read_bytes()
    spool.write_bytes(kept)
    async with opened(ParquetPipeline, **where(folder)) as sink:
        pass
    assert files(folder) == ["books-w1-1.parquet"]
    assert len(rows(folder)) == 5


async def test_a_batch_that_was_damaged_on_the_disk_is_not_read(folder: Path) -> None:
    sink = sink_of(ParquetPipeline, **where(folder))
    await sink.open()
    await sink.write(books(5))
    first = (folder / "_books-w1-1.parquet.part").stat().st_size
    await sink.write(books(6))
    await sink._in_thread(sink._files._spool.close)
    sink._files._spool = None
    with (folder / "_books-w1-1.parquet.part").open("r+b") as file:
        file.seek(first + HEAD.size + 300)
        file.write(b"????")
    await sink.close()
    async with opened(ParquetPipeline, **where(folder)):
        pass
    assert len(rows(folder)) == 5


async def test_files_rotate_by_size_and_while_one_is_finished_the_next_grows(folder: Path) -> None:
    async with opened(ParquetPipeline, **where(folder, PARQUET_ROTATE_BYTES=20_000)) as sink:
        for _ in range(12):
            await sink.write(books(100))
    assert len(files(folder)) == 3
    assert all(name.endswith(".parquet") for name in files(folder))
    assert len(rows(folder)) == 1200


async def test_files_rotate_by_time_though_no_more_items_come(folder: Path) -> None:
    import asyncio

    async with opened(ParquetPipeline, **where(folder, PARQUET_ROTATE_SECONDS=0.05)) as sink:
        await sink.write(books(3))
        while files(folder) != ["books-w1-1.parquet"]:
            await asyncio.sleep(0.01)
        assert len(rows(folder)) == 3
        await sink.write(books(2))
    assert len(rows(folder)) == 5


async def test_row_groups_have_the_rows_that_were_asked_for(folder: Path) -> None:
    async with opened(ParquetPipeline, **where(folder, PARQUET_ROW_GROUP=250, PARQUET_COMPRESSION="snappy")) as sink:
        for _ in range(7):
            await sink.write(books(100))
    found = pq.ParquetFile(folder / "books-w1-1.parquet").metadata
    assert [found.row_group(at).num_rows for at in range(found.num_row_groups)] == [250, 250, 200]
    assert found.row_group(0).column(0).compression == "SNAPPY"


async def test_columns_come_as_the_items_have_them(folder: Path) -> None:
    async with opened(ParquetPipeline, **where(folder)) as sink:
        await sink.write([stored({"a": 1, "b": None}), stored({"a": 2, "c": True})])
        await sink.write([stored({"a": 3, "b": "x", "tags": ["x", 1], "more": {"deep": None}}), stored({})])
    (name,) = files(folder)
    table = pq.read_table(folder / name)
    types = {each.name: str(each.type) for each in table.schema if each.name != "_mocra"}
    assert types == {"a": "int64", "c": "bool", "b": "string", "tags": "string", "more": "string"}
    last = {key: value for key, value in table.to_pylist()[2].items() if key != "_mocra"}
    assert last == {"a": 3, "c": None, "b": "x", "tags": '["x",1]', "more": '{"deep":null}'}


async def test_whole_numbers_become_fractions_in_a_file_of_their_own(folder: Path) -> None:
    large = 2**53 + 1  # a double does not have it
    async with opened(ParquetPipeline, **where(folder)) as sink:
        await sink.write([stored({"n": large})])
        await sink.write([stored({"n": 0.5}), stored({"n": 3})])
        with pytest.raises(ItemRefused, match="it would lose digits"):
            await sink.write([stored({"n": large})])
    assert [row["n"] for row in rows(folder)] == [large, 0.5, 3.0]
    assert len(files(folder)) == 2


async def test_items_of_nothing_are_rows_too(folder: Path) -> None:
    async with opened(ParquetPipeline, **where(folder)) as sink:
        sink._files._field = ""
        await sink.write([stored({}), stored({"a": None})])
    assert len(rows(folder)) == 2


async def test_types_that_are_named(folder: Path) -> None:
    schema = {
        "day": "date",
        "at": "timestamp",
        "price": "decimal(10, 2)",
        "tags": "list<string>",
        "n": "int32",
        "raw": "json",
        "weight": "float",
    }
    item = {
        "day": date(2026, 11, 29),
        "at": datetime(2026, 11, 29, 12, 30, tzinfo=timezone.utc),
        "price": Decimal("1234.50"),
        "tags": ["a", None],
        "n": 7.0,
        "raw": "x",
        "weight": 2,
        "other": 1,
    }
    async with opened(ParquetPipeline, **where(folder, PARQUET_SCHEMA=schema)) as sink:
        await sink.write([stored(item), stored({"at": "2026-11-29T12:30:00Z", "day": "2026-11-29T01:02:03"})])
        for name, wrong in [
            ("day", "tomorrow"),
            ("at", 7),
            ("price", "1.234"),
            ("price", "a lot"),
            ("price", "123456789.00"),
            ("tags", "a"),
            ("tags", [1]),
            ("n", 2**31),
            ("n", 1.5),
            ("n", True),
            ("weight", "2"),
        ]:
            with pytest.raises(ItemRefused, match=f"field '{name}' is .*does not take") as refused:
                await sink.write([stored(item), stored({name: wrong})])
            assert set(refused.value.which or ()) == {1}, (name, wrong)
    first, second = rows(folder)
    kept = {name: first[name] for name in item}
    assert kept == {**item, "raw": '"x"', "n": 7, "weight": 2.0}
    assert (second["at"], second["day"]) == (item["at"], item["day"])


async def test_an_item_of_another_type_than_the_first_ones_is_refused_alone(folder: Path) -> None:
    async with opened(ParquetPipeline, **where(folder)) as sink:
        batch = books(500)
        batch[77] = stored({"id": "x", "new": 1})
        with pytest.raises(ItemRefused, match="'id' is int64 as in the first items, and does not take 'x'") as refused:
            await sink.write(batch)
        assert set(refused.value.which or ()) == {77}
        await sink.write(batch[:77] + batch[78:])
    assert len(rows(folder)) == 499
    assert "new" not in rows(folder)[0], "of what was refused nothing is learnt"


@pytest.mark.parametrize("kind", ["text", "decimal(99, 2)", "list<list<string>>", "decimal(3, 5)"])
def test_a_type_that_there_is_not_is_told_before_anything_is_opened(folder: Path, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MOCRA_PARQUET_SCHEMA\['a'\]: .* is no type. Write one of bool"):
        sink_of(ParquetPipeline, **where(folder, PARQUET_SCHEMA={"a": kind}))


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """As on a full disk: longer ones can't be written."""
    import signal

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def test_a_full_disk_costs_no_batch_that_was_stored(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = sink_of(ParquetPipeline, **where(folder, PARQUET_COMPRESSION="none"))
    await sink.open()
    await sink.write([stored({"n": n, "t": os.urandom(500).hex()}) for n in range(20)])
    limit = (folder / "_books-w1-1.parquet.part").stat().st_size + 100
    with files_no_larger_than(limit), pytest.raises(SinkUnavailable, match=r"Parquet files in .*: File too large"):
        await sink.write([stored({"n": n, "t": os.urandom(500).hex()}) for n in range(20, 40)])
    await sink.write([stored({"n": 40})])
    with files_no_larger_than(5000):
        await sink.close()
    assert "Its items are kept in it, and whoever opens the folder next makes it one" in caplog.text
    assert files(folder) == ["_books-w1-1.parquet.part"]
    async with opened(ParquetPipeline, **where(folder)):
        pass
    assert [row["n"] for row in rows(folder)] == [*range(20), 40]
