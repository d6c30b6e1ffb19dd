"""``Events``: tells other programs what this worker does, see :mod:`mocra_scrapy.events`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.exceptions import NotConfigured

from mocra_scrapy.engine.refusal import told_in_one_line
from mocra_scrapy.events.collector import CrawlEvents
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.events import read_events

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class Events:
    """The add-on places it where ``MOCRA_EVENTS`` is set.

    Attributes:
        events: what it hears, and where that goes.
    """

    def __init__(self, events: CrawlEvents) -> None:
        self.events = events

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises ConfigurationError: a setting is wrong."""
        with told_in_one_line(crawler):
            options, mocra = read_events(crawler.settings), Mocra.from_crawler(crawler)
            if options is None or mocra.one_off:
                raise NotConfigured("MOCRA_EVENTS is not set, or this command fetches a page for a person")
            return cls(CrawlEvents(mocra, options))
