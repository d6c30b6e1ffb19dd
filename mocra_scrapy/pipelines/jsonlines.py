"""``JsonLinesPipeline``: files of lines, each synced to the disk with its batch.

``books-WORKER-1.jsonl.part`` grows; it becomes ``books-WORKER-1.jsonl`` in one step when it is large
or old enough, and at close. What a killed worker left is finished by the next one that opens the
folder: a line that was cut off is taken out, its page is fetched again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mocra_scrapy.exceptions import ConfigurationError, SinkUnavailable
from mocra_scrapy.pipelines.appending import AppendedFile, can_be_held, sync_folder
from mocra_scrapy.pipelines.batch import BatchPipeline, Place
from mocra_scrapy.pipelines.sink import StoredItem
from mocra_scrapy.settings.pipelines import JsonLinesOptions, read_jsonlines

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

logger = logging.getLogger(__name__)

PART = ".part"
CHUNK = 65_536
#: Errors of the system that pass when somebody makes room.
PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENFILE, errno.EMFILE}

T = TypeVar("T")


class JsonLinesPipeline(BatchPipeline):
    """At least once; see ``docs/guides/store-items``."""

    kind = "jsonlines"

    @classmethod
    def make_sink(cls, settings: BaseSettings, place: Place) -> JsonLinesSink:
        return JsonLinesSink(read_jsonlines(settings), f"{place.spider}-{place.worker}", place.field)


class JsonLinesSink:
    """See :class:`~mocra_scrapy.pipelines.sink.Sink`.

    Args:
        stem: what the names of its files begin with; no other worker's do.
        field: of each line, for the item's origin.
    """

    def __init__(self, options: JsonLinesOptions, stem: str, field: str) -> None:
        self.name = f"JSON Lines in {options.folder}"
        self._options, self._field = options, field
        self._files = _Files(options, "".join(c if c.isalnum() or c in ".-_" else "-" for c in stem))
        self._thread: ThreadPoolExecutor | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rotation: asyncio.Future[None] | None = None

    async def open(self) -> None:
        try:
            await self._in_thread(self._files.prepare)
        except OSError as error:
            if error.errno in PASSING:
                raise SinkUnavailable(f"{self.name}: {error.strerror}") from error
            raise ConfigurationError(
                "MOCRA_JSONLINES_DIR",
                f"{str(self._options.folder)!r} can't be written: {error.strerror or error}",
                "Name a folder that this user may write",
            ) from error

    async def write(self, batch: Sequence[StoredItem]) -> None:
        lines = b"".join(b"%b\n" % item.with_origin(self._field) for item in batch)
        try:
            begun = await self._in_thread(self._files.append, lines)
        except OSError as error:
            raise SinkUnavailable(f"{self.name}: {error.strerror or error}") from error
        if begun and self._options.rotate_seconds:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(self._options.rotate_seconds, self._rotate)

    def _rotate(self) -> None:
        """The file is old enough, whether or not more items come."""
        self._timer = None
        self._rotation = asyncio.ensure_future(self._in_thread(self._files.finish))
        self._rotation.add_done_callback(self._rotated)

    def _rotated(self, done: asyncio.Future[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            logger.warning("%s: a file could not be finished and goes on: %s", self.name, error)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._in_thread(self._files.finish)
        finally:
            if self._thread is not None:
                self._thread.shutdown(wait=False)

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        """A cancelled write goes on in its thread; the next call waits until it has ended."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "mocra-jsonlines")
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


class _Files:
    """Of one worker, one after the other. Blocks."""

    def __init__(self, options: JsonLinesOptions, stem: str) -> None:
        self._options, self._stem = options, stem
        self._suffix = ".jsonl.zst" if options.zstd else ".jsonl"
        self._number = 0
        self._file: AppendedFile | None = None

    def prepare(self) -> None:
        """The folder is there, can be written, and has no parts that nobody writes."""
        folder = self._options.folder
        folder.mkdir(parents=True, exist_ok=True)
        probe = AppendedFile(folder / f".{self._stem}{PART}")
        probe.delete()
        probe.close()
        if not can_be_held():
            return
        for part in sorted(folder.glob(f"*.jsonl*{PART}")):
            try:
                finish_part(part)
            except (BlockingIOError, FileNotFoundError):
                continue  # its worker lives, or somebody else finished it
            except OSError as error:
                logger.warning("%s was left by a worker that died, and can't be finished: %s", part, error)

    def append(self, lines: bytes) -> bool:
        """Whether a new file was begun."""
        data = zstd.compress(lines) if self._options.zstd else lines  # a frame of its own: it can end after any
        if self._file is not None and not self._file.is_at(self._file.path):
            logger.warning("%s was moved or deleted while it was written; another one is begun", self._file.path)
            self._file.close()
            self._file = None
        begun = self._file is None
        if self._file is None:
            self._file = AppendedFile(self._next())
            sync_folder(self._options.folder)
        self._file.append(data)
        if self._options.rotate_bytes and self._file.size >= self._options.rotate_bytes:
            try:
                self.finish()
            except OSError as error:  # the batch is stored all the same
                logger.warning("%s: a file could not be finished and goes on: %s", self._options.folder, error)
        return begun

    def _next(self) -> Path:
        """A name that is free: a replay writes for the worker that spilled, beside its files."""
        while True:
            self._number += 1
            done = self._options.folder / f"{self._stem}-{self._number}{self._suffix}"
            part = done.with_name(f"{done.name}{PART}")
            if not done.exists() and not part.exists():
                return part

    def finish(self) -> None:
        """The file gets its name; the next batch begins another one.

        Raises:
            OSError: it could not be renamed, and goes on.
        """
        if self._file is not None:
            self._file.rename(self._file.path.with_suffix(""))
            self._file.close()
            self._file = None


def finish_part(part: Path) -> None:
    """Give *part*, whose worker is dead, its name, without what was cut off.

    Raises:
        BlockingIOError: its worker lives.
        OSError: it can't be written.
    """
    file = AppendedFile(part, create=False)
    try:
        whole = whole_frames(file) if part.name.endswith(f".zst{PART}") else whole_lines(file)
        if not whole:
            file.delete()
            return
        if whole < file.size:
            file.truncate(whole)
        file.rename(part.with_suffix(""))
        logger.info("%s was left by a worker that died: finished", file.path)
    finally:
        file.close()


def whole_lines(file: AppendedFile) -> int:
    """Bytes of *file* up to the end of its last whole line."""
    end = file.size
    while end > 0:
        begin = max(0, end - CHUNK)
        found = file.read(begin, end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def whole_frames(file: AppendedFile) -> int:
    """Bytes of *file* up to the end of its last whole zstd frame."""
    end = at = 0
    frame = zstd.ZstdDecompressor()
    try:
        while data := file.read(at, CHUNK):
            at += len(data)
            frame.decompress(data)
            while frame.eof:
                data = frame.unused_data
                end = at - len(data)
                frame = zstd.ZstdDecompressor()
                if data:
                    frame.decompress(data)
    except zstd.ZstdError:
        pass  # no frame begins here, or this one is damaged
    return end
