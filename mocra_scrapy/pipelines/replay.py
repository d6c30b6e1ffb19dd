"""Storing what was spilled (``scrapy mocra spill replay``): a file goes when each of its items is stored.

Killed in the middle it begins again, so items may be stored twice, as after a crash of a worker. What
the sink refuses stays in the file, and so does a line that can't be read.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scrapy.utils.misc import load_object

from mocra_scrapy.exceptions import ConfigurationError, ItemRefused
from mocra_scrapy.pipelines.appending import AppendedFile, sync_folder
from mocra_scrapy.pipelines.batch import BatchPipeline, Place, open_sink
from mocra_scrapy.pipelines.patience import Patience
from mocra_scrapy.pipelines.sink import Sink, StoredItem
from mocra_scrapy.pipelines.spill import SUFFIX, VERSION, SpillHead, is_empty, line_of, path_of, read_head, read_item
from mocra_scrapy.settings.pipelines import BatchOptions, StoreOptions

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

#: Reasons that are kept of refused items.
SHOWN = 5


@dataclass
class Outcome:
    """What became of a file. *reasons*: the first ones of those that the sink refused."""

    stored: int = 0
    refused: int = 0
    unreadable: int = 0
    reasons: list[str] = field(default_factory=list)


def pipeline_of(settings: BaseSettings, head: SpillHead) -> type[BatchPipeline]:
    """The pipeline of the project that spilled what *head* says.

    Raises:
        ConfigurationError: it is not among them. Another one of the same kind may have another sink.
    """
    for path, order in settings.getdict("ITEM_PIPELINES").items():
        cls = load_object(path)
        if order is not None and isinstance(cls, type) and issubclass(cls, BatchPipeline) and path_of(cls) == head.path:
            return cls
    raise ConfigurationError(
        "ITEM_PIPELINES",
        f"none of its pipelines is {head.path}, which spilled these items",
        f"Name it, with -s ITEM_PIPELINES='{{\"{head.path}\": 300}}' if need be; if the class has another name now,"
        ' write that as "path" into the first line of the file',
    )


async def replay_file(path: Path, settings: BaseSettings, options: StoreOptions) -> Outcome:
    """Store what *path* holds, and delete it.

    Raises:
        BlockingIOError: a worker writes it, or somebody else replays it.
        ConfigurationError: no pipeline is for it, or its sink can't be written as things are.
        SinkUnavailable: the sink does not answer. The file is as it was.
        OSError: the file can't be read.
    """
    held = AppendedFile(path, create=False)
    try:
        with path.open("rb") as file:
            if is_empty(file):
                held.delete()
                return Outcome()
            file.seek(0)
            head = read_head(file)
        if head is None:
            raise ConfigurationError(
                "MOCRA_SPILL_DIR", f"{path} does not begin as a spill file", "Take it out of the folder"
            )
        place = Place(head.spider, head.crawl, head.worker, options.field)
        sink = pipeline_of(settings, head).make_sink(settings, place)
        await open_sink(sink, options.start_timeout)
        try:
            outcome, left = await _store(path, sink, options.batch)
        finally:
            with contextlib.suppress(Exception):
                await sink.close()
        _leave(path, head, left)
        return outcome
    finally:
        held.close()


async def _store(path: Path, sink: Sink, options: BatchOptions) -> tuple[Outcome, list[bytes]]:
    """What became of the items, and the lines that stay."""
    outcome, left = Outcome(), []
    patience = Patience(sink.name, 0.0, lambda: False)
    for batch in _batches(path, options):
        readable = []
        for line, item in batch:
            if item is not None:
                readable.append(item)
            elif line.endswith(b"\n"):  # one that was cut off is of a page that is fetched again
                outcome.unreadable += 1
                left.append(line)
        parts = [readable] if readable else []
        while parts:
            part = parts.pop()
            try:
                await patience.bounded(sink.write(part), options.timeout)
            except ItemRefused as error:
                which = error.which or ({0: error.reason} if len(part) == 1 else {})
                for at, reason in which.items():
                    outcome.refused += 1
                    outcome.reasons = [*outcome.reasons, reason][:SHOWN]
                    left.append(line_of(part[at]))
                rest = [item for at, item in enumerate(part) if at not in which]
                middle = len(rest) // 2
                parts += [half for half in ([rest] if which else [rest[middle:], rest[:middle]]) if half]
            else:
                outcome.stored += len(part)
    return outcome, left


def _batches(path: Path, options: BatchOptions) -> Iterator[Sequence[tuple[bytes, StoredItem | None]]]:
    batch: list[tuple[bytes, StoredItem | None]] = []
    size = 0
    with path.open("rb") as file:
        file.readline()
        for line in file:
            if batch and (len(batch) >= options.items or size + len(line) > options.size):
                yield batch
                batch, size = [], 0
            batch.append((line, read_item(line)))
            size += len(line)
    if batch:
        yield batch


def _leave(path: Path, head: SpillHead, lines: Sequence[bytes]) -> None:
    """Only *lines*, in one step; without any, nothing."""
    if not lines:
        path.unlink()
        return
    other = path.with_name(f".{path.name.removesuffix(SUFFIX)}.new")
    with other.open("wb") as file:
        file.write(json.dumps({"mocra_spill": VERSION, **asdict(head)}).encode() + b"\n" + b"".join(lines))
        file.flush()
        os.fsync(file.fileno())
    other.replace(path)
    sync_folder(path.parent)
