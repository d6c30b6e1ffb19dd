"""A backend that refuses stops the worker, with a sentence; requests whose slot is no text are taken."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest
from scrapy import Request

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.worker import outages

from .scheduling import opened


async def test_a_backend_that_refuses_stops_the_worker(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "FIRST_PAUSE", 0.001)
    closed: list[str] = []

    async def refuse(*_: Any, **__: Any) -> Any:
        raise ConfigurationError("MOCRA_BACKEND", "redis://h lacks access rights", "Grant the user: &mocra:*")

    async with opened(MOCRA_STOP_TIMEOUT=30) as scheduler:
        worker = scheduler.worker
        assert worker is not None
        queue = worker.parts.session.queue
        monkeypatch.setattr(queue, "exchange", refuse)
        monkeypatch.setattr(queue, "close_worker", refuse)
        monkeypatch.setattr(worker.handler._engine, "close_spider", closed.append)
        assert scheduler.enqueue_request(Request("http://foo.test/a"))
        deadline = time.monotonic() + 60
        while not closed:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        began = time.monotonic()
    assert time.monotonic() - began < 25, "it waits for answers that won't come"
    assert closed == ["mocra_error"]
    (told,) = [r.getMessage() for r in caplog.records if r.levelno == logging.CRITICAL]
    assert "keeps refusing" in told
    assert "Grant the user: &mocra:*" in told
    assert worker.crawler.stats is not None
    assert worker.crawler.stats.get_value("mocra/worker/broken") == 1
    assert worker.crawler.stats.get_value("mocra/worker/left_unflushed") == 1


@pytest.mark.parametrize("slot", [("a", 1), 7, b"bytes", frozenset({"x"})])
async def test_a_slot_that_is_no_text_is_named_by_its_text(slot: Any) -> None:
    async with opened(MOCRA_REQUIRE_SERIALIZABLE=False) as scheduler:
        worker = scheduler.worker
        assert worker is not None
        assert worker.engine.slot_of(Request("http://foo.test/", meta={"download_slot": slot})) == str(slot)
        assert scheduler.enqueue_request(Request("http://foo.test/", meta={"download_slot": slot}))
        deadline = time.monotonic() + 60
        while (request := scheduler.next_request()) is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert request.url == "http://foo.test/"
