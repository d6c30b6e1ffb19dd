"""Runs the callback of one request against a response that is there already: Scrapy's engine with the
spider middlewares of the project, without a queue, a network, pipelines and feeds.

What Scrapy takes from settings is put in place of its own: a scheduler that hands out that request
and notes all others, a downloader that answers with that response, an item processor that passes
items on. So callbacks, errbacks, ``cb_kwargs`` and asynchronous generators are called as in a crawl.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.core.scheduler import BaseScheduler
from scrapy.crawler import AsyncCrawlerProcess, CrawlerProcess
from scrapy.utils.defer import deferred_from_coro

from mocra_scrapy.exceptions import NotSupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.settings import Settings
    from typing_extensions import Self

ASYNCIO = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"
#: What nothing may come of, whatever project and spider say: files, ports, state that outlives this.
QUIET = {
    "MOCRA_ENABLED": False,
    "FEEDS": {},
    "JOBDIR": None,
    "TELNETCONSOLE_ENABLED": False,
    "REMOTE_CONTROL_ENABLED": False,
    "AUTOTHROTTLE_ENABLED": False,
}


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        items, requests: what the callback or errback yielded.
        failures: tracebacks of exceptions that left it, a spider middleware or a pipeline, or kept the spider
            from being opened.
        ignored: whether Scrapy's ``HttpErrorMiddleware`` ignored the response, because of its
            status, and no errback took that.
    """

    items: list[Any] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    ignored: bool = False


#: Makes the request and its response, given the spider.
Page = Callable[["Spider"], "tuple[Request, Response]"]


def run_offline(
    settings: Settings,
    spider_class: type[Spider],
    arguments: Mapping[str, Any],
    page: Page,
    *,
    pipelines: bool = False,
) -> Outcome:
    """Run it, in the event loop that a crawl of this project has. Once a process: an event loop that
    was stopped can't be started again.

    Args:
        arguments: as those of ``-a``.
        pipelines: whether items go through the project's pipelines.
    """
    outcome = Outcome()
    settings = settings.copy()
    settings.setdict(QUIET, "cmdline")
    parts: dict[str, Any] = {"SCHEDULER": _scheduler(page, outcome), "DOWNLOADER": _Downloader}
    if not pipelines:
        parts["ITEM_PROCESSOR"] = _Items
    settings.setdict(parts, "cmdline")
    in_asyncio = settings["TWISTED_REACTOR"] == ASYNCIO and not settings.getbool("FORCE_CRAWLER_PROCESS")
    runs_async = in_asyncio or not settings.getbool("TWISTED_REACTOR_ENABLED", True)
    process: Any = (AsyncCrawlerProcess if runs_async else CrawlerProcess)(settings)
    crawler = process.create_crawler(spider_class)
    _listen(crawler, outcome)
    running = process.crawl(crawler, **arguments)
    if runs_async:
        running.add_done_callback(lambda task: _note(task, outcome))
    else:
        running.addErrback(lambda failure: outcome.failures.append(failure.getTraceback()))
    process.start()
    outcome.ignored = bool(crawler.stats and crawler.stats.get_value("httperror/response_ignored_count"))
    return outcome


def _note(task: asyncio.Future[None], outcome: Outcome) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        outcome.failures.append("".join(traceback.format_exception(type(error), error, error.__traceback__)))


def _listen(crawler: Crawler, outcome: Outcome) -> None:
    """Note what comes out, and close the spider when nothing is left, though others would keep it."""

    def failed(failure: Any) -> None:
        outcome.failures.append(failure.getTraceback())

    def scraped(item: Any) -> None:
        outcome.items.append(item)

    def idle() -> None:
        assert crawler.engine is not None
        closing = deferred_from_coro(crawler.engine.close_spider_async(reason="finished"))
        closing.addErrback(lambda _: None)  # the engine was faster, as it is where nobody minds

    for receiver, signal in (
        (failed, signals.spider_error),
        (failed, signals.item_error),
        (scraped, signals.item_scraped),
        (idle, signals.spider_idle),
    ):
        crawler.signals.connect(receiver, signal, weak=False)


def _scheduler(page: Page, outcome: Outcome) -> type[BaseScheduler]:
    """Of one request. By a class, since that is what Scrapy asks for."""

    class Scheduler(BaseScheduler):
        def __init__(self, crawler: Crawler) -> None:
            self._crawler = crawler
            self._request: Request | None = None

        @classmethod
        def from_crawler(cls, crawler: Crawler) -> Self:
            return cls(crawler)

        def open(self, spider: Spider) -> None:
            request, response = page(spider)
            assert self._crawler.engine is not None
            downloader: Any = self._crawler.engine.downloader
            downloader.answer = request, response
            self._request = request

        def has_pending_requests(self) -> bool:
            return self._request is not None

        def enqueue_request(self, request: Request) -> bool:
            outcome.requests.append(request)
            return True

        def next_request(self) -> Request | None:
            request, self._request = self._request, None
            return request

    return Scheduler


class _Downloader:
    """Answers the one request, and nothing else."""

    def __init__(self, crawler: Crawler) -> None:
        self.active: set[Request] = set()
        self.slots: dict[str, Any] = {}
        self.middleware = SimpleNamespace(middlewares=())
        self.answer: tuple[Request, Response] | None = None
        assert crawler.spider is not None
        crawler.spider.start = _nothing  # type: ignore[method-assign]

    def fetch(self, request: Request) -> Any:
        return deferred_from_coro(self._answered(request))

    async def _answered(self, request: Request) -> Response:
        if self.answer is None or request is not self.answer[0]:
            raise NotSupported(
                "scrapy mocra dead parse",
                f"the callback itself asks for {request}, and nothing is downloaded here",
                "Replay the letter, and let a crawl run it",
            )
        return self.answer[1]

    def needs_backout(self) -> bool:
        return False

    def close(self) -> None:
        """There is nothing to close."""


class _Items:
    """Passes each item on as it is."""

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls()

    async def open_spider_async(self) -> None:
        """No pipeline is opened."""

    async def close_spider_async(self) -> None:
        """No pipeline is closed."""

    async def process_item_async(self, item: Any) -> Any:
        return item


async def _nothing() -> AsyncIterator[Any]:
    """A ``start()`` that yields nothing."""
    return
    yield
