"""The events of a runner of ``scrapy cron``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mocra_scrapy import signals
from mocra_scrapy.events import records
from mocra_scrapy.events.bus import EventBus, sinks_of
from mocra_scrapy.events.envelope import Source
from mocra_scrapy.settings.events import read_events
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings
    from scrapy.signalmanager import SignalManager

#: Signal -> its event.
KINDS: tuple[tuple[object, type[records.CronRun]], ...] = (
    (signals.cron_run_ended, records.CronEnded),
    (signals.cron_run_failed, records.CronFailed),
    (signals.cron_run_missed, records.CronMissed),
    (signals.cron_run_recovered, records.CronRecovered),
)


class CronEvents:
    """Hears the signals of one runner."""

    def __init__(self, bus: EventBus, manager: SignalManager) -> None:
        self._bus = bus
        self._handlers = [self._handler(kind) for _, kind in KINDS]  # the signals hold them weakly
        for (signal, _), handler in zip(KINDS, self._handlers, strict=True):
            manager.connect(handler, signal)

    def _handler(self, kind: type[records.CronRun]) -> Any:
        def handle(job: str, run: dict[str, Any]) -> None:
            told = {name: str(run.get(name) or "") for name in ("id", "outcome", "reason")}
            self._bus.emit(kind(job, told["id"], told["outcome"], told["reason"]))

        return handle


@asynccontextmanager
async def cron_events(
    settings: BaseSettings, manager: SignalManager, *, runner: str, project: str
) -> AsyncIterator[None]:
    """While this lasts, what *manager* tells goes to the sinks of ``MOCRA_EVENTS``.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    options = read_events(settings)
    if options is None:
        yield
        return
    read = SettingsReader(settings)
    sinks = sinks_of(
        options,
        backend=options.server,
        prefix=read.text("MOCRA_KEY_PREFIX", "a prefix"),
        redis_options=read.mapping("MOCRA_REDIS_OPTIONS"),
    )
    bus = EventBus(options, sinks, Source(runner, project), count=lambda stat, number: None)
    events = CronEvents(bus, manager)
    bus.start()
    try:
        yield
    finally:
        await bus.close()
        del events
