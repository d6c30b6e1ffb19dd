"""Whatever is wrong, it is said clearly; the crawl goes on; nothing is lost."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually, free_port
from tests.services.redis_server import RedisServer

pytestmark = pytest.mark.e2e

SPIDER = """
    import scrapy


    class Shop(scrapy.Spider):
        name = "shop"

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.site = site

        async def start(self):
            for n in range(40):
                yield scrapy.Request(f"{self.site}/slow/0.2/{n}", callback=self.CALLBACK)

        def CALLBACK(self, response):
            yield {"url": response.url}

        def parse(self, response):
            yield {"url": response.url}
"""


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"MOCRA_BACKEND": "reddis://localhost"}, "MOCRA_BACKEND: .*Did you mean redis://"),
        ({"MOCRA_BACKEND": "kafka+sql://localhost"}, "MOCRA_BACKEND: .*there is no backend for kafka\\+sql://"),
        ({"MOCRA_BACKEND": "localhost:6379"}, "MOCRA_BACKEND: .*is not the URL of a backend"),
        ({"MOCRA_BACKEND": "redis://localhost:6379/zero"}, "Write a number, as in redis://host:6379/0"),
        ({"MOCRA_LEASE": "-1"}, "MOCRA_LEASE: '-1' is not a time in seconds. Set a number from 1 to 86400"),
        ({"MOCRA_CLOSE": "maybe"}, "MOCRA_CLOSE: 'maybe' is unknown. Set one of 'finished', 'idle', 'never'"),
        ({"MOCRA_CODEC": "yaml"}, "MOCRA_CODEC: 'yaml' is unknown"),
        ({"MOCRA_THROTTLE": '{"shop.test:8000": "1/s"}'}, "MOCRA_THROTTLE.*Write 'shop.test'"),
        ({"JOBDIR": "job"}, "JOBDIR asks for a crawl that can be resumed"),
        (
            {"TWISTED_REACTOR": "twisted.internet.selectreactor.SelectReactor"},
            'Set TWISTED_REACTOR = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"',
        ),
    ],
    ids=lambda value: next(iter(value.items())).__repr__() if isinstance(value, dict) else "",
)
def test_wrong_settings_stop_the_crawl_with_a_sentence(settings: dict[str, str], says: str, tmp_path: Path) -> None:
    project = write_project(tmp_path, SPIDER)
    arguments = [part for name, value in settings.items() for part in ("-s", f"{name}={value}")]
    done = scrapy(project, "crawl", "shop", *arguments)
    assert done.returncode != 0
    assert re.search(says, done.stderr), done.stderr[-2000:]
    assert "Crawled (" not in done.stderr


def test_a_wrong_setting_without_the_addon(tmp_path: Path) -> None:
    project = write_project(tmp_path, SPIDER, 'SCHEDULER = "mocra_scrapy.scheduler.Scheduler"\n')
    done = scrapy(project, "crawl", "shop", "-s", "MOCRA_LEASE=0")
    assert done.returncode != 0
    assert "CRITICAL: MOCRA_LEASE: '0' is not a time in seconds" in done.stderr


def test_an_absent_server_is_told_in_time(tmp_path: Path, site: MockSite) -> None:
    project = write_project(tmp_path, SPIDER)
    backend = f"redis://user:hunter2@127.0.0.1:{free_port()}/0"
    done = scrapy(
        project,
        "crawl",
        "shop",
        "-a",
        f"site={site.url}",
        "-s",
        f"MOCRA_BACKEND={backend}",
        "-s",
        "MOCRA_START_TIMEOUT=0.5",
    )
    assert done.returncode != 0
    assert "Nobody answered within MOCRA_START_TIMEOUT = 0.5 s: is the server running" in done.stderr
    assert "hunter2" not in re.sub(r"'MOCRA_BACKEND': .*", "", done.stderr), "Scrapy itself logs overridden settings"
    assert not site.arrivals()


@pytest.mark.redis
def test_a_server_that_comes_late_is_waited_for(tmp_path: Path, site: MockSite, own_redis: RedisServer) -> None:
    own_redis.kill()
    project = write_project(tmp_path / "p", SPIDER.replace("CALLBACK", "parse_it").replace("range(40)", "range(3)"))
    workers = Workers(tmp_path, own_redis.url, project)
    try:
        workers.start("shop", site=site.url, MOCRA_START_TIMEOUT=20)
        eventually(lambda: "Overridden settings" in workers.log())
        own_redis.start()
        assert workers.wait() == [0]
    finally:
        workers.kill()
    assert len(site.arrivals()) == 3


@pytest.mark.redis
def test_a_callback_that_is_gone_makes_dead_letters(
    tmp_path: Path, site: MockSite, redis_url: str, redis_single: RedisServer
) -> None:
    """Interrupted, changed, resumed: requests for a method that no longer exists are kept, with the
    reason; others are fetched.
    """
    before = write_project(tmp_path / "before", SPIDER.replace("CALLBACK", "parse_old"))
    after = write_project(tmp_path / "after", SPIDER.replace("CALLBACK", "parse_new"))
    workers = Workers(tmp_path, redis_url, before)
    try:
        first = workers.start("shop", site=site.url, CONCURRENT_REQUESTS=2)
        eventually(lambda: "This worker seeds" in workers.log() and len(site.arrivals()) >= 3)
        first.send_signal(signal.SIGTERM)
        assert first.wait(300) == 0
    finally:
        workers.kill()
    fetched = len(site.arrivals())
    assert fetched < 40
    done = scrapy(after, "crawl", "shop", "-a", f"site={site.url}", "-s", f"MOCRA_BACKEND={redis_url}")
    assert done.returncode == 0
    assert "resumes run 1" in done.stderr
    assert "callback 'parse_old' is no longer a method of spider 'shop'" in done.stderr
    assert "'finish_reason': 'finished'" in done.stderr
    assert len(site.arrivals()) == fetched
    with redis_single.client() as client:
        dead = client.hlen("mocra:{shop:shop:0}:dead")
    assert fetched + dead == 40
    assert f"'mocra/scheduler/unreadable': {dead}" in done.stderr


LOCAL = """
    import os

    import scrapy


    class Shop(scrapy.Spider):
        name = "shop"

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.site = site

        async def start(self):
            yield scrapy.Request(f"{self.site}/ok/parent")

        def parse(self, response):
            yield scrapy.Request(f"{self.site}/ok/stored", callback=self.child)
            yield scrapy.Request(f"{self.site}/ok/lambda", callback=lambda r: self.child(r))
            yield scrapy.Request(f"{self.site}/ok/object", callback=self.child, meta={"page": {"file": open(os.devnull)}})

        def child(self, response):
            yield {"child": response.url.rpartition("/")[2]}
            if response.url.endswith("lambda") and not os.path.exists("died"):
                open("died", "w").close()
                os._exit(9)
