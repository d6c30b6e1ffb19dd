"""The state of a single runner in a file, for ``memory://``: an
:class:`~mocra_scrapy.interfaces.IShared` whose every change is an atomic replace.

Everything stands in one folder::

    state.json   all values, with versions and fences
    state.lock   held (flock) for the time of one read-change-write, by whoever changes something
    runner.lock  held as long as a runner lives; a second one on this folder is refused
    alive/NAME   held by a launcher as long as it lives; the kernel lets go of it when it dies, however it dies
    runs/JOB/    log and stats of each run

Work on files takes place in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import math
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from zope.interface import implementer

from mocra_scrapy.cron.folder import locked, make_usable, unusable
from mocra_scrapy.exceptions import BackendCorrupted, BackendUnavailable, ConfigurationError, NotSupported
from mocra_scrapy.interfaces import IElection, IShared
from mocra_scrapy.models import SharedValue, Term

_T = TypeVar("_T")
#: Seconds between two looks of a watcher at the file.
LOOK = 0.2


class _File:
    """``state.json`` under its lock."""

    def __init__(self, folder: Path) -> None:
        self.path, self._lock = folder / "state.json", folder / "state.lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[dict[str, Any]]:
        """The content, to be changed with :meth:`write`; nobody else reads or writes meanwhile."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield self._read()
        except OSError as error:
            raise BackendUnavailable(f"{self.path} can't be used (MOCRA_CRON_DIR is its folder): {error}") from error

    def _read(self) -> dict[str, Any]:
        try:
            data = json.loads(self.path.read_bytes())
            if not isinstance(data["values"], dict) or not isinstance(data["clock"], int):
                raise TypeError("not a state of ours")  # noqa: TRY301
        except FileNotFoundError:
            return {"clock": 0, "values": {}}
        except (ValueError, KeyError, TypeError) as error:
            raise BackendCorrupted(f"{self.path} can't be read: {error}; move it away to begin anew") from error
        else:
            return data  # type: ignore[no-any-return]

    def write(self, data: dict[str, Any]) -> None:
        """Replace the file, on the disk, in one step. On a full disk nothing has happened."""
        beside = self.path.with_suffix(".new")
        try:
            with beside.open("w") as file:
                json.dump(data, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()  # the room that half of it takes is somebody's
            raise


@implementer(IShared)
class FileShared:
    """See :class:`~mocra_scrapy.interfaces.IShared`. Versions come from one counter of the file, so
    they grow over deletion too.
    """

    def __init__(self, folder: Path) -> None:
        self._file = _File(folder)

    async def get(self, name: str) -> SharedValue:
        def get() -> SharedValue:
            with self._file.held() as data:
                return _value(data["values"].get(name))

        return await asyncio.to_thread(get)

    async def everything(self, prefix: str = "") -> Mapping[str, SharedValue]:
        def get() -> dict[str, SharedValue]:
            with self._file.held() as data:
                found = {name: _value(raw) for name, raw in data["values"].items() if name.startswith(prefix)}
                return {name: value for name, value in found.items() if value.value is not None}

        return await asyncio.to_thread(get)

    async def versions(self, prefix: str = "") -> Mapping[str, int]:
        return {name: one.version for name, one in (await self.everything(prefix)).items()}

    async def put(
        self,
        name: str,
        value: bytes | None,
        *,
        version: int | None = None,
        fence: int | None = None,
        lasts: float | None = None,
    ) -> SharedValue | None:
        if lasts is not None:
            raise NotSupported("lasts", "values in a file don't end by themselves", "Use memory:// or Redis")

        def put() -> SharedValue | None:
            with self._file.held() as data:
                old = _value(data["values"].get(name))
                if version is not None and version != old.version and not (version == 0 and old.value is None):
                    return None
                if fence is not None and fence < old.fence:
                    return None
                if fence is None and old.fence and version is not None:
                    return None
                data["clock"] += 1
                new = SharedValue(value, data["clock"], old.fence if fence is None else fence)
                if value is None and not new.fence:
                    data["values"].pop(name, None)
                else:
                    text = None if value is None else value.decode("utf-8", "surrogateescape")
                    data["values"][name] = [text, new.version, new.fence]
                self._file.write(data)
                return new

        return await asyncio.to_thread(put)

    async def watch(self) -> AsyncIterator[str]:
        """Looks at the file now and then: there is no word of what changed, so each change is
        ``"*"``.
        """
        before = self._stamp()
        yield "*"
        while True:
            await asyncio.sleep(LOOK)
            now = self._stamp()
            if now != before:
                before = now
                yield "*"

    def _stamp(self) -> tuple[int, int]:
        try:
            stat = self._file.path.stat()
        except OSError:
            return 0, 0
        return stat.st_ino, stat.st_mtime_ns

    async def close(self) -> None:
        """Nothing is held between calls."""


def _value(raw: Any) -> SharedValue:
    if raw is None:
        return SharedValue(None, 0)
    text, version, fence = raw
    return SharedValue(None if text is None else text.encode("utf-8", "surrogateescape"), version, fence)


@implementer(IElection)
class FileElection:
    """The role of the one runner of a folder, held by the kernel's lock on ``runner.lock``: no
    lease, no clock.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._file = folder / "runner.lock", _File(folder)
        self._held: Any = None
        self._term: Term | None = None

    def take(self) -> None:
        """Be the runner of this folder.

        Raises:
            ConfigurationError: another one is.
        """
        if self._held is not None:
            return
        make_usable(self._path.parent)
        try:
            lock = self._path.open("a+")
        except OSError as error:
            raise unusable(self._path.parent, error) from error
        if not locked(lock):
            lock.seek(0)
            who = lock.read().strip() or "another process"
            lock.close()
            raise ConfigurationError(
                str(self._path.parent),
                f"{who} is a runner with its state here, and memory:// knows only one",
                "Stop that one, or set MOCRA_CRON_DIR to another folder, or MOCRA_BACKEND to a Redis URL to have several",
            )
        with contextlib.suppress(OSError):  # a full disk: only people want to know who holds it
            lock.truncate(0)
            os.write(lock.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        self._held = lock

    async def campaign(self, candidate: str, lease: float) -> Term | None:
        if self._term is None:
            try:
                self.take()
            except ConfigurationError:
                return None

            def number() -> int:
                with self._file.held() as data:
                    data["clock"] += 1
                    self._file.write(data)
                    return int(data["clock"])

            self._term = Term("cron", candidate, await asyncio.to_thread(number), lease)
        return self._term if self._term.leader == candidate else None

    async def renew(self, candidate: str, number: int, lease: float) -> bool:
        return self._term is not None and (self._term.leader, self._term.number) == (candidate, number)

    async def resign(self, candidate: str, number: int) -> bool:
        mine = await self.renew(candidate, number, 0)
        if mine:
            self._term = None
            self._held.close()
            self._held = None
        return mine

    async def leader(self) -> Term | None:
        """That of this process; or, for whoever looks, that another process holds the folder."""
        if self._held is not None:
            return self._term
        try:
            with self._path.open("r") as lock:
                if locked(lock, fcntl.LOCK_SH, tries=1):
                    return None
                return Term("cron", lock.read().strip(), 0, math.inf)
        except OSError:
            return None

    def close(self) -> None:
        """Let another runner in."""
        self._term = None
        if self._held is not None:
            self._held.close()
            self._held = None


class FileSigns:
    """Signs of life of launchers on this machine: see :class:`~mocra_scrapy.cron.job_store.Signs`.

    A crawl inherits the lock of its launcher: it is free when both are dead.
    """

    proof = True

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder / "alive"
        self._mine: dict[str, Any] = {}

    async def give(self, job: str, worker: str, ttl: float) -> bool:
        if worker not in self._mine:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                file = (self._folder / worker).open("a")
            except OSError as error:
                raise unusable(self._folder.parent, error) from error
            if not locked(file):
                file.close()
                return False  # another process has this name
            self._mine[worker] = file
        return True

    def inherited(self, worker: str) -> tuple[int, ...]:
        return (self._mine[worker].fileno(),) if worker in self._mine else ()

    async def end(self, job: str, worker: str) -> None:
        file = self._mine.pop(worker, None)
        if file is not None:
            with contextlib.suppress(OSError):
                (self._folder / worker).unlink()
            file.close()

    async def alive(self, job: str, asked: frozenset[str]) -> frozenset[str]:
        return frozenset(worker for worker in asked if self._holds(worker))

    def _holds(self, worker: str) -> bool:
        try:
            with (self._folder / worker).open("r") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        with contextlib.suppress(OSError):
            (self._folder / worker).unlink()  # of one that died
        return False

    async def close(self) -> None:
        for file in self._mine.values():
            file.close()
        self._mine.clear()
