"""What happens to requests that take too long: one that stays in its callback becomes a dead letter,
the oldest one is named in the log, and a worker that closes does not wait for them for ever.

Nothing of it costs a request anything but the note of when its callback began: whoever is in flight
is looked at once a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from mocra_scrapy.engine.let_go import LetGo, callback_name
from mocra_scrapy.exceptions import CallbackTimeout, ConfigurationError
from mocra_scrapy.models.redaction import redact
from mocra_scrapy.settings.checks import setting_number
from mocra_scrapy.settings.failures import YEAR
from mocra_scrapy.worker.deliveries import CURRENT

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.settings.failures import FailureOptions
    from mocra_scrapy.worker.deliveries import Deliveries, Delivery

logger = logging.getLogger(__name__)

#: Seconds between two looks; less where the time-out is short.
LOOK, SHORTEST = 1.0, 0.05
#: Requests that are named when a worker lets go of them.
NAMED = 10


class Overdue:
    """Looks after the requests in flight of one worker. Does nothing before :meth:`start`."""

    def __init__(
        self, crawler: Crawler, parts: WorkerParts, options: FailureOptions, *, deliveries: Deliveries
    ) -> None:
        assert crawler.stats is not None
        self._crawler, self._stats = crawler, crawler.stats
        self._parts = parts
        self._options = options
        self._deliveries = deliveries
        self._engine: LetGo | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._refused: set[int] = set()  # deliveries whose own time-out makes no sense
        self._noticed: dict[int, float] = {}  # delivery -> age at which it is told of again
        timeout = options.callback_timeout
        self._pause = LOOK if timeout is None else min(LOOK, max(SHORTEST, timeout / 4))

    def start(self, engine: LetGo) -> None:
        """Begin to look."""
        self._engine = engine
        engine.on_scraped(self._deliveries.scraped)
        self._look_later()

    def late_output(self, output: Any) -> None:
        """A callback that nobody waits for any more yielded *output*, which was dropped."""
        self._stats.inc_value("mocra/callback/late_output")
        logger.debug("Dropped, since it came after the time-out of its callback: %s", output)

    def closing(self) -> None:
        """The engine begins to close: what is in flight has ``MOCRA_STOP_GRACE`` seconds."""
        if self._options.stop_grace is not None and self._engine is not None and self._grace is None:
            loop = asyncio.get_running_loop()
            self._grace = loop.call_later(self._options.stop_grace, self._let_go_of_all)

    async def close(self) -> None:
        """Look no more. May be called twice."""
        for timer in (self._timer, self._grace):
            if timer is not None:
                timer.cancel()
        self._timer = None

    # ------------------------------------------------------------------ looking

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._look)

    def _look(self) -> None:
        self._look_later()
        now = time.monotonic()
        in_flight = self._deliveries.in_flight()
        for delivery in in_flight:
            if delivery.scraped is not None:
                limit = self._limit(delivery)
                if limit is not None and now - delivery.scraped[0] >= limit:
                    self._time_out(delivery, limit)
        if self._options.callback_notice is not None:
            self._notice(in_flight, now, self._options.callback_notice)
        known = {id(delivery) for delivery in in_flight}
        self._refused &= known

    def _limit(self, delivery: Delivery) -> float | None:
        """The time-out of its callback; ``None``: it has none."""
        assert delivery.request is not None
        meta = delivery.request.meta
        if "mocra_callback_timeout" not in meta or id(delivery) in self._refused:
            return self._options.callback_timeout
        value = meta["mocra_callback_timeout"]
        if value is None:
            return None
        try:
            return setting_number("mocra_callback_timeout", value, 0, YEAR, what="a time in seconds") or None
        except ConfigurationError as error:
            self._refused.add(id(delivery))
            logger.error("Request %s, meta: %s; MOCRA_CALLBACK_TIMEOUT counts", delivery.request, error)
            return self._options.callback_timeout

    def _time_out(self, delivery: Delivery, limit: float) -> None:
        request, scraped, engine = delivery.request, delivery.scraped, self._engine
        assert request is not None
        assert scraped is not None
        assert engine is not None
        began, result, _ = scraped
        where = "".join(engine.where(request, result))
        detail = (
            f"{callback_name(request, result, self._crawler.spider)} of {redact(request.url)}, or what processes its output,"
            f" has not returned after {time.monotonic() - began:.1f} s (MOCRA_CALLBACK_TIMEOUT or meta"
            f" mocra_callback_timeout: {limit:g} s)."
        )
        detail += f" It waits here, the last one is the innermost:\n{where}" if where else ""
        self._stats.inc_value("mocra/callback/timeouts")
        delivery.fail("callback_timeout", detail)
        delivery.undone = True
        token = CURRENT.set(delivery)
        try:
            engine.failed(request, result, CallbackTimeout(detail))
        finally:
            CURRENT.reset(token)
        self._leave(delivery)

    def _leave(self, delivery: Delivery) -> None:
        """The engine lets go of it, also where its callback fetches that very object once more."""
        assert self._engine is not None
        assert delivery.request is not None
        assert delivery.scraped is not None
        request, (_, result, end) = delivery.request, delivery.scraped
        delivery.scraped, delivery.answer = None, result  # once
        delivery.fetches = min(delivery.fetches, 1)
        self._engine.let_go(request, result, end)

    def _notice(self, in_flight: list[Delivery], now: float, least: float) -> None:
        """One warning, of the oldest; of the same one again when it is twice as old."""
        old = [delivery for delivery in in_flight if now - delivery.since >= least]
        self._noticed = {id(one): self._noticed.get(id(one), least) for one in old}
        if not old or now - old[0].since < self._noticed[id(old[0])]:
            return
        oldest, age = old[0], now - old[0].since
        while self._noticed[id(oldest)] <= age:
            self._noticed[id(oldest)] *= 2
        more = f" ({len(old) - 1} more for longer than MOCRA_CALLBACK_NOTICE = {least:g} s)" if len(old) > 1 else ""
        logger.warning("In flight for %.0f s%s:\n%s", age, more, self._told(oldest, where=True))

    def _told(self, delivery: Delivery, *, where: bool = False) -> str:
        """Which request it is and what happens to it; with *where* it waits."""
        assert self._engine is not None
        assert delivery.request is not None
        request = redact(str(delivery.request))
        if delivery.scraped is None:
            return f"  {request}: in the downloader or its middlewares"
        began, result, _ = delivery.scraped
        name = callback_name(delivery.request, result, self._crawler.spider)
        told = f"  {request}: in {name} for {time.monotonic() - began:.0f} s"
        lines = "".join(self._engine.where(delivery.request, result)) if where else ""
        return f"{told}; it waits here, the last one is the innermost:\n{lines.rstrip()}" if lines else told

    # ------------------------------------------------------------------ the end

    def _let_go_of_all(self) -> None:
        """Whatever is in flight goes back into the queue as it was."""
        engine, in_flight = self._engine, self._deliveries.in_flight()
        assert engine is not None
        told = [self._told(delivery) for delivery in in_flight]
        for delivery in in_flight:
            delivery.returned = True
        for delivery in in_flight:
            if delivery.scraped is not None:
                self._leave(delivery)
        others = engine.all_of_it()
        if not told and not others:
            return
        self._stats.inc_value("mocra/callback/handed_back", len(told))
        fate = "they go back into the queue" if self._parts.shared else f"they are gone with {self._parts.backend_url}"
        rest = [f"… and {len(told) - NAMED} more"] if len(told) > NAMED else []
        logger.warning(
            "MOCRA_STOP_GRACE = %g s is over. Still in flight: %d; %s:\n%s",
            self._options.stop_grace,
            len(told),
            fate,
            "\n".join(told[:NAMED] + rest),
        )
