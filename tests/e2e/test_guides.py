"""The guides followed word for word: their blocks are taken from the pages and run in an ordinary
project, and each result that the pages state is looked for. (The quickstart: ``test_template``.)
"""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.projects import scrapy, write_project
from tests.e2e.test_summary import summaries
from tests.e2e.workers import Workers
from tests.mocksite import ROOT, MockSite
from tests.services.processes import eventually, unmeasured

# Each is a dozen of crawls, one after the other.
pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(1200)]

BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n\n((?:   .*\n|\n)+)", re.MULTILINE)

BOOKS = """
    from scrapy.linkextractors import LinkExtractor
    from scrapy.spiders import CrawlSpider, Rule


    class Books(CrawlSpider):
        name = "books"
        start_urls = ["SITE/page/0"]
        allowed_domains = ["127.0.0.1"]
        rules = [Rule(LinkExtractor(allow="/page/"), callback="parse_page", follow=True)]

        def parse_page(self, response):
            yield {"url": response.url, "text": response.meta["link_text"]}
"""


class Guide:
    """A page; :meth:`take` gives its blocks of a kind in their order, each once."""

    def __init__(self, name: str) -> None:
        self.text = (ROOT / "docs" / "guides" / f"{name}.rst").read_text(encoding="utf-8")
        self.words = re.sub(r"\s+", " ", self.text)
        self._blocks = [(kind, textwrap.dedent(text).strip() + "\n") for kind, text in BLOCK.findall(self.text)]

    def take(self, kind: str) -> str:
        number = next(n for n, block in enumerate(self._blocks) if block[0] == kind)
        return self._blocks.pop(number)[1]

    def commands(self) -> str:
        return "\n".join(re.findall(r"^\$ (.*)", self.take("console"), re.MULTILINE))

    def done(self) -> None:
        assert self._blocks == [], "a block that nobody followed"


def pages(site: MockSite) -> dict[str, int]:
    return {f"{site.url}/page/{n}": 1 for n in range(site.pages)}


def urls(path: Path) -> Counter[str]:
    return Counter(json.loads(line)["url"] for line in path.read_text().splitlines())


