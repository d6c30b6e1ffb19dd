"""Which crawl a person means: its whole name, or the spider's within its project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import QueueOptions
from mocra_scrapy.settings.identity import settings_project

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

    from mocra_scrapy.interfaces import IBackend


async def crawl_named(backend: IBackend, settings: BaseSettings, text: str) -> str:
    """The crawl that is meant by *text*, which is its whole name (``shop:books``) or, in a project,
    the spider's (``books``). Where neither is there: the name that a crawl of that spider would have.

    Raises:
        ConfigurationError: both are there.
    """
    project = settings_project(settings)
    if project is None or text == settings.get("MOCRA_CRAWL"):
        return text
    own = f"{project}:{text}"
    there = [name for name in (own, text) if await is_there(backend, name)]
    if len(there) == 2:
        raise ConfigurationError(
            text,
            f"{backend.url} has a crawl {own!r} and a crawl {text!r}",
            f"Write {own}; for the other one -s MOCRA_CRAWL={text}",
        )
    return there[0] if there else text if ":" in text else own


async def is_there(backend: IBackend, crawl: str) -> bool:
    """Whether anything is stored of *crawl*'s queue."""
    queue = backend.request_queue(crawl, QueueOptions())
    try:
        size = await queue.size()
        return bool(size.unfinished or size.dead or (await queue.state()).run)
    finally:
        await queue.close()
