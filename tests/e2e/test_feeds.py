"""Feeds of several workers of which any may be killed: nothing is lost, nothing is spoilt."""

from __future__ import annotations

import csv
import json
import re
import shlex
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

#: Slow enough that there is a middle of the crawl to kill somebody in.
SLOW = {"DOWNLOAD_DELAY": 0.02, "CONCURRENT_REQUESTS": 4, "MOCRA_LEASE": 3}


def feed(path: Path, **options: Any) -> str:
    return json.dumps({str(path): options})


def lines(path: Path) -> list[dict[str, Any]]:
    """Each line is whole and JSON."""
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def rows(folder: Path) -> list[dict[str, str]]:
    found = []
    for path in folder.glob("items-*.csv"):
        with path.open(newline="") as file:
            found += list(csv.DictReader(file))
    return found


def pages(site: MockSite) -> set[str]:
    return {f"{site.url}/page/{n}" for n in range(site.pages)}


def crawl_with_a_kill(workers: Workers, site: MockSite, **settings: Any) -> None:
    """Three workers, one of them killed in the middle, another one that comes after that."""
    workers.together(3, site, "graph", **SLOW, **settings)
    eventually(lambda: len(site.arrivals()) > 30)
    eventually(lambda: workers.events("item", workers.all[1].pid), what="the one that is killed has scraped something")
    workers.all[1].kill()
    workers.start("graph", site=site.url, **SLOW, **settings)
    codes = workers.wait()
    assert codes[1] == -signal.SIGKILL
    assert [codes[n] for n in (0, 2, 3)] == [0, 0, 0]


def test_json_lines_lose_nothing(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"url": "of another day"}\n')
    crawl_with_a_kill(workers, site, FEEDS=feed(path, overwrite=True, format="jsonlines"))
    found = Counter(item["url"] for item in lines(path))
    assert set(found) == pages(site), "every item, and none of before"
    scraped = Counter(event["url"] for event in workers.events("item"))
    assert all(found[url] >= 1 for url in scraped)
    assert sum(found.values()) <= site.pages + 8, "repeats are what the killed worker had in flight"
    # The next run begins anew, by the same command.
    workers.start("graph", site=site.url, FEEDS=feed(path, overwrite=True, format="jsonlines"))
    workers.wait()
    assert Counter(item["url"] for item in lines(path)) == dict.fromkeys(pages(site), 1)


