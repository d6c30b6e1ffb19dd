"""A crawl that can't start: told once, in one line, and nothing is closed that was not opened."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from scrapy import Spider
from scrapy.settings import Settings
from scrapy.utils.test import get_crawler
from twisted.internet.defer import Deferred, fail
from twisted.logger import (
    FileLogObserver,
    eventAsText,
    globalLogBeginner,
    globalLogPublisher,
)
from twisted.python.log import PythonLoggingObserver

from mocra_scrapy.engine.refusal import told_in_one_line
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError


def refused() -> ConfigurationError:
    return ConfigurationError("MOCRA_LEASE", "'x' is not a time in seconds", "Set a number")


class Engine:
    spider: Any = "a spider"


def test_it_is_told_once_however_often_it_passes(caplog: pytest.LogCaptureFixture) -> None:
    crawler = get_crawler(Spider)
    crawler.spider = Spider(name="s")
    engine = Engine()
    crawler.engine = engine  # type: ignore[assignment]
    with pytest.raises(ConfigurationError), told_in_one_line(crawler), told_in_one_line(crawler):
        raise refused()
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert record.getMessage() == "MOCRA_LEASE: 'x' is not a time in seconds. Set a number"
    assert record.levelno == logging.CRITICAL
    assert not record.exc_info
    assert crawler.spider is None, "Scrapy says by it whether a crawl took place"
    assert engine.spider is None, "Scrapy closes what this names"


def test_other_errors_pass_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    crawler = get_crawler(Spider)
    crawler.spider = spider = Spider(name="s")
    with pytest.raises(ValueError, match="a bug"), told_in_one_line(crawler):
        raise ValueError("a bug")
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert crawler.spider is spider


async def test_a_task_nobody_looked_at_keeps_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio's last words, in each of the three cases: told, not told, not ours."""
    crawler = get_crawler(Spider)

    async def ends(error: Exception, told: bool) -> None:
        if told:
            with told_in_one_line(crawler):
                raise error
        raise error

    for error, told in (
        (refused(), True),
        (BackendUnavailable("redis://h: away"), False),
        (ValueError("a bug"), False),
    ):
        caplog.clear()
        task = asyncio.ensure_future(ends(error, told))
        await asyncio.wait({task})
        del task
        gc.collect()
        said = [(r.levelname, r.getMessage(), bool(r.exc_info)) for r in caplog.records if r.name == "asyncio"]
        if told:
            assert said == []
        elif isinstance(error, ValueError):
            assert [(level, shown) for level, _, shown in said] == [("ERROR", True)]
        else:
            assert said == [("CRITICAL", "redis://h: away", False)]


@pytest.fixture
def stderr() -> Iterator[io.StringIO]:
    """What Twisted writes to stderr as long as nobody began its logging: as in a process of its own."""
    written, kept = io.StringIO(), globalLogBeginner._temporaryObserver
    if kept is not None:
        globalLogPublisher.removeObserver(kept)
    ours = FileLogObserver(written, lambda event: eventAsText(event, includeTimestamp=False, includeSystem=False))
    globalLogBeginner._temporaryObserver = ours
    globalLogPublisher.addObserver(ours)
    yield written
    now = globalLogBeginner._temporaryObserver
    assert now is not None
    globalLogPublisher.removeObserver(now)
    globalLogBeginner._temporaryObserver = kept
    if kept is not None:
        globalLogPublisher.addObserver(kept)


def test_a_deferred_nobody_looked_at_keeps_quiet(caplog: pytest.LogCaptureFixture, stderr: io.StringIO) -> None:
    crawler = get_crawler(Spider)
    observer = PythonLoggingObserver("twisted")
    observer.start()  # as Scrapy does
    try:
        for _ in range(2):
            error = refused()
            with pytest.raises(ConfigurationError), told_in_one_line(crawler):
                raise error
            dropped: Deferred[None] = fail(error)
            del dropped
            gc.collect()
        assert not [r for r in caplog.records if r.name == "twisted"]
        assert stderr.getvalue() == ""
        dropped = fail(ValueError("a bug"))
        del dropped
        gc.collect()
        assert "Unhandled error in Deferred:" in caplog.text
        assert caplog.text.index("Unhandled error") < caplog.text.index("a bug")
        assert stderr.getvalue().index("Unhandled error in Deferred:") < stderr.getvalue().index("a bug")
    finally:
        observer.stop()


def test_the_name_of_twisted_that_is_used() -> None:
    """``_temporaryObserver``: what writes to stderr until somebody begins logging, and is removed then."""
    assert hasattr(globalLogBeginner, "_temporaryObserver")


def test_a_wrong_setting_is_told_by_the_addon(caplog: pytest.LogCaptureFixture) -> None:
    from scrapy.crawler import Crawler

    from mocra_scrapy import Addon

    settings = Settings({"MOCRA_LEASE": "-1"})
    crawler = Crawler(Spider, settings)
    with pytest.raises(ConfigurationError):
        Addon(crawler).update_settings(settings)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.CRITICAL] == [
        "MOCRA_LEASE: '-1' is not a time in seconds. Set a number from 1 to 86400"
    ]
