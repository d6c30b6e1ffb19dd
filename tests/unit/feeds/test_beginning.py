"""Who empties a file: one worker a run, none that comes later."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.feeds.beginning import Hold, RunMark, begin, empty
from mocra_scrapy.feeds.line_file import LineFile
from tests.services import warm

RUN = RunMark("shop", 1000, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "items.jsonl"
    path.write_text("old\n")
    return path


def begun(path: Path, run: RunMark = RUN, *, overwrite: bool = True, keep: bool = False, patience: float = 0.0) -> Hold:
    clear: Callable[[], None] | None = partial(empty, path) if overwrite else None
    return asyncio.run(begin(path, run, clear, keep=lambda: keep, patience=patience))


def test_the_first_of_a_run_empties_and_later_ones_do_not(path: Path) -> None:
    first = begun(path)
    assert path.read_text() == ""
    path.write_text("new\n")
    later = begun(path)
    first.release()
    later.release()
    resumed = begun(path)
    assert path.read_text() == "new\n"
    resumed.release()
    resumed.release()


@pytest.mark.parametrize("run", [RunMark("shop", 1000, 4), RunMark("other", 1000, 3), RunMark("shop", 2000, 3)])
def test_another_run_empties_it_when_nobody_holds_it(path: Path, run: RunMark) -> None:
    begun(path).release()
    path.write_text("of run 3\n")
    begun(path, run).release()
    assert path.read_text() == ""


@pytest.mark.parametrize("run", [RunMark("shop", 1000, 4), RunMark("other", 2000, 1)])
def test_a_run_that_still_writes_is_waited_for(path: Path, run: RunMark) -> None:
    hold = begun(path)
    path.write_text("of run 3\n")
    with pytest.raises(ConfigurationError, match="another run has been writing it"):
        begun(path, run)
    assert path.read_text() == "of run 3\n"

    async def both() -> None:
        waiting = asyncio.ensure_future(begin(path, run, partial(empty, path), keep=lambda: False, patience=60))
        await asyncio.sleep(0)
        hold.release()
        (await waiting).release()

    asyncio.run(both())
    assert path.read_text() == ""


def test_a_lost_record_empties_nothing_that_is_held(path: Path) -> None:
    hold, new = begun(path), RunMark("shop", 2000, 1)
    path.write_text("of the record that is gone\n")
    late = begun(path, new)
    assert path.read_text() != ""
    late.release()
    hold.release()
    begun(path, new).release()
    assert path.read_text() != "", "it was marked as the new record's"


def test_whoever_joined_again_marks_it(path: Path) -> None:
    hold, new = begun(path), RunMark("shop", 2000, 1)
    path.write_text("of both records\n")
    hold.mark(new)
    hold.release()
    hold.mark(RUN)  # it is not this one's any more
    begun(path, new).release()
    assert path.read_text() == "of both records\n"


def test_without_a_mark_it_is_kept_if_it_may_be_this_runs(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun(path, keep=True).release()
    assert path.read_text() == "old\n"
    assert "is not emptied: nothing says which run wrote it" in caplog.text
    begun(path, keep=True).release()
    assert len(caplog.records) == 1


def test_a_mark_that_is_deleted_leaves_the_writers_their_file(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hold = begun(path)
    with LineFile(path, lines=True) as file:
        file.write(b"item\n")
        file.commit()
        (path.parent / ".items.jsonl.mocra").unlink()
        begun(path).release()
        assert path.read_text() == "item\n"
    assert "another process is writing it" in caplog.text
    hold.release()


def test_appending_marks_it_and_empties_nothing(path: Path) -> None:
    begun(path, overwrite=False).release()
    begun(path).release()  # one of the same run that has -O where the other has -o
    assert path.read_text() == "old\n"
    hold = begun(path)
    begun(path, RunMark("other", 1, 1), overwrite=False).release()  # two crawls may append to one file
    hold.release()


@pytest.mark.parametrize("mark", ["", "{", "[]", '{"crawl": "shop"}', "\x00\xff"])
def test_a_mark_that_was_not_written_whole_is_none(path: Path, mark: str) -> None:
    (path.parent / ".items.jsonl.mocra").write_text(mark)
    begun(path).release()
    assert path.read_text() == ""


@pytest.mark.slow
def test_a_killed_owner_holds_nothing(path: Path) -> None:
    code = (
        "import asyncio, os, signal, sys; from pathlib import Path\n"
        "from mocra_scrapy.feeds.beginning import RunMark, begin\n"
        "hold = asyncio.run(begin(Path(sys.argv[1]), RunMark('shop', 1000, 3), None, keep=bool, patience=0))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert warm.run([sys.executable, "-c", code, str(path)], path.parent, 150).returncode == -9
    begun(path, RunMark("shop", 1000, 4)).release()
    assert path.read_text() == ""


def test_of_many_that_begin_at_once_one_empties(path: Path) -> None:
    cleared: list[int] = []

    async def all_of_them() -> list[Hold]:
        def clear(n: int) -> None:
            cleared.append(n)

        return await asyncio.gather(
            *(begin(path, RUN, partial(clear, n), keep=lambda: False, patience=60) for n in range(20))
        )

    for hold in asyncio.run(all_of_them()):
        hold.release()
    assert len(cleared) == 1
