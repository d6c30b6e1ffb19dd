"""Who empties the file of a feed that is to be overwritten: one worker a run, and never one that
comes later.

A hidden file beside it, ``.items.jsonl.mocra``, says which run has begun it. Workers of that run
hold a shared lock on it as long as they write; it is read and changed under an exclusive one. Locks
end with their process, however it ends.

=======================================  ========================================================
the mark                                 the worker
=======================================  ========================================================
is this run's                            writes on
is another run's, nobody holds the file  empties, marks, writes
is another run's, and it still writes    waits for it, for ``MOCRA_LEASE`` seconds at most
is of a record that the server has lost  writes on and marks: those who hold it are this crawl's
is missing, the run goes on already      empties what is older than the crawl's record, nothing else
=======================================  ========================================================

The decision is beside the file and not on the server, because it is about the file: two machines
may or may not share a disk, and a server that came back empty must not have a file emptied.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from mocra_scrapy.exceptions import ConfigurationError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

LOOK = 0.05  # s between two looks at a file that is held
LARGEST = 4096  # bytes of a mark


@dataclass(frozen=True, slots=True)
class RunMark:
    """A run, told from all others.

    Attributes:
        crawl: its name.
        born: tells its record from one that took its place (microseconds).
        run: its number.
    """

    crawl: str
    born: int
    run: int


class Hold:
    """This worker writes what *sidecar* is about, until :meth:`release`."""

    def __init__(self, sidecar: Path, descriptor: int) -> None:
        self._sidecar, self._descriptor = sidecar, descriptor

    def mark(self, run: RunMark) -> None:
        """It belongs to *run* from now on: the crawl has another record."""
        if self._descriptor >= 0:
            _write(self._descriptor, run)

    def release(self) -> None:
        """May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


async def begin(
    target: Path, run: RunMark, clear: Callable[[], None] | None, *, keep: Callable[[], bool], patience: float
) -> Hold:
    """Begin to write *target*, or go on with it.

    Args:
        clear: empties it, where that is wanted. ``None``: it is only marked.
        keep: whether a file without a mark may be this run's all the same.
        patience: seconds to wait for another run that still writes it.

    Raises:
        ConfigurationError: another run still writes it; the platform has no locks.
        OSError: its folder can't be written.
    """
    if fcntl is None:
        raise ConfigurationError(
            f"FEEDS {str(target)!r}", "this platform has no file locks, so no worker may empty it", "Use -o, not -O"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    sidecar = target.with_name(f".{target.name}.mocra")
    deadline = time.monotonic() + patience
    while True:
        descriptor = os.open(sidecar, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        held = False
        try:
            if _lock(descriptor, fcntl.LOCK_EX):
                if _is_at(descriptor, sidecar):
                    _decide(target, _read(descriptor), run, clear, keep)
                    _write(descriptor, run)
                    held = _lock(descriptor, fcntl.LOCK_SH)
            else:
                held = _join(descriptor, run, emptying=clear is not None)
        finally:
            if not held:
                os.close(descriptor)
        if held:
            return Hold(sidecar, descriptor)
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"FEEDS {str(target)!r}",
                f"another run has been writing it for {patience:g} s so it can't be emptied",
                "Wait until that run has ended, or name another file",
            )
        await asyncio.sleep(LOOK)


def _decide(
    target: Path, found: RunMark | None, run: RunMark, clear: Callable[[], None] | None, keep: Callable[[], bool]
) -> None:
    if clear is None or found == run:
        return
    if found is None and keep():
        logger.warning(
            "Feed %s is not emptied: nothing says which run wrote it, and this one may have. Delete it to begin anew",
            target,
        )
        return
    clear()


def _join(descriptor: int, run: RunMark, *, emptying: bool) -> bool:
    """Whether it is this run's that others write, or may be."""
    found = _read(descriptor)
    lost = found is not None and found.crawl == run.crawl and found.born != run.born
    if (emptying and found != run and not lost) or not _lock(descriptor, fcntl.LOCK_SH):
        return False
    if lost:
        _write(descriptor, run)
    return True


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the locked file is still the one of that name."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _read(descriptor: int) -> RunMark | None:
    """``None``: there is none, or it was not written whole."""
    try:
        found = json.loads(os.pread(descriptor, LARGEST, 0))
        return RunMark(str(found["crawl"]), int(found["born"]), int(found["run"]))
    except (ValueError, TypeError, KeyError):
        return None


def _write(descriptor: int, run: RunMark) -> None:
    data = json.dumps(asdict(run)).encode() + b"\n"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)


def empty(path: Path) -> None:
    """Take out what is in *path*, unless somebody writes it whom no mark knows."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if _lock(descriptor, fcntl.LOCK_EX):
            os.ftruncate(descriptor, 0)
        else:
            logger.warning("Feed %s is not emptied: another process is writing it", path)
    finally:
        os.close(descriptor)
