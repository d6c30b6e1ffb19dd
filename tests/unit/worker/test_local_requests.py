"""Requests that can't be stored are counted by reason, and each reason is told once."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request
from scrapy.settings import Settings
from scrapy.statscollectors import MemoryStatsCollector

from mocra_scrapy.exceptions import UnserializableRequest
from mocra_scrapy.worker.inbox import Local
from mocra_scrapy.worker.local_requests import PARTS, LocalRequests


def test_reasons_are_told_once_and_counted_within_bounds(caplog: pytest.LogCaptureFixture) -> None:
    crawler: Any = SimpleNamespace(settings=Settings({"STATS_DUMP": False}), spider=None)
    stats = crawler.stats = MemoryStatsCollector(crawler)
    kept: list[Local] = []
    inbox: Any = SimpleNamespace(add_local=kept.append)
    deliveries: Any = SimpleNamespace(adopt=lambda parent: parent)
    local = LocalRequests(crawler, inbox, deliveries, lambda: None, required=False)
    with caplog.at_level(logging.WARNING):
        for n in range(2 * PARTS):
            for _ in range(2):
                error = UnserializableRequest(f"reason {n}", f"meta/{n}")
                local.add(Local(Request("http://s.test/"), "s", None), error, 0)
    assert len(kept) == 4 * PARTS == stats.get_value("mocra/scheduler/unserializable")
    assert stats.get_value("mocra/scheduler/unserializable/meta/0") == 2
    assert stats.get_value("mocra/scheduler/unserializable/other") == 2 * PARTS
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == PARTS + 1
    assert "reason 0 - it stays with this worker" in told[0]
