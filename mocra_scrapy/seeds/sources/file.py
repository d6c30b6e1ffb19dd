"""Seeds from a file: a line each. Its position is how many bytes of it were read."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import IO

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.seeds.source import Found

logger = logging.getLogger(__name__)

#: Bytes at the beginning of a file by which it is known again.
HEAD = 256
#: Bytes that are read at once, about.
MOST = 2**20


class FileSource:
    """A file that one worker reads, and another one reads on.

    Args:
        longest: bytes of a line that are kept; of a longer one the beginning.
        follows: whether it may grow: then a last line without an end is not whole yet, and the end of
            the file is not that of the source (``tail -f``).
    """

    def __init__(self, path: str, name: str, *, longest: int, follows: bool) -> None:
        self.name, self.is_endless = name, follows
        self.is_over = False
        self._path, self._longest = Path(path), longest
        self._at, self._run = 0, 0
        self._file: IO[bytes] | None = None
        self._unended: tuple[int, int] | None = None  # where a line without an end begins, and the file's size

    def check(self) -> None:
        """Raises ConfigurationError: there is no such file, and nobody waits for it; or it is no file."""
        if self._path.exists():
            self._check_kind()
        elif not self.is_endless:
            raise ConfigurationError(
                "MOCRA_SEEDS", f"{self.name!r}: there is no such file here", "Correct the path, or create the file"
            )

    def _check_kind(self) -> None:
        if not self._path.is_file():  # a pipe would block whoever opens it, and has no positions
            raise ConfigurationError(
                "MOCRA_SEEDS", f"{self.name!r} is no regular file", 'Name a file; a pipe can be given as "stdin"'
            )

    @property
    def position(self) -> bytes:
        length = min(self._at, HEAD)
        # Of the file that is read: another one may have its name by now.
        head = "" if self._file is None else _head(os.pread(self._file.fileno(), length, 0))
        return json.dumps({"run": self._run, "at": self._at, "head": head}).encode()

    async def begin(self, position: bytes | None, run: int) -> None:
        """A file that is read to its end is read again in the next run; one that grows is read on."""
        self._run, self._at, self.is_over = run, 0, False
        await self.close()
        try:
            known = json.loads(position) if position else {}
            at, head = int(known.get("at", 0)), str(known.get("head", ""))
        except (ValueError, AttributeError):
            at, head, known = 0, "", {}
        if not at or (known.get("run") != run and not self.is_endless):
            return
        if await asyncio.to_thread(self._is_same, at, head):
            self._at = at
        else:
            logger.warning(
                "%s is another file than the one that was read up to byte %d: it is read anew", self.name, at
            )

    def _is_same(self, at: int, head: str) -> bool:
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                return size >= at and (not head or _head(file.read(int(head.partition(":")[0] or 0))) == head)
        except OSError:
            return False

    async def read(self, want: int) -> list[Found]:
        return await asyncio.to_thread(self._read, want)

    def _read(self, want: int) -> list[Found]:
        try:
            if self._file is None or self._was_replaced():
                self._open()
            assert self._file is not None
            self._file.seek(self._at)
            found = self._lines(self._file, want)
            if not found and self._is_left():
                self._file.seek(self._at)
                found = self._lines(self._file, want, is_left=True)
        except OSError as error:
            raise ConfigurationError(
                "MOCRA_SEEDS", f"{self.name!r} can't be read: {error.strerror}", "Correct the path or its rights"
            ) from None
        return found

    def _open(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._path.exists():
            self._check_kind()
        self._file = self._path.open("rb")

    def _was_replaced(self) -> bool:
        """A log that was rotated: another file has its name, or it became shorter."""
        assert self._file is not None
        mine = os.fstat(self._file.fileno())
        try:
            there = self._path.stat()
        except OSError:
            return False
        if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino) and there.st_size >= self._at:
            return False
        if self._at < mine.st_size and (there.st_ino != mine.st_ino):
            return False  # the rest of the old one first
        logger.info("%s is a new file: it is read from its beginning", self.name)
        self._at = 0
        return True

    def _is_left(self) -> bool:
        """Another file has the name, and the last line of this one has not grown since the last look."""
        assert self._file is not None
        mine, before = os.fstat(self._file.fileno()), self._unended
        self._unended = (self._at, mine.st_size)
        try:
            there = self._path.stat()
        except OSError:
            return False
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino) and before == self._unended

    def _lines(self, file: IO[bytes], want: int, *, is_left: bool = False) -> list[Found]:
        found: list[Found] = []
        bytes_read = 0
        while len(found) < want and bytes_read < MOST:
            line = file.readline(self._longest + 1)
            length = len(line)
            is_whole = line.endswith(b"\n")
            if not is_whole and length > self._longest:  # the rest of it is passed over
                while (more := file.readline(MOST)) and not more.endswith(b"\n"):
                    length += len(more)
                length += len(more)
                is_whole = more.endswith(b"\n")
            if not is_whole and (not line or (self.is_endless and not is_left)):
                self.is_over = not line and not self.is_endless
                break  # the end; a line that grows is not whole yet
            place, self._at = str(self._at), self._at + length
            bytes_read += length
            if line.strip():
                found.append(Found(line.rstrip(b"\r\n") if length == len(line) else line, place))
        return found

    async def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _head(data: bytes) -> str:
    """What tells a file, by its first bytes, from the one that took its place."""
    return f"{len(data)}:{hashlib.blake2b(data, digest_size=8).hexdigest()}"
