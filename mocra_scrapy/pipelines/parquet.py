"""``ParquetPipeline``: Parquet files, each whole from when it has its name.

Batches are synced to a spool beside them first, see :mod:`mocra_scrapy.pipelines.parquet_files`. What a
killed worker left is finished by the next one that opens the folder.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from mocra_scrapy.exceptions import ConfigurationError, SinkUnavailable
from mocra_scrapy.pipelines.appending import AppendedFile
from mocra_scrapy.pipelines.batch import BatchPipeline, Place
from mocra_scrapy.pipelines.jsonlines import PASSING
from mocra_scrapy.pipelines.parquet_columns import Columns
from mocra_scrapy.pipelines.parquet_files import PART, Spool, finish_left_spools, spool_name
from mocra_scrapy.pipelines.sink import StoredItem
from mocra_scrapy.settings.sinks import ParquetOptions, read_parquet

if TYPE_CHECKING:
    from pathlib import Path

    from scrapy.settings import BaseSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")


class ParquetPipeline(BatchPipeline):
    """At least once; see ``docs/guides/store-items``."""

    kind = "parquet"

    @classmethod
    def make_sink(cls, settings: BaseSettings, place: Place) -> ParquetSink:
        return ParquetSink(read_parquet(settings), f"{place.spider}-{place.worker}", place.field)


class ParquetSink:
    """See :class:`~mocra_scrapy.pipelines.sink.Sink`.

    Args:
        stem: what the names of its files begin with; no other worker's do.
        field: the column for the item's origin.
    """

    def __init__(self, options: ParquetOptions, stem: str, field: str) -> None:
        self.name = f"Parquet files in {options.folder}"
        self._options = options
        self._files = _Files(options, "".join(c if c.isalnum() or c in ".-_" else "-" for c in stem), field)
        self._thread: ThreadPoolExecutor | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        try:
            await self._in_thread(self._files.prepare)
        except OSError as error:
            if error.errno in PASSING:
                raise SinkUnavailable(f"{self.name}: {error.strerror}") from error
            raise ConfigurationError(
                "MOCRA_PARQUET_DIR",
                f"{str(self._options.folder)!r} can't be written: {error.strerror or error}",
                "Name a folder that this user may write",
            ) from error

    async def write(self, batch: Sequence[StoredItem]) -> None:
        try:
            begun = await self._in_thread(self._files.append, batch)
        except OSError as error:
            raise SinkUnavailable(f"{self.name}: {error.strerror or error}") from error
        if begun and self._options.rotate_seconds:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(self._options.rotate_seconds, self._rotate)

    def _rotate(self) -> None:
        """The spool is old enough, whether or not more items come."""
        self._timer = None
        assert self._thread is not None
        self._thread.submit(self._files.finish)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._in_thread(self._files.close)
        finally:
            if self._thread is not None:
                self._thread.shutdown(wait=False)

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        """A cancelled write goes on in its thread; the next call waits until it has ended."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "mocra-parquet")
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


class _Files:
    """Of one worker, one after the other. Blocks. While one is finished the next one's spool grows; a
    third one waits.
    """

    def __init__(self, options: ParquetOptions, stem: str, field: str) -> None:
        self._options, self._stem, self._field = options, stem, field
        self._columns = Columns(options.schema, field)
        self._number = 0
        self._spool: Spool | None = None
        self._finisher: ThreadPoolExecutor | None = None
        self._finishing: Future[None] | None = None

    def prepare(self) -> None:
        """The library and the folder are there, and can be used. Spools that nobody writes are
        finished on the side.
        """
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                "ITEM_PIPELINES", "ParquetPipeline needs pyarrow", 'pip install "mocra-scrapy[parquet]"'
            ) from error
        folder: Path = self._options.folder
        folder.mkdir(parents=True, exist_ok=True)
        probe = AppendedFile(folder / f".{self._stem}{PART}")
        probe.delete()
        probe.close()
        self._on_the_side(finish_left_spools, self._options)

    def append(self, batch: Sequence[StoredItem]) -> bool:
        """Whether a new spool was begun."""
        rows = [json.loads(item.with_origin(self._field)) for item in batch]
        taken, changed = self._columns.take(rows)
        if changed:
            self.finish()
        if self._spool is not None and not self._spool.is_there():
            logger.warning("%s was moved or deleted while it was written; another one is begun", self._spool.path)
            self._spool.close()
            self._spool = None
        begun = self._spool is None
        if self._spool is None:
            self._spool = Spool(self._options, self._next())
        self._spool.add(taken)
        if self._options.rotate_bytes and self._spool.size >= self._options.rotate_bytes:
            self.finish()
        return begun

    def _next(self) -> str:
        """A name that no file has: those of a worker that spilled are its own when its items are replayed."""
        while True:
            self._number += 1
            name = f"{self._stem}-{self._number}.parquet"
            if not any(
                path.exists() for path in (self._options.folder / name, self._options.folder / spool_name(name))
            ):
                return name

    def finish(self) -> None:
        """The spool becomes a Parquet file, on the side; the next batch begins another one."""
        spool, self._spool = self._spool, None
        if spool is not None:
            self._on_the_side(_finish, spool)

    def close(self) -> None:
        """Returns when all are finished, or could not be."""
        self.finish()
        if self._finisher is not None:
            self._finisher.shutdown(wait=True)

    def _on_the_side(self, call: Callable[..., None], *arguments: Any) -> None:
        if self._finisher is None:
            self._finisher = ThreadPoolExecutor(1, "mocra-parquet-files")
        if self._finishing is not None:
            self._finishing.result()
        self._finishing = self._finisher.submit(call, *arguments)


def _finish(spool: Spool) -> None:
    try:
        spool.finish()
    except Exception as error:
        logger.warning(
            "%s could not be made a Parquet file: %s. Its items are kept in it, and whoever opens the folder next"
            " makes it one",
            spool.path,
            error,
        )
