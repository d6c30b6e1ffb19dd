"""Ordinary projects beside plain Scrapy: each kind of spider without the add-on, on ``memory://``, and
with one and with three workers on Redis gives the same items, in each format of feeds; and when one
of the three is killed, nothing is missing.

One project has all that ordinary ones have: item loaders, the pipelines for files and images,
middlewares of both kinds, an HTTP cache, a download handler that reads scrapy-playwright's meta where
the browser would, feeds in four formats.
"""

from __future__ import annotations

import csv
import json
import re
import signal
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.e2e.matrix_project import PARTS, SETTINGS, SPIDERS
from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

# Each is four crawls, of six processes.
pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(1200)]

#: Requests under way at once that only all three workers together have, of two each.
EACH = 5
COUNT = re.compile(r"'downloader/response_count': (\d+)")


def of(item: dict[str, object]) -> tuple[str, str, str]:
    """What all formats of feeds hold of an item."""
    return str(item.get("url") or ""), str(item.get("title") or ""), str(item.get("more") or "")


def feeds(folder: Path, *kinds: str) -> dict[str, Counter[tuple[str, str, str]]]:
    """The items by the format of their feed, of all workers; of *kinds* only."""
    found: dict[str, Counter[tuple[str, str, str]]] = {}
    for path in sorted(folder.glob("items*")):
        if kinds and path.suffix not in kinds:
            continue
        items: list[dict[str, object]] = []
        if path.suffix == ".jsonl":
            items = [json.loads(line) for line in path.read_text().splitlines()]
        elif path.suffix == ".csv":
            with path.open(newline="") as file:
                items = list(csv.DictReader(file))
        elif path.suffix == ".json":
            items = json.loads(path.read_text() or "[]")
        else:
            text = path.read_text()
            items = [{child.tag: child.text for child in item} for item in (ET.fromstring(text) if text else ())]
        found.setdefault(path.suffix, Counter()).update(of(item) for item in items)
    return found


def media(folder: Path) -> dict[str, set[str]]:
    """Each item's page -> what was downloaded for it."""
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    return {
        item["url"]: {file["path"] for kind in ("files", "images") for file in item.get(kind, ())} for item in items
    }


def stored(folder: Path) -> set[str]:
    paths = [path for store in ("files", "images") for path in (folder / store).rglob("*")]
    return {str(path.relative_to(folder)) for path in paths if path.is_file()}


def project_in(folder: Path, settings: str, worker: str) -> Path:
    folder.mkdir()
    lines = SETTINGS % (worker, worker)
    return write_project(folder, SPIDERS, f"{settings}\n{lines}".replace("\n    ", "\n"), parts=PARTS)


def plainly(folder: Path, site: MockSite, spider: str) -> Path:
    """Without the add-on."""
    plain = project_in(folder, "", "")
    done = scrapy(plain, "crawl", spider, "-a", f"site={site.url}")
    assert "'finish_reason': 'finished'" in done.stderr, done.stderr[-3000:]
    expected = feeds(plain)
    assert set(expected) == {".jsonl", ".csv", ".json", ".xml"}
    assert len(expected[".jsonl"]) >= 25, done.stderr[-3000:]
    return plain


def ours(folder: Path, workers: Workers) -> Path:
    workers.project = project_in(folder, ONE_LINE, "-%%(mocra_worker)s")
    return workers.project


def check_logs(workers: Workers, numbers: Sequence[int]) -> None:
    for log in map(workers.log, numbers):
        assert "'finish_reason': 'finished'" in log, log[-3000:]
        assert "unserializable" not in log
        assert "'log_count/ERROR'" not in log
        assert [int(n) for n in COUNT.findall(log)] > [0], "every worker gets pages"


