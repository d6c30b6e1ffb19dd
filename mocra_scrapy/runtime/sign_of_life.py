"""A sign that this worker's process lives, which the kernel takes away with the process: a lock on a
file. Workers on the same machine see by it at once what others only see when a lease has run out.

A file proves a death, its absence proves nothing: whoever can't look (another machine, container or
user, a system without ``flock``) waits for the lease, as ever. A process that is stopped, or busy,
keeps its lock. A child that it forked keeps it too; then the lease decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Names that may be files. Workers name themselves so; what others write into a shared store may be
#: anything.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,120}\Z")
#: s without a coming or going after which a crawl's dead are forgotten; their leases (a day at most) are
#: over by then.
OLD = 7 * 86_400.0
NEW = ".new"  # behind the name of a file that is not locked yet


def this_kernel() -> str | None:
    """Names the one kernel, and the container on it, whose locks this process sees: the id of this
    boot and of the namespace of process numbers. ``None``: the system doesn't tell.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def private_folder(root: Path | None = None) -> Path | None:
    """Where this user's signs are; ``None``: there is no place that only this user can write to."""
    folder = (Path(tempfile.gettempdir()) if root is None else root) / f"mocra-scrapy-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return folder if mine else None


class Signs:
    """The signs of the workers of one crawl that share this machine.

    Args:
        crawl: tells crawls apart, and what they are stored on; any text, only its digest is used.
        root: where the folder is made; ``None``: in the system's folder for temporary files.
    """

    def __init__(self, crawl: str, root: Path | None = None) -> None:
        kernel = this_kernel()
        place = private_folder(root) if fcntl is not None and kernel is not None else None
        digest = hashlib.sha256(crawl.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self.folder = None if place is None else place / f"{kernel}-{digest}"
        if place is not None and kernel is not None:
            _tidy(place, kernel)
        self._held: dict[str, int] = {}

    @classmethod
    def of(cls, url: str, prefix: str, crawl: str) -> Signs:
        """Those of *crawl* on the backend at *url* under that key prefix."""
        return cls("\n".join((url, prefix, crawl)))

    def give(self, worker: str) -> bool:
        """Hold *worker*'s sign, until :meth:`take_back` or the end of this process; whether that
        can be.
        """
        if self.folder is None or not NAME.match(worker):
            return False
        for _ in range(3):  # the last of others may remove the folder meanwhile
            file = _locked(self.folder, worker)
            if file is not None:
                self._held[worker] = file
                return True
        return False

    def take_back(self, worker: str) -> None:
        """It leaves in order. The file goes before its lock: nobody sees one without the other."""
        file = self._held.pop(worker, None)
        if file is None or self.folder is None:
            return
        with contextlib.suppress(OSError):
            (self.folder / worker).unlink()
        os.close(file)
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # by the last one

    def dead(self) -> Iterator[Dead]:
        """Those that died, each for one looker at a time: whoever has its lock. To be used up in a
        ``with`` each.
        """
        if self.folder is None:
            return
        try:
            paths = sorted(self.folder.iterdir())
        except OSError:
            return
        for path in paths:
            found = None if path.name in self._held else _unlocked(path)
            if found is not None:
                yield Dead(path, found)


class Dead:
    """A worker whose process is gone. While the ``with`` lasts nobody else sees it."""

    def __init__(self, path: Path, file: int) -> None:
        self.name = path.name
        self.is_worker = bool(NAME.match(self.name)) and not self.name.endswith(NEW)
        self._path, self._file = path, file

    def forget(self) -> None:
        """All is told of it that had to be."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def __enter__(self) -> Dead:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _tidy(place: Path, kernel: str) -> None:
    """Remove what proves nothing any more: what earlier boots left, and crawls that nobody went on
    with for :data:`OLD` seconds.
    """
    boot = kernel.rpartition("-")[0]
    with contextlib.suppress(OSError):
        for folder in list(place.iterdir()):
            if not folder.name.startswith(boot):
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()
            elif folder.name.startswith(kernel) and folder.stat().st_mtime < time.time() - OLD:
                for path in folder.iterdir():
                    file = _unlocked(path)
                    if file is not None:
                        path.unlink()
                        os.close(file)
                with contextlib.suppress(OSError):  # somebody is alive
                    folder.rmdir()


def _locked(folder: Path, worker: str) -> int | None:
    """A new file of that name, locked before anybody sees it under it."""
    new = folder / f"{worker}{NEW}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(folder / worker)
    except OSError:  # a file system without locks, or somebody tidied up between two of these steps
        os.close(file)
        with contextlib.suppress(OSError):
            new.unlink()
        return None
    return file


def _unlocked(path: Path) -> int | None:
    """The file, locked by us, if nobody else had locked it."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_ino == path.stat().st_ino:  # not another one's that forgot it meanwhile
            return file
    except OSError:
        pass
    os.close(file)
    return None
