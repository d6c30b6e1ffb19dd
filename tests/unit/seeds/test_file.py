"""A file as a source of seeds: positions, take-over in the middle, files that grow and are replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.seeds.sources.file import FileSource

LINES = [b"http://a.test/%d" % i for i in range(10)]


def source(path: Path, *, follows: bool = False, longest: int = 100) -> FileSource:
    return FileSource(str(path), "file:seeds", longest=longest, follows=follows)


async def all_of(file: FileSource) -> list[bytes]:
    found: list[bytes] = []
    while some := await file.read(3):
        found += [one.data for one in some]
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "seeds"
    path.write_bytes(b"\n".join(LINES))
    return path


async def test_another_worker_reads_on_in_the_middle(path: Path) -> None:
    first, second = source(path), source(path)
    await first.begin(None, 1)
    got = [one.data for one in await first.read(4)]
    await second.begin(first.position, 1)
    assert got + await all_of(second) == LINES
    assert second.is_over
    assert not first.is_over
    await first.close()
    await second.close()


async def test_places_are_offsets_and_blank_lines_are_none(tmp_path: Path) -> None:
    path = tmp_path / "seeds"
    path.write_bytes(b"a\r\n\n  \nb\n")
    file = source(path)
    await file.begin(None, 1)
    assert [(one.data, one.place) for one in await file.read(10)] == [(b"a", "0"), (b"b", "7")]
    await file.close()


@pytest.mark.parametrize(("follows", "again"), [(False, LINES), (True, [])])
async def test_the_next_run_reads_it_again_unless_it_is_followed(path: Path, follows: bool, again: list[bytes]) -> None:
    path.write_bytes(path.read_bytes() + b"\n")
    file = source(path, follows=follows)
    await file.begin(None, 1)
    assert await all_of(file) == LINES
    await file.begin(file.position, 2)
    assert await all_of(file) == again
    await file.close()


async def test_a_followed_file_gives_whole_lines_as_they_come(path: Path) -> None:
    path.write_bytes(b"a\nb")
    file = source(path, follows=True)
    await file.begin(None, 1)
    assert await all_of(file) == [b"a"]
    with path.open("ab") as more:
        more.write(b"c\nd\n")
    assert await all_of(file) == [b"bc", b"d"]
    assert not file.is_over
    # It is rotated: what is left of the old one first, then the new one.
    path.rename(path.with_suffix(".old"))
    assert await all_of(file) == []
    path.write_bytes(b"new\n")
    assert await all_of(file) == [b"new"]
    path.write_bytes(b"x\n")
    assert await all_of(file) == [b"x"]
    await file.close()


async def test_a_position_in_another_file_counts_for_nothing(path: Path) -> None:
    file = source(path)
    await file.begin(None, 1)
    await file.read(4)
    position = file.position
    path.write_bytes(b"quite another file\n" * 20)
    await file.begin(position, 1)
    assert len(await all_of(file)) == 20
    for damaged in (b"{}", b"[]", b"not json", b'{"at": "x"}'):
        await file.begin(damaged, 1)
        assert len(await all_of(file)) == 20
    await file.close()


async def test_a_line_without_end_is_cut_and_the_rest_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "seeds"
    path.write_bytes(b"x" * 5000 + b"\nhttp://a.test\n" + b"y" * 5000)
    file = source(path)
    await file.begin(None, 1)
    found = await all_of(file)
    assert [len(line) for line in found] == [101, len(b"http://a.test"), 101]
    assert file.is_over
    await file.close()


async def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    file = source(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="no such file"):
        file.check()
    with pytest.raises(ConfigurationError, match="can't be read: No such file"):
        await file.read(1)
    source(tmp_path / "nowhere", follows=True).check()  # it may come


async def test_who_takes_over_from_a_reader_of_a_rotated_file_reads_the_new_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "seeds"
    path.write_bytes(b"".join(b"old %d\n" % i for i in range(10)))
    first, second = source(path, follows=True), source(path, follows=True)
    await first.begin(None, 1)
    await first.read(4)
    path.rename(path.with_suffix(".1"))
    new = [b"new %d" % i for i in range(10)]
    path.write_bytes(b"\n".join([*new, b""]))
    assert [one.data for one in await first.read(3)] == [b"old 4", b"old 5", b"old 6"]
    await second.begin(first.position, 1)
    assert await all_of(second) == new
    await first.close()
    await second.close()


async def test_a_line_that_nobody_ends_any_more_is_one(tmp_path: Path) -> None:
    path = tmp_path / "seeds"
    path.write_bytes(b"a\nb")
    file = source(path, follows=True)
    await file.begin(None, 1)
    assert await all_of(file) == [b"a"]
    path.rename(path.with_suffix(".1"))
    path.write_bytes(b"new\n")
    with path.with_suffix(".1").open("ab") as late:  # whoever writes has not noticed yet
        late.write(b"c")
    assert await all_of(file) == [], "it grows"
    found = [one for _ in range(3) for one in await file.read(3)]
    assert [one.data for one in found] == [b"bc", b"new"]
    await file.close()


async def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for follows in (False, True):
        with pytest.raises(ConfigurationError, match="is no regular file"):
            source(path, follows=follows).check()
    file = source(path, follows=True)
    await file.begin(None, 1)
    with pytest.raises(ConfigurationError, match="is no regular file"):
        await file.read(1)