def test_csv_loses_nothing(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    before = tmp_path / "items-host.example-17-0123abcd.csv"
    others = [tmp_path / "items-2026.csv", tmp_path / "items.csv", tmp_path / "more-host-17-0123abcd.csv"]
    for path in (before, *others):
        path.write_text("url\nof another day\n")
    crawl_with_a_kill(workers, site, FEEDS=feed(tmp_path / "items.csv", overwrite=True, format="csv"))
    assert not before.exists(), "a file that a worker of an earlier run has left"
    for path in others:
        assert path.read_text() == "url\nof another day\n", "nobody else's file is touched"
        path.unlink()
    files = list(tmp_path.glob("items*.csv"))
    assert len(files) == 4, "one for each worker"
    assert all(path.read_text().startswith("url\n") or path.read_bytes().startswith(b"url\r\n") for path in files)
    assert {row["url"] for row in rows(tmp_path)} == pages(site), "one header a file, and no other"


def test_a_run_that_is_resumed_goes_on_with_its_file(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    options = {**SLOW, "MOCRA_LEASE": 1, "FEEDS": feed(path, overwrite=True, format="jsonlines")}
    worker = workers.start("graph", site=site.url, **options)
    eventually(lambda: path.exists() and path.read_text().count("\n") > 20)
    worker.kill()
    workers.start("graph", site=site.url, **options)
    assert workers.wait()[1] == 0
    assert {item["url"] for item in lines(path)} == pages(site)


def test_a_lost_record_empties_nothing(
    site: MockSite, workers_on: Callable[[str], Workers], own_redis: RedisServer, tmp_path: Path
) -> None:
    """The server came back empty: for it the crawl is a new one, and for the file it is not."""
    workers, path = workers_on(own_redis.url), tmp_path / "items.jsonl"
    options = {**SLOW, "FEEDS": feed(path, overwrite=True, format="jsonlines")}
    workers.together(2, site, "graph", **options)
    eventually(lambda: path.exists() and path.read_text().count("\n") > 20)
    before = path.read_text()
    with own_redis.client() as client:
        client.flushall()
    workers.start("graph", site=site.url, **options)
    workers.until_open(2)
    eventually(lambda: all("lost crawl" in workers.log(n) for n in (0, 1)))
    # What they write from now on is the new record's: another one that comes when they are gone empties nothing.
    for worker in workers.all[:2]:
        worker.kill()
    workers.start("graph", site=site.url, **options)
    workers.wait()
    assert path.read_text().startswith(before)
    assert {item["url"] for item in lines(path)} == pages(site)


def test_two_runs_wait_for_each_other(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    """A file that another crawl still writes is not emptied under its hands."""
    path = tmp_path / "items.jsonl"
    feeds = feed(path, overwrite=True, format="jsonlines")
    first = workers.start("list", site=site.url, paths="ok/1,slow/60/1", FEEDS=feeds, MOCRA_CRAWL="first")
    eventually(lambda: path.exists() and path.read_text())
    second = workers.start(
        "list", site=site.url, paths="ok/2", FEEDS=feeds, MOCRA_CRAWL="second", MOCRA_LEASE=1, MOCRA_STOP_TIMEOUT=1
    )
    assert second.wait(300) == 1
    assert "another run has been writing it for 1 s" in workers.log(1)
    assert lines(path) == [{"url": f"{site.url}/ok/1"}]
    first.kill()
    workers.start("list", site=site.url, paths="ok/2", FEEDS=feeds, MOCRA_CRAWL="second")
    assert workers.wait()[2] == 0
    assert lines(path) == [{"url": f"{site.url}/ok/2"}]


@pytest.mark.parametrize(
    ("uri", "options", "fix"),
    [
        ("items.json", {"format": "json"}, "items-%(mocra_worker)s.json"),
        ("out/items.xml", {"format": "xml"}, "out/items-%(mocra_worker)s.xml"),
        (
            "items.jsonl.gz",
            {"format": "jsonlines", "postprocessing": ["scrapy.extensions.postprocessing.GzipPlugin"]},
            "items-%(mocra_worker)s.jsonl.gz",
        ),
        ("ftp://user:hunter2@127.0.0.1/items.csv", {"format": "csv"}, "127.0.0.1/items-%(mocra_worker)s.csv"),
    ],
)
def test_what_several_workers_cannot_write_is_refused(
    uri: str, options: dict[str, Any], fix: str, site: MockSite, workers: Workers
) -> None:
    workers.start("graph", site=site.url, FEEDS=json.dumps({uri: options}))
    assert workers.wait() == [1]
    assert "Traceback" not in workers.log()
    (line,) = [line for line in workers.log().splitlines() if "CRITICAL" in line]
    assert "FEEDS '" in line
    assert fix in line
    assert "hunter2" not in line
    assert not site.arrivals()


def test_feeds_that_a_spider_sets_itself_are_refused_as_well(site: MockSite, redis_url: str, tmp_path: Path) -> None:
    """In its ``from_crawler``, after the add-on has looked."""
    own = """
        @classmethod
        def from_crawler(cls, crawler, **kwargs):
            crawler.settings.set("FEEDS", {FEEDS}, "spider")
            return super().from_crawler(crawler, **kwargs)
"""
    for number, (feeds, code) in enumerate([({"x.json": {"format": "json"}}, 1), ({"x.jl": {"format": "jl"}}, 0)]):
        spider = SPIDER + own.replace("{FEEDS}", repr(feeds))
        project = write_project(tmp_path / str(number), spider, f"{ONE_LINE}MOCRA_BACKEND = {redis_url!r}\n")
        done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}")
        assert done.returncode == code, done.stderr
        assert ("CRITICAL: FEEDS 'x.json': several workers can't write one json file" in done.stderr) == (code == 1)
        assert "Traceback" not in done.stderr
    assert len(lines(project / "x.jl")) == 7


def test_other_formats_have_a_file_for_each_worker(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    uri = tmp_path / "items-%(mocra_worker)s.json"
    workers.together(2, site, "graph", CONCURRENT_REQUESTS=4, FEEDS=feed(uri, format="json"))
    assert workers.wait() == [0, 0]
    files = list(tmp_path.glob("items-*.json"))
    assert len(files) == 2
    assert {item["url"] for path in files for item in json.loads(path.read_text())} == pages(site)
    for number in (0, 1):
        assert workers.log(number).count("if the worker is killed, the items in its open file are lost") == 1


def test_a_full_disk_is_told_and_its_pages_are_kept(site: MockSite, workers: Workers, redis_url: str) -> None:
    feeds = feed(Path("/dev/full"), format="jsonlines")
    workers.start("graph", site=site.url, FEEDS=feeds, CONCURRENT_REQUESTS=1)
    assert workers.wait() == [0]
    assert workers.log().count("Feed /dev/full can't be written: No space left on device") == 1
    (closed,) = workers.events("closed")
    assert closed["reason"] == "mocra_feed_failed"
    failed = closed["stats"]["mocra/feeds/failed"]
    assert closed["stats"]["mocra/dead/item"] == failed >= 1
    project = Path(__file__).parent / "project"
    kept = scrapy(project, "mocra", "dead", "export", "graph", "-s", f"MOCRA_BACKEND={redis_url}")
    assert f"{site.url}/page/0" in kept.stdout, kept.stdout + kept.stderr
    assert "No space left on device" in kept.stdout
    # There is room again: what the log says.
    (said,) = re.findall("When there is room: scrapy (.*)", workers.log())
    again = scrapy(project, *shlex.split(said), "-s", f"MOCRA_BACKEND={redis_url}")
    assert again.returncode == 0, again.stdout + again.stderr
    path = workers.folder / "items.jsonl"
    workers.start("graph", site=site.url, FEEDS=feed(path, format="jsonlines"))
    workers.wait()
    assert {item["url"] for item in lines(path)} == pages(site)


def test_a_place_that_cannot_be_written_stops_the_start(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for number, path in enumerate((tmp_path, tmp_path / "file" / "items.jsonl")):
        workers.start("graph", site=site.url, FEEDS=feed(path, format="jsonlines"))
        assert workers.all[number].wait(300) == 1
        assert f"FEEDS '{path}': " in workers.log(number)
        assert "can't be written: " in workers.log(number)
        assert "name another file" in workers.log(number)
    assert not site.arrivals()


SPIDER = """
    import scrapy

    class Shop(scrapy.Spider):
        name = "shop"

        async def start(self):
            yield scrapy.Request(f"{self.site}/ok/1")

        def parse(self, response):
            for n in range(7):
                yield {"n": n, "kind": "odd" if n % 2 else "even", "text": "Zoë\\nÜ"}
"""
FEEDS = """
    from pathlib import Path
    from scrapy import signals
    import json

    class Even:
        def __init__(self, options):
            pass
        def accepts(self, item):
            return item["kind"] == "even"

    class Nothing(Even):
        def accepts(self, item):
            return False

    class Storage:
        def __init__(self, uri, *, feed_options=None):
            self.path = Path(uri.partition("://")[2])
        def open(self, spider):
            return self.path.open("wb")
        def store(self, file):
            file.close()

    from scrapy.exporters import JsonLinesItemExporter

    class Piecewise(JsonLinesItemExporter):
        def export_item(self, item):
            for piece in json.dumps(dict(item)):
                self.file.write(piece.encode())
            self.file.write(b"\\n")

    def params(params, spider):
        return {**params, "greeting": "hello"}

    class Told:
        def __init__(self, crawler):
            self.crawler = crawler
            crawler.signals.connect(self.slot, signals.feed_slot_closed)
            crawler.signals.connect(self.all, signals.feed_exporter_closed)
        @classmethod
        def from_crawler(cls, crawler):
            return cls(crawler)
        def slot(self, slot):
            self.crawler.stats.inc_value(f"told/{slot.format}/{slot.itemcount}")
        def all(self):
            self.crawler.stats.inc_value("told/all")
"""
SETTINGS = """
    from pathlib import Path
    EXTENSIONS = {"shop.feeds.Told": 1}
    FEED_STORAGES = {"mine": "shop.feeds.Storage"}
    FEED_EXPORTERS = {"pieces": "shop.feeds.Piecewise"}
    FEED_EXPORT_ENCODING = "utf-8"
    FEEDS = {
        Path("path.jsonl"): {"format": "jsonlines"},
        "relative.jl": {"format": "jl", "fields": {"n": "number"}},
        f"file://{Path('absolute.jsonl').absolute()}": {"format": "jsonlines", "encoding": "latin-1"},
        "even-%(greeting)s.jsonl": {"format": "jsonlines", "item_filter": "shop.feeds.Even", "uri_params": "shop.feeds.params"},
        "batch-%(batch_id)03d.jsonl": {"format": "jsonlines", "batch_item_count": 3},
        "time-%(batch_time)s.csv": {"format": "csv", "batch_item_count": 4},
        "utf16.jsonl": {"format": "jsonlines", "encoding": "utf-16-le"},
        "none.jsonl": {"format": "jsonlines", "item_filter": "shop.feeds.Nothing", "store_empty": False},
        "empty.jsonl": {"format": "jsonlines", "item_filter": "shop.feeds.Nothing", "store_empty": True},
        "table.csv": {"format": "csv", "fields": ["kind", "n"], "item_export_kwargs": {"delimiter": ";"}},
        "pieces.jsonl": {"format": "pieces"},
        "mine://mine.xml": {"format": "xml"},
        "zipped-PART.jsonl.gz": {
            "format": "jsonlines",
            "postprocessing": ["scrapy.extensions.postprocessing.GzipPlugin"],
            "gzip_mtime": 0,
            "gzip_filename": "",
        },
        "list-PART.json": {"format": "json", "indent": 2},
        "stdout:": {"format": "jsonlines"},
    }
"""


@pytest.mark.parametrize("command", ["crawl", "parse"])
def test_a_workers_own_part_works_on_memory(command: str, site: MockSite, tmp_path: Path) -> None:
    settings = ONE_LINE + 'FEEDS = {"x-%(mocra_worker)s-%(name)s.json": {"format": "json"}}\n'
    project = write_project(tmp_path / "p", SPIDER, settings)
    what = ["shop"] if command == "crawl" else ["--spider=shop", f"{site.url}/ok/1"]
    done = scrapy(project, command, *what, "-a", f"site={site.url}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (path,) = project.glob("x-*-shop.json")
    assert len(json.loads(path.read_text())) == (7 if command == "crawl" else 0)


def test_all_that_feeds_can_do_is_as_in_scrapy(site: MockSite, redis_url: str, tmp_path: Path) -> None:
    """The same files, byte for byte, the same signals and stats."""
    results = []
    for name in ("scrapy", "ours"):
        settings = SETTINGS.replace("PART", "all" if name == "scrapy" else "%(mocra_worker)s")
        if name == "ours":
            settings += f"    {ONE_LINE}    MOCRA_BACKEND = {redis_url!r}\n"
        project = write_project(tmp_path / name, SPIDER, settings, feeds=FEEDS)
        before = set(project.iterdir())
        done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}")
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        files = Counter[tuple[str, bytes]]()
        for path in sorted(set(project.iterdir()) - before):
            if not path.name.startswith("."):
                part = path.name.partition("-")[0].partition(".")[0]
                files[part, path.read_bytes()] += 1
        stats = {
            line.strip().rstrip(",}") for line in done.stderr.splitlines() if "'feedexport/" in line or "'told/" in line
        }
        results.append((files, stats, done.stdout))
    assert results[0][2].count("\n") == 7
    assert len(results[0][0]) == 16
    assert results[1] == results[0]
