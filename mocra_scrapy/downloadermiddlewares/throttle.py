"""The last look at a request before it leaves: whether its departure is the one that was booked, and
whether one was booked at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.exceptions import NotConfigured

from mocra_scrapy.runtime import Mocra

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class ThrottleMiddleware:
    """Behind all other middlewares, so that nothing they do comes between it and the site.

    ==============================  ==================================================================
    a request                       here
    ==============================  ==================================================================
    handed out by the queue, on     goes on at once
    time, or of a slot without
    an interval
    handed out, and late            takes another departure, and waits for it for a moment or goes
                                    back into the queue, see :mod:`mocra_scrapy.worker.departures`
    another one (robots.txt,        waits for a permit and a departure, outside the places of the
    media, inline)                  downloader, see :mod:`mocra_scrapy.worker.bypass`
    ==============================  ==================================================================
    """

    def __init__(self, crawler: Crawler) -> None:
        """Raises NotConfigured: each worker is polite for itself, or a command fetches a page for a
        person.
        """
        mocra = Mocra.from_crawler(crawler)
        if not mocra.options.limits.cluster or mocra.one_off:
            raise NotConfigured
        self._leaves = mocra.worker_state.leaves
        mocra.worker_state.wire_watched = True

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def process_request(self, request: Request, spider: object = None) -> Awaitable[Request | None] | None:
        """``None``: it leaves now."""
        return self._leaves(request)
