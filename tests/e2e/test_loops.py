"""asyncio, uvloop, no reactor at all: the same crawl, and the same safety. Commands for a person
keep working beside it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from scrapy.settings import default_settings

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = pytest.mark.e2e

LOOPS: dict[str, dict[str, str]] = {"asyncio": {}, "uvloop": {"ASYNCIO_EVENT_LOOP": "uvloop.Loop"}}
if hasattr(default_settings, "TWISTED_REACTOR_ENABLED"):
    LOOPS["reactorless"] = {"TWISTED_REACTOR_ENABLED": "False"}


@pytest.mark.redis
@pytest.mark.parametrize("loop", LOOPS)
def test_a_crawl_is_interrupted_killed_and_finished(loop: str, site: MockSite, workers: Workers) -> None:
    options = {"site": site.url, "MOCRA_LEASE": 1, "CONCURRENT_REQUESTS": 4, "DOWNLOAD_DELAY": 0.01, **LOOPS[loop]}
    first = workers.start("graph", **options)
    eventually(lambda: len(site.arrivals()) > 20)
    first.send_signal(signal.SIGTERM)
    assert first.wait(300) == 0
    victim = workers.start("graph", **options)
    eventually(lambda: len(site.arrivals()) > 60)
    victim.kill()
    victim.wait()
    workers.start("graph", **options)
    workers.wait()
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())
    assert len(workers.events("finished")) == 1
    assert [e["reason"] for e in workers.events("closed")] == ["shutdown", "finished"]
    assert "Traceback" not in workers.log(2)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_memory_backend_on_every_loop(loop: str, site: MockSite, workers_on: Callable[[str], Workers]) -> None:
    workers = workers_on("memory://")
    workers.start("graph", site=site.url, cold=True, **LOOPS[loop])
    assert workers.wait() == [0]
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())
    assert workers.events("closed")[0]["reason"] == "finished"
    assert "Traceback" not in workers.log()


# ---------------------------------------------------------------------- commands for a person
# Whether one is a one-off is read from the process's own command line: cold ones.

SPIDER = '''
    import scrapy


    class Shop(scrapy.Spider):
        """
        For scrapy check.
        """

        name = "shop"

        def parse(self, response):
            """Contracts of Scrapy's.

            @url SITE/page/0
            @returns items 1 1
            @returns requests 2
            """
            yield {"title": response.css("title::text").get()}
            yield from response.follow_all(css="a")
'''


@pytest.fixture
def project(tmp_path: Path, site: MockSite) -> Path:
    """Its backend is nowhere: a command that touched it would fail."""
    settings = ONE_LINE + 'MOCRA_BACKEND = "redis://127.0.0.1:1/0"\nMOCRA_START_TIMEOUT = 0.1\n'
    return write_project(tmp_path, SPIDER.replace("SITE", site.url), settings)


def test_fetch(project: Path, site: MockSite) -> None:
    done = scrapy(project, "fetch", "--nolog", f"{site.url}/ok/1", cold=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "<title>page</title>" in done.stdout


def test_parse(project: Path, site: MockSite) -> None:
    done = scrapy(project, "parse", "--nolog", "--spider", "shop", f"{site.url}/page/0", cold=True)
    assert done.returncode == 0
    assert "[{'title': 'page'}]" in done.stdout
    assert f"<GET {site.url}/page/1>" in done.stdout


def test_shell(project: Path, site: MockSite) -> None:
    done = scrapy(project, "shell", "--nolog", "-c", "response.css('title::text').get()", f"{site.url}/ok/1", cold=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "page"
    done = scrapy(project, "shell", "-c", "response.status", f"{site.url}/ok/1")
    assert "Traceback" not in done.stderr
    assert " ERROR: " not in done.stderr
    both = f"fetch('{site.url}/ok/2'); print(response.url)\n"
    done = scrapy(project, "shell", "--nolog", f"{site.url}/ok/1", stdin=both)
    assert f"{site.url}/ok/2" in done.stdout
    assert site.count("/ok/2") == 1


def test_check(project: Path) -> None:
    done = scrapy(project, "check", "shop", cold=True)
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stderr


def test_list_settings_and_genspider(project: Path) -> None:
    assert scrapy(project, "list").stdout.split() == ["shop"]
    assert scrapy(project, "settings", "--get", "BOT_NAME").stdout.strip() == "shop"
    assert scrapy(project, "genspider", "other", "example.com").returncode == 0


def test_runspider_without_a_project(tmp_path: Path, site: MockSite) -> None:
    (tmp_path / "one.py").write_text(
        "import scrapy\n\n\nclass One(scrapy.Spider):\n    name = 'one'\n"
        "    custom_settings = {'ADDONS': {'mocra_scrapy.Addon': 300}, 'MOCRA_QUEUE_ORDER': 'fifo'}\n"
        f"    start_urls = ['{site.url}/page/0']\n\n    def parse(self, response):\n        yield {{'u': response.url}}\n"
        "        yield from response.follow_all(css='a')\n"
    )
    done = scrapy(tmp_path, "runspider", "one.py", "-O", "out.jsonl")
    assert done.returncode == 0
    # One more: start_urls are given with dont_filter, so the page comes once more by the links to
    # it, as in plain Scrapy.
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == site.pages + 1
