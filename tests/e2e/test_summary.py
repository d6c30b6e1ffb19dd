"""What real workers tell at their end, and the line at the bottom of a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.workers import PROJECT, Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually, unmeasured

pytestmark = pytest.mark.e2e

#: A line of the log, whole.
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[[\w.]+\] [A-Z]+: ")


def summaries(log: str) -> list[dict[str, str]]:
    """Each as its rows by name; the first line is ``head``."""
    found = []
    for block in log.split("[mocra_scrapy.extensions.summary] INFO: ")[1:]:
        lines = block.splitlines()
        rows = [line for line in lines[1:] if line.startswith("  ")]
        found.append({"head": lines[0]} | {line[2:15].strip(): line[15:] for line in rows})
    return found


def number(text: str) -> int:
    found = re.match(r"[\d,]+", text)
    assert found is not None, text
    return int(found[0].replace(",", ""))


def test_one_worker_tells_once(tmp_path: Path, site: MockSite) -> None:
    """Also without items, with a depth limit, errors, and a robots.txt that is not there."""
    spider = """
        import scrapy

        class Walker(scrapy.Spider):
            name = "walker"
            allowed_domains = ["127.0.0.1"]

            async def start(self):
                yield scrapy.Request(self.site + "/ok/0")

            def parse(self, response):
                n = int(response.url.rpartition("/")[2])
                yield response.follow(f"/ok/{n + 1}")
                yield response.follow(f"/ok/{n + 1}")
                yield response.follow("http://elsewhere.test/")
                if n == 1:
                    yield response.follow("/status/404/1")
                    raise ValueError("one")
    """
    project = write_project(tmp_path, spider, ONE_LINE + "DEPTH_LIMIT = 3\nROBOTSTXT_OBEY = True\n")
    done = scrapy(project, "crawl", "walker", "-a", f"site={site.url}")
    assert done.returncode == 0, done.stderr
    [told] = summaries(done.stderr)
    assert told["head"] == "Crawl 'shop:walker', run 1: finished by one worker"
    assert told["pages"].startswith("5 (")
    assert told["items"].startswith("0 (")
    assert told["errors"] == "2: http_4xx 1, parse 1"
    assert told["dead letters"] == "1: callback 1; memory:// keeps none of them after this process"
    assert "3 offsite" in told["not crawled"]
    assert "3 deeper than DEPTH_LIMIT" in told["not crawled"]
    assert "3 seen before" in told["not crawled"]
    assert done.stderr.rindex("Spider closed") < done.stderr.rindex("finished by one worker"), "it is the last word"
    silent = scrapy(project, "crawl", "walker", "-a", f"site={site.url}", "-s", "MOCRA_SUMMARY=False")
    assert summaries(silent.stderr) == []
    looked = scrapy(project, "fetch", f"{site.url}/ok/1", cold=True)
    assert summaries(looked.stderr) == [], "a look at one page is no crawl"


@pytest.mark.redis
def test_the_crawl_is_told_once_with_those_that_were_killed(site: MockSite, workers: Workers) -> None:
    options = {"MOCRA_LEASE": 2, "MOCRA_HEARTBEAT": 0.2, "MOCRA_HEARTBEAT_TTL": 2, "MOCRA_IDLE_POLL": 0.2}
    workers.together(3, site, "graph", DOWNLOAD_DELAY=0.02, **options)
    victim = workers.all[2]
    eventually(lambda: len(workers.events("item", pid=victim.pid)) >= 5)
    seen = len(site.arrivals())
    eventually(lambda: len(site.arrivals()) > seen + 20)  # it has reported since
    victim.kill()
    for worker in workers.all[:2]:
        assert worker.wait(60) == 0
    told = [summary for i in range(3) for summary in summaries(workers.log(i))]
    whole = [one for one in told if "by 3 workers" in one["head"]]
    assert [one["head"] for one in whole] == ["Crawl 'crawling:graph', run 1: finished, by 3 workers"]
    assert len(told) == 3, "two workers of themselves, one of all"
    of_workers = [one for one in told if one is not whole[0]]
    assert all("(closed: finished)" in one["head"] for one in of_workers)
    total, known = number(whole[0]["pages"]), sum(number(one["pages"]) for one in of_workers)
    assert known < total <= known + len(workers.events("item", pid=victim.pid)) + 20
    text = workers.log(0) + workers.log(1)
    assert "did not sign off, counted with what they last reported:" in text
    assert f"-{victim.pid}-" in text.partition("did not sign off")[2]


@pytest.mark.redis
def test_an_interrupted_crawl_is_told_as_such_and_added_up_at_its_end(site: MockSite, workers: Workers) -> None:
    first = workers.start("graph", site=site.url, DOWNLOAD_DELAY=0.02)
    eventually(lambda: len(workers.events("item")) >= 20)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    [told] = summaries(workers.log(0))
    assert told["head"].endswith("(closed: shutdown)")
    assert "waiting in the queue" in told["not done"]
    assert workers.start("graph", site=site.url).wait(60) == 0
    own, whole = summaries(workers.log(1))
    assert whole["head"] == "Crawl 'crawling:graph', run 1: finished, by 2 workers"
    assert number(whole["pages"]) == number(told["pages"]) + number(own["pages"])
    assert number(whole["pages"]) >= site.pages


@pytest.mark.redis
def test_the_command_that_it_names_shows_the_letters(site: MockSite, workers: Workers) -> None:
    assert (
        workers.start("moods", site=site.url, paths="moods/503/busy", RETRY_TIMES=1, MOCRA_RETRY_BASE=0).wait(60) == 0
    )
    [told] = summaries(workers.log())
    number_of, _, command = told["dead letters"].partition("; see them: scrapy ")
    assert number_of == "1: retry 1"
    assert told["errors"] == "2: http_5xx 2"
    assert told["retries"] == "1, 1 used up"
    shown = scrapy(PROJECT, *command.split())
    assert "1 dead letter: retry 1" in shown.stdout


def test_a_line_at_the_bottom_of_a_terminal(tmp_path: Path, site: MockSite) -> None:
    """It is drawn, and no line of the log is broken by it."""
    spider = """
        import scrapy

        class Slow(scrapy.Spider):
            name = "slow"

            async def start(self):
                for n in range(12):
                    yield scrapy.Request(f"{self.site}/slow/0.5/{n}")

            def parse(self, response):
                print("printed", response.url)
                yield {"url": response.url}
    """
    project = write_project(tmp_path, spider, ONE_LINE + "CONCURRENT_REQUESTS = 2\n")
    ours, theirs = pty.openpty()
    said = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(ours, 65536):
                said.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    command = [sys.executable, "-m", "scrapy", "crawl", "slow", "-a", f"site={site.url}"]
    environment = {**unmeasured(), "TERM": "xterm", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=project, env=environment, stdout=theirs, stderr=theirs, timeout=240, check=False)
    os.close(theirs)
    reader.join(10)
    os.close(ours)
    text = said.decode()
    assert done.returncode == 0, text
    drawn = re.findall(r"\r\x1b\[K(shop:slow: [^\r\n]*)", text)
    assert any("items | 0 errors |" in line for line in drawn)
    shown = [line.rpartition("\r\x1b[K")[2].rstrip("\r") for line in text.split("\n")]
    log = [line for line in shown if "INFO:" in line or "DEBUG:" in line]
    assert len(log) > 20
    assert all(LOG_LINE.match(line) for line in log)
    assert sum(line.startswith("printed http") for line in shown) == 12
    assert not any("shop:slow: " in line and "pages" in line for line in shown), "nothing of it is left behind"
