"""Lines of several processes in one file."""

from __future__ import annotations

import resource
import signal
import sys
from io import TextIOWrapper
from pathlib import Path

import pytest

from mocra_scrapy.feeds.line_file import LineFile
from tests.services import warm


def test_a_line_is_one_write_however_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    written: list[bytes] = []
    write = os.write

    def counting(descriptor: int, data: bytes) -> int:
        written.append(data)
        return write(descriptor, data)

    monkeypatch.setattr("mocra_scrapy.feeds.line_file.os.write", counting)
    path = tmp_path / "folder" / "lines"
    with LineFile(path, lines=True) as file:
        for piece in (b'{"a"', b": 1}", b"\n"):
            file.write(piece)
        assert path.read_bytes() == b""
        file.commit()
        file.commit()
        assert path.read_bytes() == b'{"a": 1}\n'
        file.write(b"last\n")
    assert path.read_bytes() == b'{"a": 1}\nlast\n'
    assert written == [b'{"a": 1}\n', b"last\n"]


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntw")
    with LineFile(path, lines=True) as file, LineFile(path, lines=True) as other:
        file.write(b"three\n")
        file.commit()
        other.write(b"four\n")
        other.commit()
    assert path.read_bytes() == b"one\ntw\nthree\nfour\n"


def test_where_an_end_is_no_byte_nothing_is_put_in(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    for text in ("one\n", "two\n"):
        with LineFile(path, lines=False) as file:
            file.write(text.encode("utf-16-le"))
    assert path.read_text("utf-16-le") == "one\ntwo\n"


def test_a_disk_that_fills_up_says_so_and_ends_in_whole_lines(tmp_path: Path) -> None:
    """By the limit on a file's size, the same from a process's view: a short write, then an error."""
    path = tmp_path / "lines"
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with LineFile(path, lines=True) as file:
            file.write(b"x" * 90 + b"\n")
            file.commit()
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, old[1]))
            file.write(b"y" * 90 + b"\n")
            with pytest.raises(OSError, match="File too large"):
                file.commit()
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
            file.write(b"z\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"x" * 90 + b"\n" + b"y" * 9 + b"\nz\n"


@pytest.mark.slow
def test_lines_of_processes_stand_below_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    code = (
        "import sys; from mocra_scrapy.feeds.line_file import LineFile\n"
        "file = LineFile(sys.argv[1], lines=True)\n"
        "for n in range(300):\n"
        "    file.write(sys.argv[2].encode() * (1 + n * 50) + b'\\n'); file.commit()\n"
    )
    writers = [warm.start([sys.executable, "-c", code, str(path), letter], cwd=tmp_path) for letter in "abc"]
    assert [writer.wait(150) for writer in writers] == [0, 0, 0]
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(letter * (1 + n * 50) for letter in "abc" for n in range(300))


def test_it_can_be_wrapped_as_csv_does_it(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    file = LineFile(path, lines=False)
    text = TextIOWrapper(file, write_through=True, encoding="utf-8", newline="")  # type: ignore[type-var]
    text.write("a,ü\r\n")
    file.commit()
    assert path.read_text() == "a,ü\n"
    text.detach()
    file.close()


def test_what_is_no_file_is_written(tmp_path: Path) -> None:
    with LineFile("/dev/null", lines=True) as file:
        file.write(b"x\n")
        file.commit()
    with LineFile("/dev/full", lines=True) as file:
        file.write(b"x\n")
        with pytest.raises(OSError, match="No space left"):
            file.commit()