"""


@pytest.mark.redis
def test_what_cannot_be_stored_is_not_lost_with_its_worker(tmp_path: Path, site: MockSite, redis_url: str) -> None:
    """Such requests live in memory, and their parent is not acknowledged before they are done: a
    crash makes them again.
    """
    project = write_project(tmp_path, LOCAL)
    arguments = ("crawl", "shop", "-a", f"site={site.url}", "-s", f"MOCRA_BACKEND={redis_url}", "-s", "MOCRA_LEASE=1")
    assert scrapy(project, *arguments).returncode == 9
    done = scrapy(project, *arguments)
    assert done.returncode == 0
    assert done.stderr.count("Unable to serialize request") == 2, "once for each reason"
    assert (
        "meta['page']['file']: _io.TextIOWrapper can't be stored. Open it in the callback that needs it" in done.stderr
    )
    assert "<lambda>' is not a method of spider 'shop'" in done.stderr
    for part in ("", "/callback", "/meta/page"):
        assert f"'mocra/scheduler/unserializable{part}': {1 if part else 2}" in done.stderr
    assert {p for p, times in site.arrivals().items() if times} >= {
        "/ok/parent",
        "/ok/stored",
        "/ok/lambda",
        "/ok/object",
    }
    assert site.count("/ok/parent") == 2
    for name in ("stored", "lambda", "object"):
        assert f"{{'child': '{name}'}}" in done.stderr or name == "stored"
    assert "'finish_reason': 'finished'" in done.stderr


@pytest.mark.redis
def test_require_serializable_says_so(
    tmp_path: Path, site: MockSite, redis_url: str, redis_single: RedisServer
) -> None:
    project = write_project(tmp_path, LOCAL, ONE_LINE + "MOCRA_REQUIRE_SERIALIZABLE = True\n")
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}", "-s", f"MOCRA_BACKEND={redis_url}")
    assert done.returncode == 0
    assert "can't be kept: callback: " in done.stderr
    assert not (project / "died").exists()
    assert set(site.arrivals()) == {"/ok/parent", "/ok/stored"}
    with redis_single.client() as client:
        assert client.hlen("mocra:{shop:shop:0}:dead") == 1
    assert "'finish_reason': 'finished'" in done.stderr


@pytest.mark.redis
def test_a_full_server_pauses_the_crawl(tmp_path: Path, site: MockSite, own_redis: RedisServer) -> None:
    """Out of memory is an outage like any other: told, waited for, survived."""
    project = write_project(tmp_path / "p", SPIDER.replace("CALLBACK", "parse_it"))
    workers = Workers(tmp_path, own_redis.url, project)
    try:
        workers.start("shop", site=site.url, CONCURRENT_REQUESTS=4)
        eventually(lambda: len(site.arrivals()) >= 4)
        with own_redis.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1")
            eventually(lambda: "its memory is full (maxmemory)" in workers.log())
            client.config_set("maxmemory", "0")
        assert workers.wait() == [0]
    finally:
        workers.kill()
    assert len(site.arrivals()) == 40
    assert "is back after" in workers.log()
