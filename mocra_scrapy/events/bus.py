"""``EventBus``: takes events and passes them on to every sink that wants them."""

from __future__ import annotations

import asyncio
import difflib
import logging
import time
import zlib
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mocra_scrapy.events.envelope import Record
from mocra_scrapy.events.outlet import Outlet
from mocra_scrapy.events.records import EVENTS
from mocra_scrapy.events.sinks import open_sink
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from mocra_scrapy.events.envelope import Source
    from mocra_scrapy.events.records import Event
    from mocra_scrapy.events.sink import Sink
    from mocra_scrapy.settings.events import EventOptions

logger = logging.getLogger(__name__)

#: Hashes of texts are below this.
ALL = 1 << 32


def sinks_of(options: EventOptions, *, backend: str, prefix: str, redis_options: dict[str, object]) -> list[Sink]:
    """Of each sink in *options* one that is not connected yet. See :func:`~mocra_scrapy.events.sinks.open_sink`."""
    return [
        open_sink(one, backend=backend, prefix=prefix, redis_options=redis_options, kafka=options.kafka)
        for one in options.sinks
    ]


class EventBus:
    """Of one process. Emitting costs a place in some queues; everything else is their tasks' work.

    Args:
        sinks: one for each of ``options.sinks``.
        count: adds to a stat.
        run: the crawl's run, where there is one.
        wall: seconds since the epoch.

    Raises:
        ConfigurationError: a pattern fits no kind of event.
    """

    def __init__(
        self,
        options: EventOptions,
        sinks: Sequence[Sink],
        source: Source,
        *,
        count: Callable[[str, int], None],
        run: Callable[[], int | None] = lambda: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._stop_timeout = options.stop_timeout
        self._run, self._wall = run, wall
        self._number = 0
        self._closed = self._broken = False
        pairs = [
            (Outlet(one.name, sink, options.queue_max, count), one)
            for one, sink in zip(options.sinks, sinks, strict=True)
        ]
        self._outlets = [outlet for outlet, _ in pairs]
        for one in options.sinks:
            _check_patterns(f"MOCRA_EVENTS[{one.name!r}]['events']", one.events)
        _check_patterns("MOCRA_EVENTS_SAMPLE", tuple(options.sample))
        self._to = {name: [out for out, one in pairs if _fits(name, one.events)] for name in EVENTS}
        self._parts = {name: _part(name, options) for name in EVENTS}

    def listening(self, kind: type[Event]) -> bool:
        """Whether anybody wants events of *kind*."""
        return bool(self._to[kind.name]) and self._parts[kind.name] > 0

    def takes(self, kind: type[Event], by: str) -> bool:
        """Whether the sample has the events of *kind* about *by*, a URL. Of a page that is in a
        sample of one in a hundred, all workers tell all events that are sampled so.
        """
        part = self._parts[kind.name]
        return part >= 1 or zlib.crc32(by.encode("utf-8", "replace")) < part * ALL

    def emit(self, event: Event) -> None:
        """Pass *event* on. Never waits, never raises."""
        try:
            outlets = self._to[event.name]
            if not outlets or self._closed:
                return
            self._number += 1
            part = self._parts[event.name]
            record = Record(event, self._source, self._number, self._wall(), self._run(), part)
            for outlet in outlets:
                outlet.put(record)
        except Exception:
            if not self._broken:
                self._broken = True
                logger.exception("Event %r is lost, and perhaps others: a defect of mocra_scrapy", event.name)

    def start(self) -> None:
        """Begin to send. In the running loop."""
        for outlet in self._outlets:
            outlet.start()

    async def close(self) -> None:
        """Send what is left, within ``MOCRA_EVENTS_STOP_TIMEOUT``, and let go of the sinks. Never
        raises. Events from now on are nobody's. May be called twice.
        """
        if self._closed:
            return
        self._closed = True
        closing = [asyncio.ensure_future(outlet.close()) for outlet in self._outlets]
        await asyncio.wait(closing, timeout=self._stop_timeout)
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        left = await asyncio.gather(*(outlet.end() for outlet in self._outlets))
        for outlet, number in zip(self._outlets, left, strict=True):
            if number:
                logger.warning(
                    "%s for %r %s not sent within MOCRA_EVENTS_STOP_TIMEOUT = %g s, and dropped (mocra/events/dropped)",
                    counted(number, "event"),
                    outlet.name,
                    "was" if number == 1 else "were",
                    self._stop_timeout,
                )


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _part(name: str, options: EventOptions) -> float:
    """The part of events *name* that is told: by its name, else by the first pattern that fits."""
    if options.sample_bulk is not None:
        return options.sample_bulk if EVENTS[name].bulk else 1.0
    if name in options.sample:
        return options.sample[name]
    return next((part for pattern, part in options.sample.items() if fnmatchcase(name, pattern)), 1.0)


def _check_patterns(subject: str, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in EVENTS):
            near = difflib.get_close_matches(pattern, EVENTS, n=1)
            guess = f"Did you mean {near[0]!r}? " if near else ""
            raise ConfigurationError(subject, f"{pattern!r} fits no event", f"{guess}There are {', '.join(EVENTS)}")
