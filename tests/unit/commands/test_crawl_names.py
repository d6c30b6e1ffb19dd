"""Which crawl a person means."""

from __future__ import annotations

import pytest
from scrapy.settings import Settings

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.commands.verbs.crawl_names import crawl_named
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import QueueOptions


@pytest.mark.parametrize(
    ("there", "text", "meant"),
    [
        (["shop:books"], "books", "shop:books"),
        (["shop:books"], "shop:books", "shop:books"),
        (["shop:books", "other:books"], "other:books", "other:books"),
        (["books"], "books", "books"),
        ([], "books", "shop:books"),
        ([], "other:books", "other:books"),
    ],
)
async def test_a_crawl_is_found_by_its_name_or_its_spiders(there: list[str], text: str, meant: str) -> None:
    backend = MemoryBackend()
    for name in there:
        await backend.request_queue(name, QueueOptions()).join("w")
    assert await crawl_named(backend, Settings({"MOCRA_PROJECT": "shop"}), text) == meant


async def test_what_may_mean_two_is_refused() -> None:
    backend = MemoryBackend()
    for name in ("books", "shop:books"):
        await backend.request_queue(name, QueueOptions()).join("w")
    with pytest.raises(ConfigurationError, match="Write shop:books; for the other one -s MOCRA_CRAWL=books"):
        await crawl_named(backend, Settings({"MOCRA_PROJECT": "shop"}), "books")
    chosen = Settings({"MOCRA_PROJECT": "shop", "MOCRA_CRAWL": "books"})
    assert await crawl_named(backend, chosen, "books") == "books"