def shell(commands: str, project: Path, backend: str) -> str:
    """As somebody types them, one after the other; what was said when all have ended."""
    environment = {
        **unmeasured(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MOCRA_BACKEND": backend,
    }
    done = subprocess.run(
        ["sh", "-c", f"set -e\n{commands}\nwait"],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_existing_projects(site: MockSite, tmp_path: Path, redis_url: str, workers: Workers) -> None:
    guide = Guide("existing-project")
    spider = BOOKS.replace("SITE", site.url)

    def crawled(name: str, settings: str, *more: str) -> str:
        project = write_project(tmp_path / name, more[0] if more else spider, settings)
        done = scrapy(project, "crawl", "books", "-O", "items.jsonl")
        assert done.returncode == 0, done.stderr[-3000:]
        assert "'log_count/ERROR'" not in done.stderr
        if not more:
            assert urls(project / "items.jsonl") == pages(site)
        return done.stderr

    ours, theirs = "mocra_scrapy.scheduler.Scheduler", "scrapy.core.scheduler.Scheduler"
    assert ours not in crawled("before", "")
    line = guide.take("python")
    assert "begins run 1 of crawl 'shop:books'" in crawled("one line", line)
    backend = guide.take("python").replace("redis://localhost:6379/0", redis_url)
    assert "begins run 1 of crawl 'shop:books'" in crawled("two lines", line + backend)
    alone = guide.take("python").replace("redis://localhost:6379/0", redis_url)
    assert "ADDONS" not in alone
    assert "begins run 2 of crawl 'shop:books'" in crawled("without the add-on", alone), "the server knows the first"
    assert "``MOCRA_ENABLED = False`` disables the add-on completely" in guide.text
    assert "of crawl 'shop:books'" not in crawled("disabled", line + "MOCRA_ENABLED = False\n")
    other = crawled("another scheduler", line + f"SCHEDULER = {theirs!r}\n")
    assert "of crawl 'shop:books'" not in other
    assert "A warning names the line to delete" in guide.words
    assert re.search(r"WARNING: .*SCHEDULER.*[Dd]elete", other)
    typo = crawled("typo", line + "MOCRA_PREFECH = 3\n")
    assert len(re.findall(r"WARNING: .*MOCRA_PREFECH\b.*MOCRA_PREFETCH\b", typo)) == 1
    logs_in(guide.take("python"), line, site, tmp_path, workers)
    # A class of the project's own in meta: the block stands in the spider's module.
    own = (
        guide.take("python")
        + textwrap.dedent("""
        import scrapy


        class Books(scrapy.Spider):
            name = "books"
            start_urls = ["SITE/links/9"]

            def parse(self, response):
                yield from response.follow_all(css="a", callback=self.parse_page, meta={"price": Money(7, "EUR")})

            def parse_page(self, response):
                price = response.meta["price"]
                yield {"url": response.url, "price": f"{type(price).__name__} {price.amount} {price.currency}"}
        """)
    ).replace("SITE", site.url)
    said = crawled("money", line + backend + 'MOCRA_CRAWL = "money"\n', own)
    assert "unserializable" not in said
    written = [json.loads(one) for one in (tmp_path / "money" / "items.jsonl").read_text().splitlines()]
    assert [item["price"] for item in written] == ["Money 7 EUR"] * 9
    guide.done()


def logs_in(spider: str, line: str, site: MockSite, tmp_path: Path, workers: Workers) -> None:
    """On each of two workers, both of which get pages: each has one request under way at once, and
    the site waits for two.
    """
    workers.project = write_project(tmp_path / "members", spider.replace("https://shop.example", site.url), line)
    site.gate(2)
    options = {"CONCURRENT_REQUESTS": 1, "MOCRA_PREFETCH": 0}
    workers.together(2, site, "members", **options, FEEDS=json.dumps({"items.jsonl": {"format": "jsonlines"}}))
    assert workers.wait() == [0, 0]
    items = [json.loads(one) for one in (tmp_path / "members" / "items.jsonl").read_text().splitlines()]
    assert sorted((item["url"], item["status"]) for item in items) == sorted(
        (f"{site.url}/members/{n}", 200) for n in range(30)
    )
    assert site.count("/login") >= 2


def test_several_workers(site: MockSite, tmp_path: Path, workers: Workers) -> None:
    """They end together, are stopped, resumed, and killed; the summary has the page's rows."""
    guide = Guide("several-workers")
    assert "``project:spider`` (``shop:books``)" in guide.text
    assert re.findall(r'^   \* - ``"(\w+)"``$', guide.text, re.MULTILINE) == ["finished", "idle", "never"]
    spider = BOOKS.replace("SITE", site.url).replace(
        'yield {"url"',
        """yield response.follow("/status/404")
            yield response.follow("/sick/one")
            yield response.follow("http://elsewhere.test/")
            yield {"url\"""",
    )
    slow = {"DOWNLOAD_DELAY": 0.02, "CONCURRENT_REQUESTS": 4, "MOCRA_RETRY_BASE": 0.05}
    workers.project = write_project(tmp_path / "project", spider, 'ADDONS = {"mocra_scrapy.Addon": 300}\n')
    # "Stopping": after one SIGTERM it hands back what it had leased, and leaves; the next start resumes.
    workers.together(2, site, "books", **slow)
    eventually(lambda: len(site.arrivals()) > 10)
    for worker in workers.all:
        worker.send_signal(signal.SIGTERM)
    assert workers.wait() == [0, 0]
    for number in (0, 1):
        assert "'finish_reason': 'shutdown'" in workers.log(number)
        assert "begins run 1" in workers.log(number) or "joins run 1" in workers.log(number)
    before = set(site.arrivals())
    assert f"/page/{site.pages - 1}" not in before or len(before) < site.pages
    # One of three is killed: the others say so, and take over at once, not when its lease of 60 s ends.
    workers.together(3, site, "books", **slow)
    assert "resumes run 1 of crawl 'shop:books'" in "".join(workers.log(n) for n in (2, 3, 4))
    eventually(lambda: len(site.arrivals()) > len(before) + 10)
    workers.all[3].kill()
    codes = workers.wait()
    assert (codes[2], codes[3], codes[4]) == (0, -signal.SIGKILL, 0)
    logs = [workers.log(n) for n in (2, 4)]
    assert any("died: its process is gone" in log for log in logs), logs
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())
    seeds = "".join(workers.log(n) for n in range(5)).count("This worker seeds run 1")
    assert seeds == 1, "start() is not run again if it was exhausted"
    assert "*still closing* those" in guide.text
    check_summary(guide.take("text"), logs)
    # "After a crawl has finished, the next start begins a new run"; with MOCRA_KEEP_SEEN only what is new.
    site.reset()
    workers.start("books", site=site.url, MOCRA_KEEP_SEEN=True)
    assert workers.wait()[5] == 0
    assert "begins run 2" in workers.log(5)
    assert f"/page/{site.pages - 1}" in site.arrivals()
    site.reset()
    workers.start("books", site=site.url, MOCRA_KEEP_SEEN=True, MOCRA_SUMMARY=False)
    assert workers.wait()[6] == 0
    assert "begins run 3" in workers.log(6)
    assert {path for path in site.arrivals() if path.startswith("/page/")} <= {"/page/0"}
    assert summaries(workers.log(6)) == [], "MOCRA_SUMMARY = False switches the summaries off"
    guide.done()


def check_summary(shown: str, logs: list[str]) -> None:
    """The crawl's own summary, told once, has the rows that the page shows; some are told only if
    there is something to tell.
    """
    head = re.compile(r"Crawl 'shop:books', run 1: finished, by \d+ workers")
    told = [found for log in logs for found in summaries(log) if head.fullmatch(found["head"])]
    assert len(told) == 1
    (summary,) = told
    lines = shown.splitlines()
    assert head.fullmatch(lines[0])
    rows = {line[2:15].strip() for line in lines[1:] if line.startswith("  ") and line.strip() != "…"}
    assert {"pages", "items", "errors", "retries", "not crawled", "received", "time"} <= rows
    assert set(summary) - {"head", "still closing"} <= rows, "a row that the page doesn't show"
    assert set(summary) >= {"pages", "items", "errors", "retries", "not crawled", "received", "time"}
    for what in ("errors", "not crawled"):
        assert re.match(r"[\d,]+", summary[what])
    assert "http_4xx" in summary["errors"]
    assert "offsite" in summary["not crawled"]
    assert "seen before" in summary["not crawled"]


def test_results(site: MockSite, tmp_path: Path, redis_url: str) -> None:
    guide = Guide("results")
    line = 'ADDONS = {"mocra_scrapy.Addon": 300}\n'
    project = write_project(tmp_path / "project", BOOKS.replace("SITE", site.url), line)
    # The refusal, in the page's words.
    words = guide.take("text").strip()
    refused = scrapy(project, "crawl", "books", "-O", "items.json", "-s", f"MOCRA_BACKEND={redis_url}")
    assert refused.returncode == 1
    assert words in refused.stderr
    assert not site.arrivals()
    # Three workers, as they are typed. Whichever comes when the crawl is finished begins the next run.
    commands = guide.commands()
    assert commands.count("scrapy crawl books -O books.jsonl") == 3
    assert commands.count("&") == 2
    shell(commands, project, redis_url)
    assert urls(project / "books.jsonl") == pages(site)
    # The same with CSV, put together.
    shell(commands.replace(".jsonl", ".csv"), project, redis_url)
    shell(guide.commands(), project, redis_url)
    with (project / "books.csv").open(newline="") as file:
        assert Counter(row["url"] for row in csv.DictReader(file)) == pages(site)
    assert (project / ".books.jsonl.mocra").exists(), "the hidden file beside it"
    said = shell(guide.commands(), project, redis_url)
    assert re.search(r"\b0\b|[Nn]o ", said), said
    guide.done()
