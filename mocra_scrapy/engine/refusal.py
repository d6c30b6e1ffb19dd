"""How a crawl that can't start ends: with one line that says why, and an exit code other than 0.

Left to itself Scrapy closes what was never opened, each step of it with a traceback, and its
process prints the error once more, as one that nobody looked at. On Scrapy 2.14 the exit code is 0
all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from twisted.logger import FilteringLogObserver, PredicateResult, globalLogBeginner, globalLogPublisher

from mocra_scrapy.exceptions import MocraError

if TYPE_CHECKING:
    from constantly import NamedConstant
    from scrapy.crawler import Crawler
    from twisted.logger import LogEvent

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


def _silence(error: MocraError) -> None:
    if not hasattr(error, TOLD):
        setattr(error, TOLD, True)
        for words in (_TO_LOGGING, _TO_STDERR):
            words.headers += 1
    for name in ("asyncio", "twisted"):  # who tell of an error that nobody looked at
        logging.getLogger(name).addFilter(_TO_LOGGING)  # at most once
    # Beside Python's logging Twisted writes to stderr until somebody begins its own.
    observer = globalLogBeginner._temporaryObserver
    if observer is not None and not isinstance(observer, FilteringLogObserver):
        globalLogPublisher.removeObserver(observer)
        globalLogBeginner._temporaryObserver = FilteringLogObserver(observer, [_TO_STDERR])
        globalLogPublisher.addObserver(globalLogBeginner._temporaryObserver)


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


class _LastWords:
    """What asyncio says of a task's error that nobody looked at, and Twisted of a Deferred's. What was
    told already is kept back.

    Attributes:
        headers: of Twisted's, which come in a message of their own, that are still to be kept back.
    """

    def __init__(self) -> None:
        self.headers = 0

    def is_told(self, error: object, words: Callable[[], str]) -> bool:
        if isinstance(error, MocraError):
            return hasattr(error, TOLD)
        if self.headers and words() == HEADER:
            self.headers -= 1
            return True
        return False


class _ToLogging(_LastWords, logging.Filter):
    """An error of ours that was not told (one in a component that Scrapy makes for itself) becomes
    one line.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if self.is_told(error, record.getMessage):
            return False
        if isinstance(error, MocraError):
            record.msg, record.args, record.exc_info = str(error), (), None
            record.levelno, record.levelname = logging.CRITICAL, "CRITICAL"
        return True


class _ToStderr(_LastWords):
    def __call__(self, event: LogEvent) -> NamedConstant:
        error = getattr(event.get("log_failure"), "value", None)
        told = self.is_told(error, lambda: str(event.get("log_format")))
        return PredicateResult.no if told else PredicateResult.maybe


_TO_LOGGING, _TO_STDERR = _ToLogging(), _ToStderr()
