"""How a crawl that can't start ends: with one line that says why, and an exit code other than 0.

Left to itself Scrapy closes what was never opened, each step of it with a traceback, and its
process prints the error once more, as one that nobody looked at. On Scrapy 2.14 the exit code is 0
all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scrapy.utils.defer import ensure_awaitable
from twisted.logger import globalLogBeginner, globalLogPublisher

from mocra_scrapy.exceptions import MocraError

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from twisted.logger import ILogObserver, LogEvent

logger = logging.getLogger(__name__)

#: What an error carries that was told already.
TOLD = "_mocra_told"
#: Twisted says this before an error that nobody looked at, in a message of its own.
HEADER = "Unhandled error in Deferred:"


@contextmanager
def told_in_one_line(crawler: Crawler) -> Iterator[None]:
    """Run a part of *crawler*'s start. A :class:`~mocra_scrapy.exceptions.MocraError` leaves it as
    it is, and is told in one line of the log, once, however many parts of the start it passes;
    nothing of the crawler is closed that was not opened.

    Guarantees for such an error: ``scrapy crawl`` and ``scrapy runspider`` end with exit code 1;
    no component hears of ``spider_opened`` or ``spider_closed``. Who awaits ``crawler.crawl()`` in
    a program of their own gets the error.
    """
    try:
        yield
    except MocraError as error:
        if not hasattr(error, TOLD):
            logger.critical("%s", error)
        _silence(error)
        _leave(crawler)
        raise


async def failed_to_open(crawler: Crawler, error: MocraError) -> None:
    """The same for an *error* of a component that is opened when the scheduler is open already, which
    is closed first: left alone, what it leased would be away until the lease ends.
    """
    if not hasattr(error, TOLD):
        logger.critical("%s", error)
    _silence(error)
    try:
        engine: Any = getattr(crawler, "engine", None)
        scheduler = engine._slot.scheduler
    except (AttributeError, RuntimeError):  # nobody crawls
        scheduler = None
    try:
        if hasattr(scheduler, "close"):
            await ensure_awaitable(scheduler.close("shutdown"))
    except Exception:
        logger.exception("The scheduler did not close properly")
    _leave(crawler)


def _silence(error: MocraError) -> None:
    setattr(error, TOLD, True)
    for name in ("asyncio", "twisted"):  # who tell of an error that nobody looked at
        logging.getLogger(name).addFilter(_LAST_WORDS)  # at most once
    # Beside Python's logging Twisted writes to stderr until somebody begins its own.
    observer = globalLogBeginner._temporaryObserver
    if observer is not None and not isinstance(observer, _StderrObserver):
        globalLogPublisher.removeObserver(observer)
        filtered: Any = _StderrObserver(observer)
        globalLogBeginner._temporaryObserver = filtered
        globalLogPublisher.addObserver(filtered)


def _leave(crawler: Crawler) -> None:
    """Let Scrapy find no spider: its engine then closes the downloader and nothing else, and the
    command ends with exit code 1, on all versions.
    """
    try:
        engine: Any = getattr(crawler, "engine", None)
    except RuntimeError:  # Scrapy 2.18 and later: "not set yet"
        engine = None
    if engine is not None:
        engine.spider = None
    crawler.spider = None


class _LastWords(logging.Filter):
    """Keeps back what asyncio says of a task's error that nobody looked at, and Twisted of a
    Deferred's, where that was told. An error of ours that was not (one in a component that Scrapy
    makes for itself) becomes one line.
    """

    header: logging.LogRecord | None = None  # of Twisted's, until it is known what it is about

    def filter(self, record: logging.LogRecord) -> bool:
        if record is self.header:
            return True
        if record.msg == HEADER or record.getMessage() == HEADER:
            self.header = record
            return False
        error = record.exc_info[1] if record.exc_info else None
        header = None if isinstance(error, MocraError) else self.header
        if header is not None:
            logging.getLogger(header.name).handle(header)
        self.header = None
        if isinstance(error, MocraError):
            record.msg, record.args, record.exc_info = str(error), (), None
            record.levelno, record.levelname = logging.CRITICAL, "CRITICAL"
        return not hasattr(error, TOLD)


class _StderrObserver:
    """The same for what Twisted writes by *observer*."""

    def __init__(self, observer: ILogObserver) -> None:
        self._observer = observer
        self._header: LogEvent | None = None

    def __call__(self, event: LogEvent) -> None:
        header, self._header = self._header, None
        if event.get("log_format") == HEADER:
            self._header = event
        elif not hasattr(getattr(event.get("log_failure"), "value", None), TOLD):
            if header is not None:
                self._observer(header)
            self._observer(event)


_LAST_WORDS = _LastWords()
