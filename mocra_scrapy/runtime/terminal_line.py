"""One line at the bottom of a terminal that is drawn over and over, above which everything else goes
on scrolling.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from typing import IO, Any

#: Back to the first column, and erase what stands in the line.
ERASE = "\r\x1b[K"


class TerminalLine:
    """The line. Whatever is written to the terminal by way of ``logging``, ``sys.stderr`` or
    ``sys.stdout`` between :meth:`start` and :meth:`stop` erases it first, and it is drawn again
    when that has ended its own line.

    Any thread may write.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.RLock()  # a handler of a signal may log in the middle of drawing
        self._text = ""
        self._whole = True  # whether what others wrote last ended its line
        self._handlers: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._replaced: dict[str, Any] = {}

    def start(self) -> None:
        """From now on others' writes are seen."""
        terminals = {id(stream) for stream in (sys.stderr, sys.stdout, self._stream) if _is_terminal(stream)}
        wrapped: dict[int, Any] = {}

        def wrap(stream: Any) -> Any:
            return wrapped.setdefault(id(stream), _Above(self, stream))

        for handler in _handlers():
            if id(handler.stream) in terminals:
                self._handlers.append((handler, handler.setStream(wrap(handler.stream))))
        for name in ("stderr", "stdout"):
            stream = getattr(sys, name)
            if id(stream) in terminals:
                self._replaced[name] = stream
                setattr(sys, name, wrap(stream))

    def draw(self, text: str) -> None:
        """Show *text* in place of what was there; what doesn't fit is left out."""
        with self._lock:
            self._text = text[: max(1, shutil.get_terminal_size().columns - 1)]
            if self._whole:
                self._write(f"{ERASE}{self._text}")

    def stop(self) -> None:
        """Erase it, and give the streams back."""
        with self._lock:
            if self._text and self._whole:
                self._write(ERASE)
            self._text = ""
        for handler, stream in self._handlers:
            if isinstance(handler.stream, _Above):
                handler.setStream(stream)
        for name, stream in self._replaced.items():
            if isinstance(getattr(sys, name), _Above):
                setattr(sys, name, stream)
        self._handlers, self._replaced = [], {}

    def above(self, stream: Any, text: str) -> Any:
        """Write somebody's *text* to *stream*."""
        with self._lock:
            shown = bool(self._text) and self._whole
            if shown and stream is self._stream:
                text = ERASE + text  # in one write: nothing flickers
                shown = False
            if shown:
                self._write(ERASE)
            written = stream.write(text)
            if text:
                self._whole = text.endswith("\n")
            if self._text and self._whole:
                stream.flush()
                self._write(self._text)
            return written

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone: nobody misses the line
            self._text = ""


class _Above:
    """A stream whose writes appear above the line; in all else the stream itself."""

    def __init__(self, line: TerminalLine, stream: Any) -> None:
        self._line, self._stream = line, stream

    def write(self, text: str) -> Any:
        return self._line.above(self._stream, text)

    def writelines(self, texts: Any) -> None:
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def can_draw(stream: IO[str] | None) -> bool:
    """Whether *stream* is a terminal that understands :data:`ERASE`."""
    return stream is not None and _is_terminal(stream) and os.environ.get("TERM", "") not in ("", "dumb")


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def _handlers() -> list[logging.StreamHandler[Any]]:
    """Those of ``logging`` that write to a stream and not into a file."""
    loggers = [
        logging.root,
        *(one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)),
    ]
    found = {id(handler): handler for one in loggers for handler in one.handlers}
    return [
        handler
        for handler in found.values()
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
    ]
