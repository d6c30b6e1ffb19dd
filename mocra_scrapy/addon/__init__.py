"""``ADDONS = {"mocra_scrapy.Addon": 300}``: one line configures everything. The user's own settings
always win.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from scrapy.exceptions import NotConfigured
from scrapy.utils.misc import load_object

from mocra_scrapy.addon.autothrottle import place_autothrottle
from mocra_scrapy.addon.directories import make_jobdir, place_files_store
from mocra_scrapy.addon.early_imports import import_contextfactory
from mocra_scrapy.addon.events import place_events
from mocra_scrapy.addon.feeds import place_feed_exporter
from mocra_scrapy.addon.httpcache import place_httpcache
from mocra_scrapy.addon.other_schedulers import OURS, other_scheduler, replace_scrapy_redis
from mocra_scrapy.addon.proxies import place_proxies
from mocra_scrapy.addon.sessions import place_cookies
from mocra_scrapy.addon.unknown_settings import warn_of_unknown
from mocra_scrapy.backends.by_role import open_by_role
from mocra_scrapy.engine.refusal import told_in_one_line
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.settings import default_settings
from mocra_scrapy.settings.coordination import read_coordination
from mocra_scrapy.settings.crawl import read_options
from mocra_scrapy.settings.failures import read_failure_options
from mocra_scrapy.settings.feedback import read_feedback
from mocra_scrapy.settings.identity import one_off_command
from mocra_scrapy.settings.reader import SettingsReader, default_of, touched
from mocra_scrapy.settings.reports import read_reports
from mocra_scrapy.settings.robots import read_max_age

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings
    from typing_extensions import Self

#: Component dicts of Scrapy and what is put into them, unless the project has placed it itself
#: (``None``: nowhere). By name: the add-on's module is imported by every command.
ADDED = {
    "DOWNLOADER_MIDDLEWARES": {
        # Behind all others: what waits in one of them leaves later than it was to.
        "mocra_scrapy.downloadermiddlewares.throttle.ThrottleMiddleware": 999,
        # Next to the downloader: whatever another middleware makes of an answer, it was seen
        # before.
        "mocra_scrapy.downloadermiddlewares.feedback.FeedbackMiddleware": 1000,
    },
    # Between the spider and all middlewares of Scrapy's.
    "SPIDER_MIDDLEWARES": {
        "mocra_scrapy.spidermiddlewares.known.KnownLinksMiddleware": 1100,
        "mocra_scrapy.spidermiddlewares.traps.TrapMiddleware": 1050,
    },
    "EXTENSIONS": {
        "mocra_scrapy.extensions.breaker.BreakerExtension": 0,
        "mocra_scrapy.extensions.control.WorkerControl": 0,
        "mocra_scrapy.extensions.leader.LeaderElection": 0,
        "mocra_scrapy.extensions.seeds.Seeds": 0,
        "mocra_scrapy.extensions.watchdog.LoopWatchdog": 0,
        "mocra_scrapy.extensions.workers.WorkerReports": 0,
        # Closed before the list of workers is: whoever is on it is waited for.
        "mocra_scrapy.extensions.progress.ProgressLine": 10,
        "mocra_scrapy.extensions.summary.Summary": 10,
    },
}

#: ``MOCRA_FAST``, beside uvloop.
FAST = {"STATS_CLASS": "mocra_scrapy.statscollectors.FastStatsCollector"}

#: What stands in place of a component of Scrapy's own, at its place.
BUILT_INS = {
    "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": (
        "DOWNLOADER_MIDDLEWARES",
        "mocra_scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware",
    ),
    "scrapy.downloadermiddlewares.retry.RetryMiddleware": (
        "DOWNLOADER_MIDDLEWARES",
        "mocra_scrapy.downloadermiddlewares.retry.RetryMiddleware",
    ),
}


def replace_built_ins(settings: BaseSettings) -> None:
    """Put ours in place of Scrapy's, unless the project says something about Scrapy's: switches it
    off, moves it, has its own.
    """
    for path, (name, ours) in BUILT_INS.items():
        theirs = load_object(path)
        if any(load_object(key) is theirs for key in settings.getdict(name)):
            continue
        with suppress(KeyError):  # a project has emptied the …_BASE
            # By its path, as Scrapy's own are: before 2.15 a class and its path count as two
            # components.
            settings.replace_in_component_priority_dict(f"{name}_BASE", theirs, cast("type", ours))


def check_dormant(settings: BaseSettings, spider: str) -> None:
    """Checks the settings of what is off by default, where a project touched them: else it imports nothing
    of that, for each process that starts would pay for it. *spider* is its name.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    if touched(settings, "MOCRA_BREAKER"):
        from mocra_scrapy.settings.breaker import read_breaker

        read_breaker(settings)
    if touched(settings, "MOCRA_TRAPS"):
        from mocra_scrapy.settings.traps import read_traps

        read_traps(settings)
    if touched(settings, "MOCRA_BATCH_"):
        from mocra_scrapy.settings.pipelines import read_batch_options

        read_batch_options(settings)
    if touched(settings, "MOCRA_SEEDS", "MOCRA_KAFKA_OPTIONS"):
        from mocra_scrapy.settings.seeds import read_seeds

        read_seeds(settings, spider)


