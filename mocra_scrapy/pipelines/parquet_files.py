"""The files of ``ParquetPipeline``. Blocks: for threads.

A Parquet file is one from when its footer is written, which says where all columns are: one that
still grows can't be read. So a batch goes to a *spool* first, synced to the disk, and a spool that is
large or old enough becomes a Parquet file in one step::

    _books-W-1.parquet.part   spool: frames of a head (magic, length, checksum) and a batch, as Arrow writes it
    _books-W-1.parquet.tmp    the file that is made of it, without its end
    books-W-1.parquet         it has its name when it is whole; then the spool is deleted

A crash between the last two leaves both: then the same file is made of the same spool once more.
Readers of a folder leave out names that begin with ``_``.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mocra_scrapy.pipelines.appending import AppendedFile, can_be_held, sync_folder
from mocra_scrapy.settings.sinks import ParquetOptions

logger = logging.getLogger(__name__)

PART, TEMPORARY = ".part", ".tmp"
HEAD, MAGIC = struct.Struct("<4sII"), b"MOCP"
#: Bytes of rows that wait for their row group, at most.
GROUP = 128 * 2**20


class Spool:
    """Batches on their way into the Parquet file *name*."""

    def __init__(self, options: ParquetOptions, name: str) -> None:
        self._options = options
        self._file = AppendedFile(options.folder / spool_name(name))
        sync_folder(options.folder)

    @property
    def path(self) -> Path:
        return self._file.path

    @property
    def size(self) -> int:
        return self._file.size

    def is_there(self) -> bool:
        """Whether nobody has moved or deleted it."""
        return self._file.is_at(self._file.path)

    def add(self, batch: Any) -> None:
        """Synced to the disk, or the spool is as it was.

        Raises:
            OSError: it could not be written.
        """
        self._file.append(framed(batch))

    def finish(self) -> Path | None:
        """Make the Parquet file; ``None``: nothing is in it.

        Raises:
            OSError: it could not be written. The spool is kept, and whoever opens the folder next
                finishes it.
        """
        try:
            return _finish(self._file, self._options)
        finally:
            self._file.close()

    def close(self) -> None:
        self._file.close()


def spool_name(name: str) -> str:
    """Of the spool that becomes *name*."""
    return f"_{name}{PART}"


def finish_left_spools(options: ParquetOptions) -> None:
    """Those whose workers are dead."""
    if not can_be_held():
        return
    for path in sorted(options.folder.glob(f"_*.parquet{PART}")):
        try:
            file = AppendedFile(path, create=False)
        except (BlockingIOError, FileNotFoundError):
            continue  # its worker lives, or somebody else finished it
        except OSError as error:
            logger.warning("%s was left by a worker that died, and can't be finished: %s", path, error)
            continue
        try:
            made = _finish(file, options)
        except Exception as error:
            logger.warning("%s was left by a worker that died, and can't be finished: %s", path, error)
        else:
            if made is not None:
                logger.info("%s: finished for a worker that died", made)
        finally:
            file.close()


def framed(batch: Any) -> bytes:
    """A record batch as one frame."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return HEAD.pack(MAGIC, len(data), zlib.crc32(data)) + data


def frames(file: AppendedFile) -> Iterator[Any]:
    """Record batches up to the first that a crash cut off: of a page that was not acknowledged."""
    import pyarrow as pa

    at = 0
    while at < file.size:
        head = _exactly(file, at, HEAD.size)
        magic, length, checksum = HEAD.unpack(head) if len(head) == HEAD.size else (b"", 0, 0)
        data = _exactly(file, at + HEAD.size, length) if magic == MAGIC else b""
        if magic != MAGIC or len(data) < length or zlib.crc32(data) != checksum:
            logger.info("%s: %d bytes at its end are of a batch that was cut off", file.path, file.size - at)
            return
        at += HEAD.size + length
        with pa.ipc.open_stream(data) as reader:
            yield from reader


def _exactly(file: AppendedFile, at: int, count: int) -> bytes:
    """As many bytes as there are."""
    found = b""
    while len(found) < count and (more := file.read(at + len(found), count - len(found))):
        found += more
    return found


def _finish(file: AppendedFile, options: ParquetOptions) -> Path | None:
    final = file.path.with_name(file.path.name.removeprefix("_").removesuffix(PART))
    schema = _schema(file)
    if schema is not None:
        temporary = file.path.with_suffix(TEMPORARY)
        try:
            _write(file, schema, temporary, options)
            with temporary.open("r+b") as whole:
                os.fsync(whole.fileno())
            temporary.replace(final)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(final.parent)
    file.delete()
    return final if schema is not None else None


def _schema(file: AppendedFile) -> Any:
    """Of all batches together; ``None``: there are none."""
    import pyarrow as pa

    fields: dict[str, Any] = {}
    found = False
    for batch in frames(file):
        found = True
        fields.update((each.name, each) for each in batch.schema if not pa.types.is_null(each.type))
    return pa.schema(fields.values() or [pa.field("_", pa.null())]) if found else None


def _write(file: AppendedFile, schema: Any, path: Path, options: ParquetOptions) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = options.row_group
    with pq.ParquetWriter(path, schema, compression=options.compression) as writer:
        group: list[Any] = []
        rows = size = 0
        for batch in frames(file):
            group.append(_widened(batch, schema))
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= whole or size >= GROUP:
                table = pa.Table.from_batches(group)
                now = rows if size >= GROUP else rows - rows % whole
                writer.write_table(table.slice(0, now), row_group_size=whole)
                group, rows, size = table.slice(now).to_batches(), rows - now, 0
        if rows:
            writer.write_table(pa.Table.from_batches(group), row_group_size=whole)


def _widened(batch: Any, schema: Any) -> Any:
    """*batch* with nulls in the columns that came later."""
    import pyarrow as pa

    there = set(batch.schema.names)
    columns = [
        batch.column(each.name) if each.name in there else pa.nulls(batch.num_rows, each.type) for each in schema
    ]
    return pa.record_batch(columns, schema=schema)
