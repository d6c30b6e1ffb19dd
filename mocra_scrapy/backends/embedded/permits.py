"""What becomes of permits that are given out when there are fewer than before."""

from __future__ import annotations

from collections.abc import Iterable

from mocra_scrapy.backends.embedded.crawl import StoredCrawl


def come_down(crawl: StoredCrawl, now: float, names: Iterable[str] | None = None) -> None:
    """A limit is lower than before, of *names* or of all: those who have more permits than there are
    now are asked to come down, those who get none to give back what waits.
    """
    throttle = crawl.throttle
    for name in list(throttle.permits if names is None else names):
        holders, most = throttle.permits.get(name, {}), throttle.limit_of(name, now).concurrency
        if most and sum(holders.values()) > most:
            each, more = divmod(most, len(holders))
            for place, holder in enumerate(sorted(holders)):
                throttle.notes[holder] = {**throttle.notes.get(holder, {}), name: each + (place < more)}
                crawl.wakeups.wake(holder)
