"""A file that several processes append to, one whole line at a time."""

from __future__ import annotations

import contextlib
import os
import stat
from io import FileIO
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: nobody empties a shared file there, see beginning.py
    fcntl = None  # type: ignore[assignment]


class LineFile(FileIO):
    """What an exporter writes for one item goes to the file in one ``write``, at :meth:`commit`.

    ``O_APPEND`` makes the system find the end and write there in one step, so lines of several
    processes stand below each other. What a kill or a full disk cut off is ended by whoever writes
    next: an unfinished line spoils no other.

    Args:
        path: the file; made, with its folder, if it is not there.
        lines: whether to look if the last line is finished. Not with encodings in which a line's end
            is no single byte, nor where nobody else writes.
    """

    def __init__(self, path: str | Path, *, lines: bool) -> None:
        name = Path(path)
        name.parent.mkdir(parents=True, exist_ok=True)
        is_file = not name.exists() or name.is_file()
        super().__init__(str(path), "ab+" if lines and is_file and _readable(name) else "ab")
        self._lines = lines and self.readable() and stat.S_ISREG(os.fstat(self.fileno()).st_mode)
        self._pending = bytearray()
        if fcntl is not None and is_file:
            # Whoever would empty it finds it held. A lock of somebody else's must not keep us waiting.
            with contextlib.suppress(OSError):
                fcntl.flock(self.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)

    def write(self, data: Any) -> int:
        """Keeps *data* until :meth:`commit`."""
        self._pending += data
        return len(data)

    def commit(self) -> None:
        """Write what there is.

        Raises:
            OSError: it was not written, or not whole; it is not tried again.
        """
        if not self._pending:
            return
        data, self._pending = bytes(self._pending), bytearray()
        if self._lines and not self._ends_well():
            data = b"\n" + data
        written = os.write(self.fileno(), data)
        while written < len(data):  # the disk is full: the next one says so
            written += os.write(self.fileno(), data[written:])

    def _ends_well(self) -> bool:
        """Whether the last line is whole. The size grows while another process writes, so an end in
        the middle of a line is looked at again when nobody can be writing: setting the file's time
        waits for the inode's lock, which writers hold.
        """
        descriptor = self.fileno()
        while True:
            size = os.fstat(descriptor).st_size
            if not size or os.pread(descriptor, 1, size - 1) == b"\n":
                return True
            os.utime(descriptor)
            if os.fstat(descriptor).st_size == size:
                return False

    def close(self) -> None:
        try:
            if not self.closed:
                self.commit()
        finally:
            super().close()


def _readable(path: Path) -> bool:
    return not path.exists() or os.access(path, os.R_OK)
