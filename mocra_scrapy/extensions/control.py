"""``WorkerControl``: this worker obeys what :class:`mocra_scrapy.control.Control` tells it and its
crawl, and applies live settings.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.control import COMMAND, PAUSED, SETTING, of_worker
from mocra_scrapy.control.live_settings import LIVE_SETTINGS, checked
from mocra_scrapy.coordination.shared_values import Shared, SharedSpace
from mocra_scrapy.exceptions import BackendError
from mocra_scrapy.models import control_namespace
from mocra_scrapy.runtime import Mocra

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: Seconds between two looks for what was told while the message got lost, and between two looks
#: whether a draining worker is done.
REFRESH, LOOK = 5.0, 0.1


class WorkerControl:
    """Reads the control state before the first request is taken, and follows it."""

    def __init__(self, mocra: Mocra) -> None:
        self._mocra = mocra
        self._flow = mocra.worker_state
        self._space = SharedSpace(mocra.backend.shared_values(control_namespace(mocra.crawl)), refresh=REFRESH)
        names = (None, mocra.worker)
        self._paused: list[Shared[Any]] = [self._space.value(of_worker(PAUSED, name), None) for name in names]
        self._orders: list[Shared[Any]] = [self._space.value(of_worker(COMMAND, name), None) for name in names]
        #: Of the crawl and of this worker; the second wins.
        self._settings: dict[str, list[Shared[Any]]] = {
            name: [
                self._space.value(of_worker(SETTING + name, one), None, check=partial(self._check, name))
                for one in names
            ]
            for name in LIVE_SETTINGS
        }
        self._drained: asyncio.Task[None] | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return Mocra.from_crawler(crawler).extension(cls)

    @staticmethod
    def _check(name: str, value: Any) -> Any:
        return None if value is None else checked(name, value)

    async def open(self) -> None:
        """Raises BackendUnavailable: what was told can't be read; a worker that can't know whether
        it is paused must not begin.
        """
        for value in (*self._paused, *self._orders):
            await value.refresh()
        await self._space.open()
        # What was ordered before this worker came was meant for others.
        self._old = [order.version for order in self._orders]
        for value in self._paused:
            value.on_change(self._pause)
        for i, order in enumerate(self._orders):
            order.on_change(partial(self._order, i))
        for name, settings in self._settings.items():
            for setting in settings:
                setting.on_change(partial(self._apply, name))
        self._pause()
        self._flow.when_attached(self._apply_all)

    def _pause(self, *_: object) -> None:
        paused = any(value.value is not None for value in self._paused)
        if paused != self._flow.paused:
            logger.info("Worker %s %s", self._mocra.worker, "pauses" if paused else "resumes")
        self._flow.pause(paused)

    def _order(self, i: int, *_: object) -> None:
        order = self._orders[i]
        if not isinstance(order.value, dict) or order.version <= self._old[i]:
            return
        verb = order.value.get("verb")
        if verb == "stop":
            logger.info("Worker %s is told to stop", self._mocra.worker)
            self._flow.stop()
        elif verb == "drain":
            logger.info("Worker %s is told to finish what it holds and leave", self._mocra.worker)
            self._flow.drain()
            if self._drained is None:
                self._drained = asyncio.create_task(self._leave_when_drained(), name="mocra drain")
        else:
            logger.error("An order that is not valid is ignored: %r", order.value)

    async def _leave_when_drained(self) -> None:
        while True:
            if self._flow.leave_when_drained():
                return
            await asyncio.sleep(LOOK)

    def _apply_all(self) -> None:
        for name in self._settings:
            if self._setting(name) is not None:
                self._apply(name)

    def _setting(self, name: str) -> Any:
        crawl, mine = (setting.value for setting in self._settings[name])
        return crawl if mine is None else mine

    def _apply(self, name: str, *_: object) -> None:
        value = self._setting(name)
        try:
            LIVE_SETTINGS[name].apply(self._mocra, value)
        except Exception:
            logger.exception("The live setting %s = %r could not be applied", name, value)
        else:
            logger.info("Setting %s is %s now", name, "the project's own" if value is None else repr(value))

    async def close(self) -> None:
        """What was told to this worker alone goes with it."""
        if self._drained is not None:
            await end_tasks([self._drained])
        own = (self._paused[1], self._orders[1], *(settings[1] for settings in self._settings.values()))
        mine = [value for value in own if value.version]
        try:
            for value in mine:
                await value.reset()
        except BackendError as error:
            logger.debug("Control state of %s is left behind: %s", self._mocra.worker, error)
        await self._space.close()
