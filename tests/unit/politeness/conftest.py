"""Workers that share robots.txt files; no process, no site."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest
from scrapy import Spider
from scrapy.utils.test import get_crawler

from mocra_scrapy import Mocra
from mocra_scrapy.politeness import robots
from mocra_scrapy.politeness.robots import (
    Answer,
    Fetch,
    SharedRobots,
)


class BookSpider(Spider):
    name = "books"


class Stage:
    """Workers on one store, and a wall clock that is moved.

    Attributes:
        asked: how often the site was asked for the file.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url, self.now, self.asked = f"memory://{secrets.token_hex(8)}", 1_000_000.0, 0
        self._kept: list[Any] = []
        monkeypatch.setattr(robots.time, "time", lambda: self.now)

    def mocra(self, **settings: Any) -> Mocra:
        crawler = get_crawler(BookSpider, {"MOCRA_BACKEND": self.url, **settings}, prevent_warnings=False)
        self._kept.append(crawler)  # the store ends with the last who knows it
        return Mocra.from_crawler(crawler)

    def worker(self, **settings: Any) -> SharedRobots:
        return SharedRobots(self.mocra(**settings))

    def gives(self, status: int = 200, body: bytes = b"", wait: bytes | None = None) -> Fetch:
        async def fetch() -> Answer:
            self.asked += 1
            await asyncio.sleep(0)
            return Answer(status, body, wait)

        return fetch

    def raises(self, error: Exception) -> Fetch:
        async def fetch() -> Answer:
            self.asked += 1
            raise error

        return fetch


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)
