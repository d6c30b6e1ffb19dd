"""Frees the engine of requests whose callback does not return, so that the crawl can go on and end.

Nothing is cancelled: a callback that is stopped in the middle of an asynchronous generator, or of a
pipeline's transaction, does more harm than one that waits. It goes on waiting, and nobody waits for
it.

How: the engine waits for the Deferred of ``scraper.enqueue_scrape`` (a public name), which waits for
one that the scraper fires when callback, middlewares and pipelines are done. Cancelling the first
one ends the second, which is nobody's task: the scraper's slot is freed by its own code, the engine
lets go of the request by its own, and what the scraper would fire later is dropped by Twisted.

The private names here are those of a stop: ``slot.inprogress`` and ``slot.remove_request`` of the
engine, ``slot.is_idle`` and ``_check_if_closing`` of the scraper; and of asyncio's tasks
``_log_destroy_pending``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scrapy.core import scraper as scrapys
from scrapy.http import Response

from mocra_scrapy.engine.whereabouts import tasks_of, waiting_at

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.engine.callback_output import Output
    from mocra_scrapy.engine.hooks import EngineHooks

#: The logger and the beginning of what the scraper says of a Deferred that was cancelled.
LOGGER, BUG = "scrapy.core.scraper", "Scraper bug processing"


class LetGo:
    """Of one engine.

    Args:
        output: processes what callbacks give; ``None``: somebody else does, and what comes late is
            not dropped.
    """

    def __init__(self, engine: EngineHooks, output: Output | None) -> None:
        self._engine: Any = engine._engine
        self._slot: Any = engine._slot
        self._scraper: Any = getattr(self._engine, "scraper", None)
        self._output = output
        self._removed: set[Request] = set()

    def on_scraped(self, scraped: Callable[[Request, Any, Any], None]) -> None:
        """Call *scraped* with each request whose callback or errback is about to be called, what it
        is called with, and the Deferred to give to :meth:`let_go`.
        """
        if self._scraper is None or self._slot is None:
            return
        enqueue = self._scraper.enqueue_scrape

        def enqueue_scrape(result: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
            if self._removed and request in self._removed:
                return None  # a download that ends after all: somebody else fetches that page again
            deferred = enqueue(result, request, *args, **kwargs)
            scraped(request, result, deferred)
            return deferred

        self._scraper.enqueue_scrape = enqueue_scrape

    def let_go(self, request: Request, result: Any, deferred: Any) -> None:
        """The engine goes on as if the callback of *request* had returned now."""
        for task in (*tasks_of(request, result), *self._items(request)):
            # It may still wait when the process ends, and that has been told.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        if self._output is not None:
            self._output.let_go(request)
        log = logging.getLogger(LOGGER)
        log.addFilter(_is_no_bug)
        try:
            deferred.cancel()
        finally:
            log.removeFilter(_is_no_bug)

    def failed(self, request: Request, result: Any, error: Exception) -> None:
        """Tell of *error* as Scrapy does of one that leaves a callback: log, ``spider_error``,
        stats.
        """
        self._scraper.handle_spider_error(scrapys.Failure(error), request, result)  # type: ignore[attr-defined, no-untyped-call]

    def all_of_it(self) -> list[Request]:
        """The engine lets go of everything that it still waits for, because it is to close:
        downloads, requests of callbacks, items of ``start()``. Answers which requests it did not
        come to know the end of.
        """
        slot, scraper = self._slot, self._scraper
        if slot is None:
            return []
        requests = list(slot.inprogress)
        if requests:
            remove = slot.remove_request

            def remove_request(request: Request) -> None:
                if request in self._removed:
                    self._removed.remove(request)  # its end, after all
                else:
                    remove(request)

            slot.remove_request = remove_request
            for request in requests:
                remove(request)
                self._removed.add(request)
        if scraper is not None and scraper.slot is not None:
            scraping = scraper.slot
            # Items of start() are in no response's hands, and nobody looks again when they are done.
            scraping.is_idle = lambda: not (scraping.queue or scraping.active)
            if scraping.closing is not None and not scraping.closing.called:
                scraper._check_if_closing()
        return requests

    def where(self, request: Request, result: Any) -> list[str]:
        """Where the callback of *request*, called with *result*, waits, as lines of a traceback; of
        its items: one.
        """
        return waiting_at(request, result, self._items(request))

    def _items(self, request: Request) -> list[asyncio.Task[Any]]:
        return [] if self._output is None else self._output.waiting(request)


def callback_name(request: Request, result: Any, spider: Any) -> str:
    """Of what is called with *result*, for a person."""
    if isinstance(result, Response):
        asked = getattr(result, "request", None) or request
        called: Any = asked.callback or getattr(spider, "parse", None)
    else:
        called = request.errback
    return str(getattr(called, "__qualname__", None) or getattr(called, "__name__", None) or called)


def _is_no_bug(record: logging.LogRecord) -> bool:
    """It is no bug of the scraper that a callback takes too long."""
    return not str(record.msg).startswith(BUG)
