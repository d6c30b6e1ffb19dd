"""``Feeds``: the feeds of one worker, between the backend and Scrapy's exporter."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy.extensions import feedexport
from scrapy.utils.misc import load_object

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.feeds.beginning import Hold, RunMark, begin, empty
from mocra_scrapy.feeds.line_file import LineFile
from mocra_scrapy.feeds.plans import LINES, OTHER, PART, ROWS, STDOUT, FeedPlan
from mocra_scrapy.models.redaction import redact

if TYPE_CHECKING:
    from scrapy import Spider

    from mocra_scrapy.models import CrawlState
    from mocra_scrapy.runtime import Mocra

logger = logging.getLogger(__name__)

#: The reason with which a spider closes whose feed can't be written.
FAILED = "mocra_feed_failed"
#: In the options of a feed, what we know of it. Scrapy passes unknown options on to its storage.
KIND = "mocra_kind"
#: Stand for a worker's name and a batch's number while a pattern of file names is made.
ANY_WORKER, ANY_BATCH = "mocraworkername", 987654321987
#: Names of workers: see :func:`mocra_scrapy.settings.identity.worker_name`.
WORKER_NAME = r"[\w.-]+-\d+-[0-9a-f]{8}"


class UriParams:
    """``uri_params`` of a feed: the project's own, and ``mocra_worker``.

    The first file's are worked out once, as two ask for them: who empties it, before the spider is
    opened, and Scrapy.
    """

    def __init__(self, own: Any, worker: str) -> None:
        self._own: Callable[[dict[str, Any], Any], dict[str, Any] | None] | None = load_object(own) if own else None
        self._worker = worker
        self._first: dict[str, Any] | None = None

    def __call__(self, params: dict[str, Any], spider: Spider) -> dict[str, Any]:
        first = params.get("batch_id") == 1
        if first and self._first is not None:
            return self._first
        given = {**params, "mocra_worker": self._worker}
        found = given if self._own is None else (self._own(given, spider) or given)
        if "mocra_worker" not in found:
            found = {**found, "mocra_worker": self._worker}
        if first:
            self._first = found
        return found


def render(template: str, params: dict[str, Any]) -> str:
    """As Scrapy does it, by version."""
    apply = getattr(feedexport, "apply_uri_params", None)
    return str(template % params if apply is None else apply(template, params))


class Feeds:
    """Use ``mocra.component(Feeds)``.

    Attributes:
        crawl: its name.
        shared: whether several workers, or one after another, may write these feeds.
    """

    def __init__(self, mocra: Mocra) -> None:
        self._mocra = mocra
        self._feeds: list[tuple[FeedPlan, UriParams]] = []
        self._holds: list[Hold] = []
        self._files: list[LineFile] = []
        self._stdout = False
        self.crawl = mocra.crawl
        self.shared = mocra.backend.shared or mocra.backend.durable
        mocra.worker_state.when_rejoined(self._on_rejoined)

    # ------------------------------------------------------------------ what the exporter says

    def add(self, plan: FeedPlan, options: dict[str, Any]) -> None:
        """Take *plan* in, and put what is needed into the *options* of its feed."""
        params = UriParams(options.get("uri_params"), self._mocra.worker)
        options["uri_params"] = params
        if not self.shared:
            return
        self._feeds.append((plan, params))
        name = redact(plan.uri)
        if plan.kind in (LINES, ROWS):
            options[KIND] = plan.kind
        elif plan.kind == STDOUT:
            self._stdout = True
        elif plan.kind in (PART, OTHER):
            logger.warning(
                "Feed %s is written when this worker closes or a batch is full: if the worker is killed, the items in its"
                " open file are lost, though their pages are done. JSON Lines and CSV in files lose nothing",
                name,
            )
        if plan.is_divided:
            logger.info("Feed %s: each worker writes a file of its own, %s", name, redact(plan.template))

    def kind_of(self, options: dict[str, Any]) -> str | None:
        """``lines`` or ``rows`` of a feed whose *options* went through :meth:`add`; ``None``: it is
        Scrapy's.
        """
        return options.get(KIND)

    def opened(self, file: LineFile) -> None:
        """*file* is written from now on."""
        self._files = [known for known in self._files if not known.closed]
        self._files.append(file)

    def commit(self) -> None:
        """Write what was exported of one item.

        Raises:
            OSError: one of the files did not take it; the others did.
        """
        failed: OSError | None = None
        for file in self._files:
            try:
                if not file.closed:
                    file.commit()
            except OSError as error:
                error.filename = error.filename or file.name
                failed = error
        if self._stdout:
            sys.stdout.buffer.flush()
        if failed is not None:
            raise failed

    def give_up(self) -> None:
        """A feed can't be written: this worker closes, and what it held goes to others."""
        self._mocra.worker_state.close(FAILED)

    # ------------------------------------------------------------------ the backend's life

    async def open(self) -> None:
        """The run is known: see that each file can be written, and empty what is to be overwritten.

        Raises:
            ConfigurationError: it can't; the text says why.
        """
        spider, state = self._mocra.crawler.spider, self._mocra.joined
        if spider is None or state is None:
            return
        for plan, params in self._feeds:
            if plan.kind not in (LINES, ROWS):
                continue
            given = self._params(params, spider)
            path = Path(_path_of(render(plan.template, given)))
            try:
                _check(path)
                await self._begin(plan, given, path, state)
            except OSError as error:
                raise ConfigurationError(
                    f"FEEDS {plan.uri!r}",
                    f"{error.filename or path} can't be written: {error.strerror or error}",
                    "Make it writable for this user, or name another file",
                ) from error

    def _params(self, params: UriParams, spider: Spider) -> dict[str, Any]:
        now = datetime.now(tz=timezone.utc)
        given = {name: getattr(spider, name) for name in dir(spider)}
        given["time"] = now.replace(microsecond=0).isoformat().replace(":", "-")
        given["batch_time"] = now.isoformat().replace(":", "-")
        given["batch_id"] = 1
        return params(given, spider)

    async def _begin(self, plan: FeedPlan, given: dict[str, Any], path: Path, state: CrawlState) -> None:
        target = _target(plan, given, path)
        if target is None:
            return
        clear = None
        if plan.overwrite:
            clear = partial(self._clear_parts, plan, given, target) if plan.is_divided else partial(empty, target)
        keep = partial(_may_be_of, state, target)
        try:
            hold = await begin(target, self._mark(state), clear, keep=keep, patience=self._mocra.options.queue.lease)
        except OSError as error:
            if plan.overwrite:
                raise
            logger.info("Feed %s can't be marked as this run's: %s", target, error)
        else:
            self._holds.append(hold)

    def _clear_parts(self, plan: FeedPlan, given: dict[str, Any], target: Path) -> None:
        """Delete the files that workers of earlier runs left of a feed that is divided."""
        everybody = {**given, "mocra_worker": ANY_WORKER, "batch_id": ANY_BATCH}
        name = re.escape(Path(_path_of(render(plan.template, everybody))).name)
        if ANY_WORKER not in name:
            return
        pattern = re.compile(name.replace(ANY_WORKER, WORKER_NAME).replace(str(ANY_BATCH), r"\d+"))
        for file in target.parent.iterdir():
            if pattern.fullmatch(file.name):
                file.unlink(missing_ok=True)

    def _mark(self, state: CrawlState) -> RunMark:
        return RunMark(self._mocra.crawl, state.born, state.run)

    def _on_rejoined(self, state: CrawlState) -> None:
        """The crawl's record was lost: what is written is the new one's."""
        for hold in self._holds:
            hold.mark(self._mark(state))

    async def close(self) -> None:
        """All items are written: another run may empty the files."""
        holds, self._holds = self._holds, []
        for hold in holds:
            hold.release()


def _path_of(uri: str) -> str:
    return feedexport.FileFeedStorage(uri).path


def _target(plan: FeedPlan, given: dict[str, Any], path: Path) -> Path | None:
    """What is marked, and emptied if it is to be. ``None``: nothing, because it is no plain file,
    has a new name each time, or is each worker's own by the project's wish.
    """
    if plan.has_time or (plan.kind == ROWS and not plan.is_divided) or (path.exists() and not path.is_file()):
        return None
    return Path(os.path.realpath(_path_of(render(plan.uri, given)) if plan.is_divided else path))


def _check(path: Path) -> None:
    """Raises OSError: *path* can't be written. Makes its folder and not the file: a feed without
    items may want none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(0, "it is a folder", str(path))
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(0, "permission denied", str(path))


def _may_be_of(state: CrawlState, path: Path) -> bool:
    """Whether this run may have written *path*, which carries no mark."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return state.resumed and found.st_size > 0 and found.st_mtime >= state.born / 1e6