@pytest.mark.parametrize("spider", ["rules", "xml", "csv", "map", "members", "mixed"])
def test_the_same_items_as_plain_scrapy(
    spider: str, site: MockSite, tmp_path: Path, workers_on: Callable[[str], Workers], redis_url: str
) -> None:
    plain = plainly(tmp_path / "plain", site, spider)
    assert len(stored(plain)) == {"members": 5 + 3 * 2, "mixed": 5}.get(spider, 0)
    for name, backend, count in (("memory", "memory://", 1), ("one", redis_url, 1), ("three", redis_url, 3)):
        workers = workers_on(backend)
        project = ours(tmp_path / name, workers)
        site.reset()
        site.gate(EACH if count > 1 else 0)
        workers.together(count, site, spider, MOCRA_PREFETCH=0, MOCRA_CRAWL=f"{spider}-{name}")
        assert workers.wait() == [0] * count
        check_logs(workers, range(count))
        assert feeds(project) == feeds(plain), name
        assert media(project) == media(plain), name
        assert stored(project) == stored(plain), name


def test_a_second_run_comes_from_the_http_cache(site: MockSite, tmp_path: Path, workers: Workers) -> None:
    """The cache that three workers filled together. What it answers waits for no delay: it would take half an
    hour.
    """
    project = ours(tmp_path / "three", workers)
    site.gate(EACH)
    workers.together(3, site, "csv", MOCRA_PREFETCH=0)
    assert workers.wait() == [0, 0, 0]
    first = feeds(project)
    for path in project.glob("items*"):
        path.unlink()
    site.reset()
    workers.start("csv", site=site.url, DOWNLOAD_DELAY=60)
    assert workers.wait()[3] == 0
    assert not site.arrivals()
    assert feeds(project) == first
    assert "'httpcache/hit': 31" in workers.log(3)


@pytest.mark.parametrize("spider", ["rules", "members"])
def test_nothing_is_missing_after_a_kill(spider: str, site: MockSite, tmp_path: Path, workers: Workers) -> None:
    """One of three is killed in the middle: JSON Lines and CSV have every item, twice only what was
    in flight; and so have the folders every file.
    """
    plain = plainly(tmp_path / "plain", site, spider)
    project = ours(tmp_path / "three", workers)
    site.reset()
    site.gate(EACH)
    workers.together(3, site, spider, MOCRA_PREFETCH=0, DOWNLOAD_DELAY=0.05, MOCRA_LEASE=3)
    victim = workers.all[1]
    eventually(lambda: any(b"/" in path.read_bytes() for path in project.glob(f"items-*-{victim.pid}-*.csv")))
    victim.kill()
    codes = workers.wait()
    assert (codes[0], codes[1], codes[2]) == (0, -signal.SIGKILL, 0)
    check_logs(workers, [0, 2])
    found, expected = feeds(project, ".jsonl", ".csv"), feeds(plain, ".jsonl", ".csv")
    for kind in (".jsonl", ".csv"):
        assert set(found[kind]) == set(expected[kind]), kind
        assert (found[kind] - expected[kind]).total() <= 12, "what the killed worker had in flight"
    assert media(project) == media(plain)
    assert stored(project) == stored(plain)


def test_jobdir_is_refused_in_memory(site: MockSite, tmp_path: Path) -> None:
    project = project_in(tmp_path / "memory", ONE_LINE, "-%%(mocra_worker)s")
    done = scrapy(project, "crawl", "csv", "-a", f"site={site.url}", "-s", "JOBDIR=job")
    assert done.returncode
    assert "keeps nothing on disk, but JOBDIR asks for a crawl that can be resumed" in done.stderr
    assert not site.arrivals()


@pytest.mark.parametrize("name", ["ITEMCOUNT", "PAGECOUNT"])
def test_closespider_means_the_same(name: str, site: MockSite, tmp_path: Path) -> None:
    reasons = {}
    for folder, settings, worker in (("plain", "", ""), ("memory", ONE_LINE, "-%%(mocra_worker)s")):
        project = project_in(tmp_path / folder, settings, worker)
        done = scrapy(project, "crawl", "rules", "-a", f"site={site.url}", "-s", f"CLOSESPIDER_{name}=7")
        reasons[folder] = re.findall(r"'finish_reason': '(\w+)'", done.stderr)
        assert 7 <= len(feeds(project)[".jsonl"]) + (name == "PAGECOUNT") < 30
    assert reasons["plain"] == reasons["memory"] == [f"closespider_{name.lower()}"]
