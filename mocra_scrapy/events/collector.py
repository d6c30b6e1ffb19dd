"""``CrawlEvents``: what the signals of one crawler say, as events.

Handlers of what comes with each page ask the sample first. Only signals whose events somebody wants
are connected.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scrapy import signals as scrapy_signals

from mocra_scrapy import signals
from mocra_scrapy._version import __version__
from mocra_scrapy.events import records
from mocra_scrapy.events.bus import EventBus, sinks_of
from mocra_scrapy.events.envelope import Source

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.http import Response

    from mocra_scrapy.models import Term
    from mocra_scrapy.runtime import Mocra
    from mocra_scrapy.settings.events import EventOptions


#: Field of ``cache.used`` -> the stat that has it.
CACHE_STATS = {
    "hits": "httpcache/hit",
    "misses": "httpcache/miss",
    "validated": "httpcache/revalidate",
    "stale": "mocra/httpcache/stale",
    "stored_bytes": "mocra/httpcache/stored_bytes",
    "saved_bytes": "mocra/httpcache/saved_bytes",
    "saved_seconds": "mocra/httpcache/saved_seconds",
}


class CrawlEvents:
    """Of one crawler. Begins when its spider is opened, and ends when it is closed.

    Raises:
        ConfigurationError: a sink can't be made, or a pattern fits no event.
    """

    def __init__(self, mocra: Mocra, options: EventOptions) -> None:
        stats = mocra.crawler.stats
        assert stats is not None
        self._mocra, self._stats = mocra, stats
        self._run = 0
        own = mocra.own_options
        sinks = sinks_of(options, backend=options.server, prefix=own.key_prefix, redis_options=dict(own.redis_options))
        source = Source(mocra.worker, mocra.job.project, mocra.crawl, mocra.job.spider)
        self.bus = EventBus(options, sinks, source, count=stats.inc_value, run=self._run_now)
        self._began = time.monotonic()
        self._connect()

    def _connect(self) -> None:
        connect = self._mocra.crawler.signals.connect
        connect(self._opened, scrapy_signals.spider_opened)
        connect(self._closed, scrapy_signals.spider_closed)
        wanted: list[tuple[type[records.Event], Callable[..., None], object]] = [
            (records.CrawlFinished, self._finished, signals.crawl_finished),
            (records.BackendUnavailable, self._unavailable, signals.backend_unavailable),
            (records.BackendAvailable, self._available, signals.backend_available),
            (records.WorkerStateChanged, self._state_changed, signals.worker_state_changed),
            (records.WorkerLost, self._lost, signals.worker_lost),
            (records.WorkerDied, self._died, signals.worker_died),
            (records.RequestFetched, self._fetched, scrapy_signals.response_received),
            (records.RequestDead, self._buried, signals.request_buried),
            (records.ItemScraped, self._scraped, scrapy_signals.item_scraped),
            (records.ItemDropped, self._dropped, scrapy_signals.item_dropped),
            (records.ItemFailed, self._failed, scrapy_signals.item_error),
            (records.LeaderElected, self._elected, signals.leader_elected),
            (records.LeaderLost, self._deposed, signals.leader_lost),
            (records.BreakerOpened, self._breaker_opened, signals.breaker_opened),
            (records.BreakerClosed, self._breaker_closed, signals.breaker_closed),
            (records.BreakerTripped, self._breaker_tripped, signals.breaker_tripped),
            (records.SlotHeld, self._held, signals.slot_held),
            (records.SlotSlowed, self._slowed, signals.slot_slowed),
            (records.SlotGivenUp, self._given_up, signals.slot_given_up),
            (records.ProxyOut, self._proxy_out, signals.proxy_out),
            (records.ProxyBack, self._proxy_back, signals.proxy_back),
            (records.ProxySiteDown, self._proxy_site_down, signals.proxy_site_down),
        ]
        for kind, handler, signal in wanted:
            if self.bus.listening(kind):
                connect(handler, signal)

    def _run_now(self) -> int | None:
        """The run, also when the worker has let go of the crawl."""
        self._run = self._mocra.worker_state.run or self._run
        return self._run or None

    # ------------------------------------------------------------------ crawl and worker

    def _opened(self) -> None:
        self._began = time.monotonic()
        self.bus.start()
        joined = self._mocra.joined
        resumed = joined is not None and joined.resumed
        if not resumed:
            self.bus.emit(records.CrawlBegan())
        self.bus.emit(records.WorkerOpened(socket.gethostname(), os.getpid(), __version__, resumed))

    async def _closed(self, reason: str) -> None:
        pages, items, errors = (
            int(self._stats.get_value(name, 0))
            for name in ("response_received_count", "item_scraped_count", "log_count/ERROR")
        )
        seconds = round(time.monotonic() - self._began, 3)
        self._cache_used()
        self.bus.emit(records.WorkerClosed(reason, pages, items, errors, seconds))
        await self.bus.close()

    def _cache_used(self) -> None:
        found = {name: self._stats.get_value(stat, 0) for name, stat in CACHE_STATS.items()}
        if (found["hits"] or found["misses"] or found["validated"]) and self.bus.listening(records.CacheUsed):
            self.bus.emit(records.CacheUsed(**found))

    def _finished(self) -> None:
        self.bus.emit(records.CrawlFinished())

    def _unavailable(self, error: Exception) -> None:
        self.bus.emit(records.BackendUnavailable(str(error)))

    def _available(self, seconds: float) -> None:
        self.bus.emit(records.BackendAvailable(round(seconds, 3)))

    def _state_changed(self, state: str) -> None:
        self.bus.emit(records.WorkerStateChanged(state))

    def _lost(self) -> None:
        self.bus.emit(records.WorkerLost())

    def _died(self, worker: str, held: int | None) -> None:
        self.bus.emit(records.WorkerDied(worker, held))

    def _elected(self, role: str, term: Term) -> None:
        self.bus.emit(records.LeaderElected(role, term.number))

    def _deposed(self, role: str, term: Term) -> None:
        self.bus.emit(records.LeaderLost(role, term.number))

    # ------------------------------------------------------------------ pages and items

    def _fetched(self, response: Response, request: Request, spider: Spider) -> None:
        if not self.bus.takes(records.RequestFetched, request.url):
            return
        meta, latency = request.meta, request.meta.get("download_latency")
        event = records.RequestFetched(
            url=request.url,
            method=request.method,
            status=response.status,
            slot=_slot(request),
            bytes=len(response.body),
            seconds=None if latency is None or "cached" in response.flags else round(latency, 4),
            retries=int(meta.get("retry_times", 0)),
            depth=int(meta.get("depth", 0)),
        )
        self.bus.emit(event)

    def _buried(self, request: Request, reason: str, kind: str, record: bool, detail: str) -> None:
        lines = detail.strip().splitlines()  # of a traceback the last line says what it was
        self.bus.emit(
            records.RequestDead(request.url, _slot(request), reason, kind, record, lines[-1] if lines else "")
        )

    def _scraped(self, item: Any, response: Response | None, spider: Spider) -> None:
        url = _url(response)
        if self.bus.takes(records.ItemScraped, url):
            self.bus.emit(records.ItemScraped(url, type(item).__name__))

    def _dropped(self, item: Any, response: Response | None, exception: Exception, spider: Spider) -> None:
        url = _url(response)
        if self.bus.takes(records.ItemDropped, url):
            self.bus.emit(records.ItemDropped(url, type(item).__name__, str(exception)))

    def _failed(self, item: Any, response: Response | None, failure: Any, spider: Spider) -> None:
        error = f"{failure.type.__name__}: {failure.getErrorMessage()}"
        self.bus.emit(records.ItemFailed(_url(response), type(item).__name__, error))

    # ------------------------------------------------------------------ slots

    def _breaker_opened(self, slot: str, hold: float, **counts: Any) -> None:
        told = {name: counts[name] for name in ("times", "failed", "total", "kinds")}
        self.bus.emit(records.BreakerOpened(slot, round(hold, 3), **told))

    def _breaker_closed(self, slot: str) -> None:
        self.bus.emit(records.BreakerClosed(slot))

    def _breaker_tripped(self, failed: int, total: int, kinds: dict[str, int]) -> None:
        self.bus.emit(records.BreakerTripped(failed, total, dict(kinds)))

    def _held(self, slot: str, seconds: float, why: str) -> None:
        self.bus.emit(records.SlotHeld(slot, round(seconds, 3), why))

    def _slowed(self, slot: str, interval: float) -> None:
        self.bus.emit(records.SlotSlowed(slot, round(interval, 3)))

    def _given_up(self, slot: str, why: str) -> None:
        self.bus.emit(records.SlotGivenUp(slot, why))

    # ------------------------------------------------------------------ proxies

    def _proxy_out(self, proxy: str, site: str, why: str) -> None:
        self.bus.emit(records.ProxyOut(proxy, site, why))

    def _proxy_back(self, proxy: str, site: str) -> None:
        self.bus.emit(records.ProxyBack(proxy, site))

    def _proxy_site_down(self, site: str) -> None:
        self.bus.emit(records.ProxySiteDown(site))


def _url(response: Response | None) -> str:
    """Of the page that an item is of, as its request has it: with what a redirect led to, the sample
    would have one of the two only.
    """
    if response is None:
        return ""
    request = getattr(response, "request", None)
    return str(response.url if request is None else request.url)


def _slot(request: Request) -> str:
    return str(request.meta.get("download_slot") or "")