class Addon:
    """Sets the scheduler and the filter, and the default of every ``MOCRA_*`` setting.

    ``MOCRA_ENABLED = False`` leaves the project as if the add-on were not there; so does another
    scheduler, with a warning (:mod:`~mocra_scrapy.addon.other_schedulers`).
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    @classmethod
    def update_pre_crawler_settings(cls, settings: BaseSettings) -> None:
        """Called before the event loop is chosen. With ``MOCRA_FAST`` that is uvloop, where it is
        installed.
        """
        try:
            wanted = settings.getbool("MOCRA_ENABLED", True) and settings.getbool("MOCRA_FAST")
        except ValueError:  # told when the crawler is made
            return
        if wanted and other_scheduler(settings) is None and find_spec("uvloop"):
            settings.set("ASYNCIO_EVENT_LOOP", "uvloop.Loop", "addon")

    def update_settings(self, settings: BaseSettings) -> None:
        """Called by Scrapy when the crawler is made.

        Raises:
            ConfigurationError: a ``MOCRA_*`` setting is wrong; told before anything is started.
        """
        try:
            with told_in_one_line(self._crawler):
                self._update(settings)
        except MocraError as error:
            if one_off_command() == "shell":  # which makes a crawler, and no crawl that could end
                raise SystemExit(1) from error
            raise

    def _update(self, settings: BaseSettings) -> None:
        for name in dir(default_settings):
            if name.startswith("MOCRA_") and settings.get(name) is None:
                settings.set(name, default_of(name), "default")
        read = SettingsReader(settings)
        fast = read.flag("MOCRA_FAST")
        if not read.flag("MOCRA_ENABLED"):
            raise NotConfigured("MOCRA_ENABLED is false")
        import_contextfactory(settings)
        warn_of_unknown(settings)
        why = other_scheduler(settings)
        if why is not None:
            raise NotConfigured(why)
        replace_scrapy_redis(settings)
        for name, path in OURS.items():
            settings.set(name, path, "addon")  # below a project's settings, custom_settings and -s
        for name, components in ADDED.items():
            for path, order in components.items():
                settings.setdefault_in_component_priority_dict(name, load_object(path), order)
        replace_built_ins(settings)
        if fast:
            for name, value in FAST.items():
                settings.set(name, value, "addon")
        read_failure_options(settings)
        read_feedback(settings)
        read_max_age(read)
        place_httpcache(settings)
        place_autothrottle(settings)
        place_cookies(settings)
        options = read_options(settings, getattr(self._crawler.spidercls, "name", None) or "spider")
        read_coordination(settings)
        read_reports(settings)
        check_dormant(settings, getattr(self._crawler.spidercls, "name", None) or "spider")
        outlives = False
        if not one_off_command():
            # No I/O: checks the URL.
            backend = open_by_role(options.backends)
            outlives = backend.shared or backend.durable
            place_events(settings)
            place_proxies(settings)
            make_jobdir(settings)
            place_files_store(settings)
        place_feed_exporter(settings, outlives=outlives)
