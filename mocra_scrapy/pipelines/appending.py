"""Files that grow by whole pieces: appended and synced, or left as they were. Blocks: for threads."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing tells whether a file is still written
    fcntl = None  # type: ignore[assignment]


class AppendedFile:
    """One file, held by this process until it is closed: locks end with their process.

    A new one is held before it has its name, so that nobody who looks for files that no process
    holds takes it for one.

    Args:
        create: whether it is made if there is none of this name. Names of new files are this
            process's own: no other makes one of the same.

    Raises:
        BlockingIOError: another process holds it.
        FileNotFoundError: there is none, and it is not to be made.
        OSError: it can't be written.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
        new = path.with_name(f"{path.name}.{os.getpid()}.new") if create and not path.exists() else None
        self._descriptor = os.open(new or path, flags | os.O_CREAT if create else flags, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if new is not None:
                new.rename(path)
            if not self.is_at(path):  # somebody renamed or deleted it between the two
                raise BlockingIOError(f"{path} is another file now")
            self.size = os.fstat(self._descriptor).st_size
        except OSError:
            os.close(self._descriptor)
            raise

    def is_at(self, path: Path) -> bool:
        """Whether *path* is this file."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._descriptor), path.stat())
        return False

    def append(self, data: bytes) -> None:
        """All of *data*, synced to the disk; or the file is as it was.

        Raises:
            OSError: it could not be written.
        """
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fsync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                self.truncate(self.size)
            raise
        self.size += len(data)

    def read(self, begin: int, most: int) -> bytes:
        os.lseek(self._descriptor, begin, os.SEEK_SET)  # what is appended goes to the end all the same
        return os.read(self._descriptor, most)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)
        self.size = size

    def rename(self, path: Path) -> None:
        """In one step; the name survives a crash of the machine, unless the disk is failing.

        Raises:
            FileExistsError: never written over.
        """
        if path.exists():
            raise FileExistsError(errno.EEXIST, f"{path} exists")
        self.path.rename(path)
        self.path = path
        with contextlib.suppress(OSError):
            sync_folder(path.parent)

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def can_be_held() -> bool:
    """Whether this system tells if a file is still written."""
    return fcntl is not None


def sync_folder(folder: Path) -> None:
    """Or names of new files in it may be gone after a crash of the machine."""
    if fcntl is None:
        return  # Windows can't open one
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
