"""Seeds from the standard input of a worker: ``producer | scrapy crawl books -s MOCRA_SEEDS=stdin``.

Nobody can read it again: what a worker had read and not stored when it was killed is lost.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Sequence

#: Bytes that are read at once, and how many such pieces are read ahead.
PIECE, AHEAD = 65536, 4


class StdinSource:
    """Lines of a file descriptor, which a thread of its own reads: it may block for ever."""

    name = "stdin"

    def __init__(self, longest: int, descriptor: int = 0) -> None:
        self._ended = False
        self._longest, self._descriptor = longest, descriptor
        self._pieces: queue.Queue[bytes] = queue.Queue(AHEAD)
        self._rest = b""
        self._number = 0
        self._thread: threading.Thread | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended, and all that came was given."""
        return self._ended and not self._rest

    def _read(self) -> None:
        # Not sys.stdin: a thread that holds its lock when the interpreter ends brings that down.
        piece = b"begin"
        while piece:
            try:
                piece = os.read(self._descriptor, PIECE)
            except OSError:
                piece = b""
            self._pieces.put(piece)

    async def take(self, want: int) -> tuple[list[tuple[int, bytes]], bool]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, name="mocra stdin", daemon=True)
            self._thread.start()
        lines: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            while not self._ended and self._rest.count(b"\n") < want:
                piece = self._pieces.get_nowait()
                self._ended = not piece
                self._rest += piece
                if len(self._rest) > self._longest and b"\n" not in self._rest:
                    break  # a line without end: it comes in parts, each of which is refused
        *whole, rest = self._rest.split(b"\n", want)
        lines += whole
        if (self._ended and b"\n" not in rest) or (not whole and len(rest) > self._longest):
            lines, rest = [*lines, rest], b""
        self._rest = rest
        got = [(self._number + i, line) for i, line in enumerate(lines) if line.strip()]
        self._number += len(lines)
        return got, False

    async def stored(self, numbers: Sequence[int]) -> int:
        return len(numbers)

    async def live(self) -> None:
        """Nobody else reads it."""

    async def leave(self) -> int:
        return 0
