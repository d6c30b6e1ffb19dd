"""Which process this is: its worker's name, and whether it is a command for a person."""

from __future__ import annotations

import sys

import pytest
from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.exceptions import NotConfigured
from scrapy.settings import Settings
from scrapy.statscollectors import MemoryStatsCollector
from scrapy.utils.test import get_crawler

from mocra_scrapy import Addon, Mocra
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.sessions.component import Sessions
from mocra_scrapy.settings.identity import one_off_command, worker_name
from mocra_scrapy.spidermiddlewares.known import KnownLinksMiddleware
from mocra_scrapy.spidermiddlewares.traps import TrapMiddleware
from mocra_scrapy.statscollectors import FastStatsCollector


class BookSpider(Spider):
    name = "books"


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["python", "/usr/bin/scrapy", "shell", "http://x"], "shell"),
        (["python", "-X", "dev", "/usr/bin/scrapy", "--nolog", "fetch", "http://x"], "fetch"),
        (["python", "/lib/scrapy/cmdline.py", "parse", "http://x"], "parse"),
        (["python", "-m", "scrapy", "bench"], "bench"),
        (["python", "-m", "scrapy.cmdline", "view", "u"], "view"),
        (["python", "-m", "coverage", "run", "-m", "scrapy", "shell"], "shell"),
        (["python.exe", "C:/scrapy.exe", "view", "u"], "view"),
        (["python", "/usr/bin/scrapy", "crawl", "shell"], None),
        (["python", "/usr/bin/scrapy"], None),
        (["python", "-m", "scrapy"], None),
        (["python", "myscript.py", "shell"], None),
        (["python", "-c", "x"], None),
        ([], None),
    ],
)
def test_one_off_commands(argv: list[str], command: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", argv)
    monkeypatch.delenv("SCRAPY_CHECK", raising=False)
    assert one_off_command() == command


def test_check_is_told_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRAPY_CHECK", "true")
    assert one_off_command() == "check"


def test_worker_names_differ() -> None:
    names = {worker_name() for _ in range(100)}
    assert len(names) == 100
    assert all(all(c.isalnum() or c in ".-" for c in name) for name in names)


def crawler(**settings: object) -> Crawler:
    return Crawler(BookSpider, Settings(settings))


def test_one_runtime_for_each_crawler() -> None:
    one, other = crawler(), crawler()
    assert Mocra.from_crawler(one) is Mocra.from_crawler(one)
    assert Mocra.from_crawler(one) is not Mocra.from_crawler(other)
    assert Mocra.from_crawler(one).crawl == "tests:books"


def test_a_one_off_command_has_a_queue_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "/bin/scrapy", "shell"])
    runtime = Mocra.from_crawler(crawler(MOCRA_BACKEND="redis://localhost:1/0"))
    assert runtime.backend.url.startswith("memory://")


def test_jobdir_needs_a_backend_that_lasts(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    with pytest.raises(ConfigurationError, match="JOBDIR"):
        Mocra.from_crawler(crawler(JOBDIR=str(tmp_path)))
    assert Mocra.from_crawler(crawler(JOBDIR=str(tmp_path), MOCRA_BACKEND="redis://localhost:1/0"))


def test_the_addon_tells_a_wrong_setting_before_anything_starts() -> None:
    settings = Settings({"MOCRA_BACKEND": "reddis://localhost"})
    with pytest.raises(ConfigurationError, match="Did you mean redis://"):
        Addon(crawler()).update_settings(settings)


def test_the_addon_leaves_what_the_user_chose() -> None:
    settings = Settings({"SCHEDULER": "mine.Scheduler", "MOCRA_LEASE": 5}, priority="project")
    with pytest.raises(NotConfigured, match=r'SCHEDULER = "mine.Scheduler" in the project\'s settings'):
        Addon(crawler()).update_settings(settings)
    assert settings["SCHEDULER"] == "mine.Scheduler"
    assert "mocra" not in str(
        [settings["DUPEFILTER_CLASS"], *settings["DOWNLOADER_MIDDLEWARES"], *settings["EXTENSIONS"]]
    )
    assert settings["MOCRA_LEASE"] == 5
    assert settings["MOCRA_CLOSE"] == "finished"


def test_fast_is_asked_for_and_below_the_users_own() -> None:
    plain, fast = Settings(), Settings({"MOCRA_FAST": True}, priority="project")
    theirs = Settings(
        {"MOCRA_FAST": True, "STATS_CLASS": "mine.Stats", "ASYNCIO_EVENT_LOOP": "mine.Loop"}, priority="project"
    )
    for settings in (plain, fast, theirs):
        Addon.update_pre_crawler_settings(settings)
        Addon(crawler()).update_settings(settings)
    stock, ours = "scrapy.statscollectors.MemoryStatsCollector", "mocra_scrapy.statscollectors.FastStatsCollector"
    assert (plain["STATS_CLASS"], plain["ASYNCIO_EVENT_LOOP"]) == (stock, None)
    assert (fast["STATS_CLASS"], fast["ASYNCIO_EVENT_LOOP"]) == (ours, "uvloop.Loop")
    assert (theirs["STATS_CLASS"], theirs["ASYNCIO_EVENT_LOOP"]) == ("mine.Stats", "mine.Loop")


def test_the_fast_collector_is_scrapys_without_the_detour() -> None:
    one = crawler()
    for collector in (MemoryStatsCollector(one), FastStatsCollector(one)):
        collector.inc_value("a")
        collector.inc_value("a", 4)
        collector.max_value("b", 3)
        collector.max_value("b", 2)
        collector.min_value("c", 3)
        collector.min_value("c", 2)
        collector.set_value("d", "x")
        assert collector.get_value("d") == "x"
        assert collector.get_stats() == {"a": 5, "b": 3, "c": 2, "d": "x"}
    FastStatsCollector(one).inc_value("a", spider=None)  # the argument that is deprecated: taken, nobody is warned


def test_the_addon_puts_the_known_links_nearest_to_the_spider() -> None:
    settings = Settings(
        {"SPIDER_MIDDLEWARES": {"scrapy.spidermiddlewares.depth.DepthMiddleware": 1}}, priority="project"
    )
    Addon(crawler()).update_settings(settings)
    assert settings["SPIDER_MIDDLEWARES"][KnownLinksMiddleware] == 1100
    theirs = Settings(
        {"SPIDER_MIDDLEWARES": {"mocra_scrapy.spidermiddlewares.known.KnownLinksMiddleware": None}}, priority="project"
    )
    Addon(crawler()).update_settings(theirs)
    assert [order for one, order in theirs["SPIDER_MIDDLEWARES"].items() if one is not TrapMiddleware] == [None]


def test_a_component_that_cant_be_made_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Also where Scrapy makes what asks for it, as it makes middlewares."""
    crawler = get_crawler(BookSpider, {"MOCRA_SESSIONS": {"books.example": {"policy": "no.such"}}})
    with pytest.raises(ConfigurationError):
        Mocra.from_crawler(crawler).component(Sessions)
    told = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert len(told) == 1
    assert told[0].startswith("MOCRA_SESSIONS['books.example']['policy']: 'no.such' can't be made")
