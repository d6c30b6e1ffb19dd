"""Misspelt settings, and projects that are half of something else: told in a line, never half on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.mocksite import MockSite

pytestmark = pytest.mark.e2e

SPIDER = """
    import scrapy


    class Shop(scrapy.Spider):
        name = "shop"
        custom_settings = {}

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.start_urls = [f"{site}/ok/1"]

        def parse(self, response):
            yield {"url": response.url}
"""
FINISHED = "'finish_reason': 'finished'"
OURS = "mocra_scrapy.worker"


def lines(log: str, *words: str) -> list[str]:
    return [line for line in log.splitlines() if all(word in line for word in words)]


def test_unknown_settings_are_told_at_once_and_once(tmp_path: Path, site: MockSite) -> None:
    """Of the project, of a spider, of the command line."""
    spider = SPIDER.replace("custom_settings = {}", 'custom_settings = {"MOCRA_QUEUE_ODER": "fifo"}')
    project = write_project(tmp_path, spider, ONE_LINE + 'MOCRA_BACKENDS = "redis://localhost"\n')
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}", "-s", "MOCRA_LEESE=3", "-s", "MOCRA_XYZZY=1")
    told = lines(done.stderr, "WARNING", "MOCRA_")
    assert len(told) == 1
    assert told[0].endswith(
        "Unknown settings, which have no effect: MOCRA_BACKENDS (did you mean MOCRA_BACKEND?), MOCRA_LEESE (did you mean"
        " MOCRA_LEASE?), MOCRA_QUEUE_ODER (did you mean MOCRA_QUEUE_ORDER?), MOCRA_XYZZY"
    )
    assert FINISHED in done.stderr


def test_known_settings_are_not_told(tmp_path: Path, site: MockSite) -> None:
    project = write_project(tmp_path, SPIDER, ONE_LINE + "MOCRA_LEASE = 5\n")
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}", "-s", "MOCRA_CRAWL=other")
    assert not lines(done.stderr, "WARNING")
    assert FINISHED in done.stderr


def test_scrapy_redis_is_replaced(tmp_path: Path, site: MockSite) -> None:
    """Its package may be gone by then."""
    settings = ONE_LINE + (
        'SCHEDULER = "scrapy_redis.scheduler.Scheduler"\n'
        'DUPEFILTER_CLASS = "scrapy_redis.dupefilter.RFPDupeFilter"\n'
        'SCHEDULER_QUEUE_CLASS = "scrapy_redis.queue.PriorityQueue"\n'
        "SCHEDULER_PERSIST = True\n"
    )
    project = write_project(tmp_path, SPIDER, settings)
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}")
    assert len(lines(done.stderr, "WARNING")) == 3
    for name, fate in (
        ("SCHEDULER = ", "in the project's settings is replaced by mocra_scrapy.scheduler.Scheduler. Delete that line"),
        ("DUPEFILTER_CLASS = ", "is replaced by mocra_scrapy.dupefilters.RecentDupeFilter. Delete that line"),
        ("SCHEDULER_QUEUE_CLASS = ", "has no effect with mocra_scrapy. Delete that line"),
    ):
        assert len(lines(done.stderr, "WARNING", f' {name}"scrapy_redis.', fate)) == 1, name
    assert OURS in done.stderr
    assert FINISHED in done.stderr


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("project", 'SCHEDULER = "scrapy.core.scheduler.Scheduler" in the project\'s settings'),
        ("spider", 'SCHEDULER = "scrapy.core.scheduler.Scheduler" in the spider\'s custom_settings'),
        ("-s", "-s SCHEDULER=scrapy.core.scheduler.Scheduler on the command line"),
    ],
)
def test_with_another_scheduler_nothing_is_on(where: str, named: str, tmp_path: Path, site: MockSite) -> None:
    theirs = "scrapy.core.scheduler.Scheduler"
    custom = f'custom_settings = {{"SCHEDULER": "{theirs}"}}' if where == "spider" else "custom_settings = {}"
    settings = ONE_LINE + (f'SCHEDULER = "{theirs}"\n' if where == "project" else "")
    project = write_project(tmp_path, SPIDER.replace("custom_settings = {}", custom), settings)
    more = ("-s", f"SCHEDULER={theirs}") if where == "-s" else ()
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}", *more)
    told = lines(done.stderr, "WARNING")
    assert len(told) == 1
    assert f"another scheduler is set: {named}. Nothing of the add-on is active. Delete that line" in told[0]
    assert not [line for line in done.stderr.splitlines() if "mocra" in line and "WARNING" not in line]
    assert FINISHED in done.stderr


def test_a_subclass_of_ours_is_ours(tmp_path: Path, site: MockSite) -> None:
    own = "from mocra_scrapy.scheduler import Scheduler\n\n\nclass Own(Scheduler):\n    pass\n"
    project = write_project(tmp_path, SPIDER, ONE_LINE + 'SCHEDULER = "shop.own.Own"\n', own=own)
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}")
    assert not lines(done.stderr, "WARNING")
    assert OURS in done.stderr


def test_a_filter_that_is_left_over_is_named(tmp_path: Path, site: MockSite) -> None:
    own = "from scrapy.dupefilters import RFPDupeFilter\n\n\nclass Own(RFPDupeFilter):\n    pass\n"
    project = write_project(tmp_path, SPIDER, ONE_LINE + 'DUPEFILTER_CLASS = "shop.own.Own"\n', own=own)
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}")
    assert (
        len(lines(done.stderr, "WARNING", 'DUPEFILTER_CLASS = "shop.own.Own": it decides alone', "Delete that line"))
        == 1
    )
    assert FINISHED in done.stderr


@pytest.mark.parametrize("addon", [True, False], ids=["add-on", "scheduler alone"])
def test_the_backend_may_come_from_the_environment(
    addon: bool, tmp_path: Path, site: MockSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOCRA_BACKEND", "reddis://localhost")
    line = ONE_LINE if addon else 'SCHEDULER = "mocra_scrapy.scheduler.Scheduler"\n'
    project = write_project(tmp_path, SPIDER, line)
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}")
    assert done.returncode != 0
    assert "Did you mean redis://" in done.stderr
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}", "-s", "MOCRA_BACKEND=memory://")
    assert FINISHED in done.stderr, "a setting wins"


@pytest.mark.parametrize("addon", [True, False], ids=["add-on", "scheduler alone"])
def test_a_scrapy_that_is_too_old_gets_a_sentence(addon: bool, tmp_path: Path) -> None:
    line = ONE_LINE if addon else 'SCHEDULER = "mocra_scrapy.scheduler.Scheduler"\n'
    project = write_project(tmp_path, SPIDER, "import scrapy\nscrapy.version_info = (2, 13, 3)\n" + line)
    done = scrapy(project, "crawl", "shop", cold=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "mocra_scrapy needs Scrapy 2.14 or later, and this is 2.13.3. Upgrade it: pip install" in last
    assert not addon or "Traceback" not in done.stderr
