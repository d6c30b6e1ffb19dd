"""``SkippedRequests``: what this worker did not crawl, as the other workers and people see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mocra_scrapy.codec.secrets import Secrets
from mocra_scrapy.engine.hooks import EngineHooks, slot_of
from mocra_scrapy.engine.skipped_links import hear_of_skipped
from mocra_scrapy.models import skipped_namespace
from mocra_scrapy.politeness.not_crawled import NotCrawled, Table, merged, unpack

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.interfaces import IBackend
    from mocra_scrapy.models import CrawlState
    from mocra_scrapy.runtime import Mocra


class SkippedRequests(NotCrawled):
    """A component of the worker's :class:`~mocra_scrapy.runtime.Mocra`."""

    def __init__(self, mocra: Mocra) -> None:
        super().__init__(Secrets(mocra.options.secret_params).url)
        self._mocra = mocra
        mocra.worker_state.skipped = self.note

    async def open(self) -> None:
        """The engine has its middlewares: hear them."""
        hooks = EngineHooks(self._mocra.crawler)
        hear_of_skipped((*hooks.spider_middlewares, *hooks.downloader_middlewares), self._heard)

    def _heard(self, reason: str, request: Request) -> None:
        self.note(reason, slot_of(request), request.url)

    async def close(self) -> None:
        """Told by who tells what the worker did."""


class SkippedTables:
    """The tables of all workers of a crawl's last run, a value of the shared values each. They stay
    until the next run has its first.
    """

    def __init__(self, backend: IBackend, crawl: str) -> None:
        self._values = backend.shared_values(skipped_namespace(crawl))
        self._told: bytes | None = None
        self._tidied = ""

    @staticmethod
    def _of_run(born: float, run: int) -> str:
        return f"{born}-{run}:"

    async def tell(self, state: CrawlState, worker: str, table: NotCrawled) -> None:
        """Leave *worker*'s, unless it was left already; nothing where links were only seen before, so that
        most crawls leave nothing behind.

        Raises:
            BackendError: nobody took it.
        """
        packed, prefix = table.pack(), self._of_run(state.born, state.run)
        if not table.has_examples or (packed is self._told and prefix == self._tidied):
            return
        await self._values.put(prefix + worker, packed)
        if prefix != self._tidied:
            for name in await self._values.versions():
                if not name.startswith(prefix):
                    await self._values.put(name, None)
        self._told, self._tidied = packed, prefix

    async def all(self) -> Table:
        """Added up."""
        return merged(unpack(one.value) for one in (await self._values.everything("")).values())

    async def close(self) -> None:
        await self._values.close()
