"""The standard input as a source: lines in pieces, its end, a reader that is never waited for."""

from __future__ import annotations

import os
import time

from mocra_scrapy.seeds.sources.stdin import StdinSource


async def until_over(source: StdinSource) -> list[bytes]:
    lines: list[bytes] = []
    deadline = time.monotonic() + 30
    while not source.is_over:
        lines += [line for _, line in (await source.take(3))[0]]
        assert time.monotonic() < deadline
    while got := (await source.take(3))[0]:
        lines += [line for _, line in got]
    return lines


async def test_lines_come_whole_and_each_once() -> None:
    reading, writing = os.pipe()
    source = StdinSource(1000, reading)
    assert (await source.take(3)) == ([], False), "nothing is there, and nobody waits"
    os.write(writing, b"http://a.test/0\nhttp://a.te")
    os.write(writing, b"st/1\n\n   \nhttp://a.test/2\n" + b"".join(b"%d\n" % i for i in range(20)) + b"last")
    os.close(writing)
    lines = await until_over(source)
    assert lines == [b"http://a.test/%d" % i for i in range(3)] + [b"%d" % i for i in range(20)] + [b"last"]
    os.close(reading)


async def test_a_line_without_end_is_bounded() -> None:
    reading, writing = os.pipe()
    source = StdinSource(1000, reading)
    os.write(writing, b"x" * 50_000 + b"\nhttp://a.test\n")
    os.close(writing)
    lines = await until_over(source)
    assert lines[-1] == b"http://a.test"
    assert sum(map(len, lines[:-1])) == 50_000
    os.close(reading)
