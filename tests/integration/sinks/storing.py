"""Items for sinks, and sinks by their settings."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from scrapy.settings import Settings

from mocra_scrapy.pipelines.batch import BatchPipeline, Place
from mocra_scrapy.pipelines.batcher import Batcher
from mocra_scrapy.pipelines.items import stored_item
from mocra_scrapy.pipelines.sink import Sink, StoredItem
from mocra_scrapy.settings.pipelines import BatchOptions

PLACE = Place("books", "shop:books", "w1", "_mocra")
#: Of the page of an item.
ORIGIN = {"page": "ab", "item": 1, "delivery": 1}


def sink_of(pipeline: type[BatchPipeline], **settings: Any) -> Any:
    """Not open."""
    return pipeline.make_sink(Settings({f"MOCRA_{name}": value for name, value in settings.items()}), PLACE)


@asynccontextmanager
async def opened(pipeline: type[BatchPipeline], **settings: Any) -> AsyncIterator[Any]:
    sink = sink_of(pipeline, **settings)
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


def stored(fields: dict[str, Any], **origin: Any) -> StoredItem:
    return stored_item(fields, {**ORIGIN, **origin})


def books(count: int, **more: Any) -> list[StoredItem]:
    return [stored({"id": number, "title": f"book {number}", **more}, item=number + 1) for number in range(count)]


def ids(texts: Sequence[bytes]) -> list[int]:
    return [json.loads(text)["id"] for text in texts]


class Told:
    """What a batcher tells: counts, and the reasons of refusals."""

    def __init__(self) -> None:
        self.written = self.repeated = self.kept = 0
        self.reasons: dict[bytes, str] = {}
        self.outages: list[str] = []

    def stored(self, items: int, size: int) -> None:
        self.written += items

    def refused(self, item: StoredItem, reason: str) -> None:
        self.reasons[item.text] = reason

    def retried(self) -> None:
        self.repeated += 1

    def away(self, error: Exception) -> None:
        self.outages.append(str(error))

    def back(self, seconds: float) -> None:
        pass

    def spilled(self, items: int) -> None:
        self.kept += items


def batcher(sink: Sink, told: Told, **options: Any) -> Batcher:
    quick: dict[str, Any] = {"wait": 0.0, "retry_base": 0.05, "retry_cap": 0.2, **options}
    return Batcher(sink, BatchOptions(**quick), told, closing=lambda: False, spill=None)
