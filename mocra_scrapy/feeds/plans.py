"""What kind of feed each one is, and whether several workers can write it. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from scrapy.exceptions import NotConfigured
from scrapy.extensions.feedexport import BlockingFeedStorage, FileFeedStorage, StdoutFeedStorage
from scrapy.utils.misc import load_object

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy.settings import BaseSettings

#: What a worker's own part of a URI is written as.
WORKER = "%(mocra_worker)s"
LINES, ROWS, PART, STDOUT, OTHER = "lines", "rows", "part", "stdout", "other"
#: Suffixes that stand behind that of the format.
COMPRESSED = (".gz", ".bz2", ".xz", ".lzma", ".zst")


@dataclass(frozen=True, slots=True)
class FeedPlan:
    """One feed.

    Attributes:
        uri: as the project wrote it.
        template: the URI that is used: with the worker's part where it had to be put in.
        kind: see :mod:`mocra_scrapy.feeds`.
        overwrite: whether a run empties what earlier ones left.
    """

    uri: str
    template: str
    kind: str
    overwrite: bool

    @property
    def has_time(self) -> bool:
        """Whether its name is new each time, so that there is nothing to empty."""
        return "%(time)" in self.template or "%(batch_time)" in self.template

    @property
    def is_divided(self) -> bool:
        """Whether the worker's part was put in by us."""
        return self.uri != self.template


def plan_feed(
    uri: str, options: Mapping[str, Any], storages: Mapping[str, Any], exporters: Mapping[str, Any]
) -> FeedPlan:
    """The plan for the feed *uri*.

    Args:
        options: of the feed, complete or not.
        storages, exporters: class by scheme and by format.

    Raises:
        ConfigurationError: workers would overwrite each other's file.
    """
    kind = _kind(uri, options, storages, exporters)
    template, batched = uri, bool(options.get("batch_item_count"))
    if WORKER[:-1] not in uri:
        if kind == PART:
            raise ConfigurationError(
                f"FEEDS {redact(uri)!r}",
                _why_not(uri, options),
                f"Write {redact(with_worker(uri))!r}, or use JSON Lines in a file",
            )
        if kind == ROWS or (kind == LINES and batched and "%(batch_time)" not in uri):
            template = with_worker(uri)
    return FeedPlan(uri, template, kind, bool(options.get("overwrite")))


def _kind(uri: str, options: Mapping[str, Any], storages: Mapping[str, Any], exporters: Mapping[str, Any]) -> str:
    scheme = "" if PureWindowsPath(uri).drive else urlparse(uri).scheme
    storage, exporter = storages.get(scheme), exporters.get(_format(uri, options))
    if not isinstance(storage, type) or exporter is None:
        return OTHER  # Scrapy says what is wrong with it
    if issubclass(storage, StdoutFeedStorage):
        return STDOUT
    if storage is FileFeedStorage:
        # Here, not above: they import pydantic, a third of what a worker without feeds takes to start.
        from scrapy.exporters import CsvItemExporter, JsonLinesItemExporter

        line = isinstance(exporter, type) and not options.get("postprocessing")
        if line and issubclass(exporter, JsonLinesItemExporter):
            return LINES
        if line and issubclass(exporter, CsvItemExporter):
            return ROWS
        return PART
    return PART if issubclass(storage, BlockingFeedStorage) else OTHER


def _format(uri: str, options: Mapping[str, Any]) -> str:
    return str(options.get("format") or Path(uri).suffix.removeprefix("."))


def _why_not(uri: str, options: Mapping[str, Any]) -> str:
    scheme = "" if PureWindowsPath(uri).drive else urlparse(uri).scheme
    if scheme not in ("", "file"):
        return f"each worker would store a {scheme} file of this name at its end, and only the last one would be left"
    if options.get("postprocessing"):
        return "several workers can't write one file that is post-processed"
    return f"several workers can't write one {_format(uri, options)} file"


def with_worker(uri: str) -> str:
    """*uri* with the worker's part before the suffixes of its last component."""
    start = max(uri.rfind("/"), uri.rfind("\\"), uri.rfind(")s"), uri.rfind(")d")) + 1
    match = re.search(rf"\.\w+(?:{'|'.join(map(re.escape, COMPRESSED))})?$", uri[start:])
    at = start + match.start() if match and (match.start() or start) else len(uri)
    if uri[at - 1 : at] in ("/", "\\", ""):  # ".csv": all of the name
        at = len(uri)
    return f"{uri[:at]}-{WORKER}{uri[at:]}"


def feeds_of(settings: BaseSettings) -> dict[str, dict[str, Any]]:
    """URI -> options, as the project wrote them."""
    found: dict[str, dict[str, Any]] = {}
    if settings.get("FEED_URI"):
        found[str(settings["FEED_URI"])] = {"format": settings.get("FEED_FORMAT")}
    for uri, options in settings.getdict("FEEDS").items():
        found[str(uri)] = {"batch_item_count": settings.getint("FEED_EXPORT_BATCH_ITEM_COUNT"), **(options or {})}
    return found


def check_feeds(settings: BaseSettings) -> None:
    """Raises ConfigurationError: a feed can't be written by several workers."""
    found = feeds_of(settings)
    if found:
        storages, exporters = _classes(settings, "FEED_STORAGES"), _classes(settings, "FEED_EXPORTERS")
        for uri, options in found.items():
            plan_feed(uri, options, storages, exporters)


def _classes(settings: BaseSettings, name: str) -> dict[str, Any]:
    found = {}
    for key, value in settings.getwithbase(name).items():
        if value is None:
            continue
        try:
            found[key] = load_object(value)
        except (ImportError, NameError, ValueError, NotConfigured):
            continue  # an optional one; Scrapy says so of one that is used
    return found
