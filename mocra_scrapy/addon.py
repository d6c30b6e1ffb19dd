"""``ADDONS = {"mocra_scrapy.Addon": 300}``: one line configures everything. The user's own settings always win."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from scrapy.exceptions import NotConfigured

from mocra_scrapy import default_settings
from mocra_scrapy.backends import open_backend
from mocra_scrapy.options import read_options
from mocra_scrapy.runtime import one_off_command
from mocra_scrapy.spidermiddlewares.known import KnownLinksMiddleware

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings
    from typing_extensions import Self

#: Where they stand, the settings of a project, a spider's ``custom_settings`` or ``-s`` win: add-on priority is below all of these.
COMPONENTS = {
    "SCHEDULER": "mocra_scrapy.scheduler.Scheduler",
    "DUPEFILTER_CLASS": "mocra_scrapy.dupefilters.RecentDupeFilter",
}

#: Of :class:`~mocra_scrapy.spidermiddlewares.known.KnownLinksMiddleware`: between the spider and all middlewares of Scrapy's.
NEAREST = 1100

#: ``MOCRA_FAST``: CONCURRENT_ITEMS is the number of tasks that Scrapy starts for *each response*; its default of 100 costs a quarter of
#: a page's CPU. Eight are enough unless a callback yields many items into a slow asynchronous pipeline.
FAST = {"CONCURRENT_ITEMS": 8, "STATS_CLASS": "mocra_scrapy.statscollectors.FastStatsCollector"}


class Addon:
    """Sets the scheduler and the filter, and the default of every ``MOCRA_*`` setting.

    ``MOCRA_ENABLED = False`` leaves the project as if the add-on were not there.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    @classmethod
    def update_pre_crawler_settings(cls, settings: BaseSettings) -> None:
        """Called before the event loop is chosen. With ``MOCRA_FAST`` that is uvloop, where it is installed."""
        if settings.getbool("MOCRA_ENABLED", True) and settings.getbool("MOCRA_FAST") and find_spec("uvloop"):
            settings.set("ASYNCIO_EVENT_LOOP", "uvloop.Loop", "addon")

    def update_settings(self, settings: BaseSettings) -> None:
        """Called by Scrapy when the crawler is made.

        Raises:
            ConfigurationError: a ``MOCRA_*`` setting is wrong; told before anything is started.
        """
        for name in dir(default_settings):
            if name.startswith("MOCRA_") and settings.get(name) is None:
                settings.set(name, getattr(default_settings, name), "default")
        if not settings.getbool("MOCRA_ENABLED"):
            raise NotConfigured("MOCRA_ENABLED is false")
        for name, path in COMPONENTS.items():
            settings.set(name, path, "addon")
        settings.setdefault_in_component_priority_dict("SPIDER_MIDDLEWARES", KnownLinksMiddleware, NEAREST)
        if settings.getbool("MOCRA_FAST"):
            for name, value in FAST.items():
                settings.set(name, value, "addon")
        options = read_options(settings, getattr(self._crawler.spidercls, "name", None) or "spider")
        if not one_off_command():
            open_backend(
                options.backend, prefix=options.key_prefix, options=options.redis_options
            )  # no I/O: checks the URL
