"""The spill file: what could not be written because its sink was away when a worker had to close.

A file for each worker and pipeline, in ``MOCRA_SPILL_DIR``: a line of JSON that says of what it is,
and one for each item. Items are in it when they are synced to the disk, and only then is their page
done; a line that a crash cut off is of a page that is not. Its writer holds a lock on it, so that
nobody replays what is still written; locks end with their process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from mocra_scrapy.exceptions import SinkUnavailable
from mocra_scrapy.pipelines.appending import AppendedFile, sync_folder
from mocra_scrapy.pipelines.items import as_json
from mocra_scrapy.pipelines.sink import StoredItem

SUFFIX, VERSION = ".spill.jsonl", 1
#: Of a file.
BEGINNING = b'{"mocra_spill": '


@dataclass(frozen=True, slots=True)
class SpillHead:
    """The first line of a file.

    Attributes:
        pipeline: its kind, as ``postgres``.
        spider, crawl, worker: whose items.
        sink: where they were to go, for people.
        path: import path of the pipeline's class; two classes of one kind may have different sinks.
    """

    pipeline: str
    spider: str
    crawl: str
    worker: str
    sink: str
    path: str


class Spill:
    """Of one worker and pipeline. Blocks: call it from a thread.

    Args:
        most: bytes of all files in *folder*, at most.
    """

    def __init__(self, folder: Path, head: SpillHead, most: int) -> None:
        names = f"{head.pipeline}-{head.crawl}-{head.worker}"
        safe = "".join(c if c.isalnum() or c in ".-" else "-" for c in names)
        # Classes of one kind have a file each, and so have names that are the same only when made safe.
        digest = blake2b(f"{names}-{head.path}".encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
        self.path = folder / f"{safe}-{digest}{SUFFIX}"
        self._head, self._most = head, most
        self._file: AppendedFile | None = None

    def add(self, items: Sequence[StoredItem]) -> None:
        """Keep *items*, synced to the disk; all or none.

        Raises:
            SinkUnavailable: the folder is full.
            OSError: it can't be written.
        """
        lines = b"".join(line_of(item) for item in items)
        if sum(path.stat().st_size for path in spill_files(self.path.parent)) + len(lines) > self._most:
            raise SinkUnavailable(f"{self.path.parent} is full (MOCRA_SPILL_MAX_BYTES = {self._most})")
        if self._file is None:
            self._file = AppendedFile(self.path)
            sync_folder(self.path.parent)
        if not self._file.size:
            lines = json.dumps({"mocra_spill": VERSION, **asdict(self._head)}).encode() + b"\n" + lines
        self._file.append(lines)

    def close(self) -> None:
        """Leaves no file without items. May be called twice."""
        if self._file is not None:
            if not self._file.size:  # the disk was full from the first one on
                self._file.delete()
            self._file.close()


def path_of(cls: type) -> str:
    """The import path of a class, wherever else it can be imported from."""
    return f"{cls.__module__}.{cls.__qualname__}"


def line_of(item: StoredItem) -> bytes:
    return b'{"origin":%b,"item":%b}\n' % (as_json(item.origin), item.text)


def spill_files(folder: Path) -> list[Path]:
    """Those in *folder*, by name; none where there is no such folder."""
    return sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []


def read_head(file: IO[bytes]) -> SpillHead | None:
    """The first line; ``None``: it is none of ours, or was cut off."""
    line = file.readline()
    found = _parsed(line)
    if found is None or found.pop("mocra_spill", None) != VERSION:
        return None
    try:
        return SpillHead(**found)
    except TypeError:
        return None


def is_empty(file: IO[bytes]) -> bool:
    """Whether nothing whole is in this file of ours: its worker was killed while it wrote the first items, whose
    pages are fetched again.
    """
    line = file.readline()
    return not line.endswith(b"\n") and BEGINNING.startswith(line[: len(BEGINNING)])


def read_item(line: bytes) -> StoredItem | None:
    """A line after the first; ``None``: it is none of ours, or was cut off."""
    found = _parsed(line)
    if found is None or not isinstance(found.get("item"), dict) or not isinstance(found.get("origin"), dict):
        return None
    return StoredItem(found["item"], as_json(found["item"]), found["origin"])


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return dict(found) if isinstance(found, Mapping) else None
