"""What the engine hears when it asks whether the spider may close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scrapy import signals
from scrapy.exceptions import CloseSpider, DontCloseSpider

MINDS = (DontCloseSpider, CloseSpider)


class EngineSignals:
    """The crawler's signals as its engine sends them: with :meth:`decide` after all handlers of
    ``spider_idle``.

    Of the engine alone: the signals that downloader, scraper and extensions send for each page go
    past it.
    """

    def __init__(self, manager: Any, decide: Callable[[bool], None]) -> None:
        self._manager = manager
        self._ours = object()
        manager.connect(decide, self._ours)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def send_catch_log(self, signal: Any = None, *args: Any, **kwargs: Any) -> list[tuple[Any, Any]]:
        results: list[tuple[Any, Any]] = self._manager.send_catch_log(signal, *args, **kwargs)
        if signal is not signals.spider_idle:
            return results
        said = [getattr(result, "value", None) for _, result in results]
        held = any(isinstance(error, MINDS) for error in said)
        return [*results, *self._manager.send_catch_log(self._ours, held=held, dont_log=MINDS)]
