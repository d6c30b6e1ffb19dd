"""The line at the bottom of a terminal, and what is written above it."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from mocra_scrapy.runtime.terminal_line import ERASE, TerminalLine, can_draw


class Terminal(io.StringIO):
    """Shows what a person would see."""

    def isatty(self) -> bool:
        return True

    @property
    def seen(self) -> list[str]:
        lines = [""]
        for part in self.getvalue().replace(ERASE, "\0").replace("\n", "\1").replace("\0", "|\0").split("|"):
            for character in part:
                if character == "\0":
                    lines[-1] = ""
                elif character == "\1":
                    lines.append("")
                else:
                    lines[-1] += character
        return lines


def opened(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    return screen


def test_log_lines_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = opened(monkeypatch)
    log = logging.getLogger("tests.terminal_line")
    handler = logging.StreamHandler(terminal)
    log.addHandler(handler)
    log.propagate = False
    line = TerminalLine(terminal)
    line.start()
    try:
        log.warning("before")
        line.draw("1 page")
        log.warning("first")
        line.draw("2 pages")
        print("printed", end="")
        line.draw("3 pages")  # not into the middle of somebody's line
        print(", and ended")
        sys.stderr.write("a traceback\nof two lines\n")
        line.draw("x" * 100)
        assert terminal.seen == ["before", "first", "printed, and ended", "a traceback", "of two lines", "x" * 39]
    finally:
        line.stop()
        log.removeHandler(handler)
    assert terminal.seen[-1] == ""
    assert sys.stderr is sys.stdout is handler.stream is terminal, "the streams are given back"
    line.stop()


def test_a_stream_that_somebody_replaced_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = opened(monkeypatch)
    line = TerminalLine(terminal)
    line.start()
    assert sys.stderr.encoding == terminal.encoding, "in all else it is the stream itself"
    other = io.StringIO()
    monkeypatch.setattr(sys, "stderr", other)
    line.stop()
    assert sys.stderr is other


def test_a_terminal_that_is_gone_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = opened(monkeypatch)
    line = TerminalLine(terminal)
    line.start()
    terminal.close()
    line.draw("1 page")
    line.stop()


def test_what_can_be_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = opened(monkeypatch)
    assert can_draw(terminal)
    assert not can_draw(io.StringIO())
    assert not can_draw(None)
    monkeypatch.setenv("TERM", "dumb")
    assert not can_draw(terminal)
    terminal.close()
    assert not can_draw(io.StringIO())
