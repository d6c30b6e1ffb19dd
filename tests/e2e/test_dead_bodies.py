"""What a site answered is kept beside dead letters; a callback is run against it, offline."""

from __future__ import annotations

import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.e2e.projects import ONE_LINE, rewrite, scrapy, write_project
from tests.mocksite import MockSite

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

SHOP = """
    import scrapy


    class Shop(scrapy.Spider):
        name = "shop"

        def __init__(self, site=None, mark=None, **kwargs):
            super().__init__(**kwargs)
            self.site, self.mark = site, mark

        async def start(self):
            for n in range(1, 4):
                yield scrapy.Request(f"{self.site}/page/{n}", self.parse_page, cb_kwargs={"n": n}, meta={"kept": n})
            for n in (4, 5):
                yield scrapy.Request(f"{self.site}/page/{n}", self.parse_other)

        async def parse_page(self, response, n):
            yield {"n": n, "mark": self.mark, "kept": response.meta["kept"]}
            links = response.css("a::attr(href)").getall()
            yield response.follow(links[0], self.parse_last)
            raise KeyError("price")

        def parse_other(self, response):
            raise ValueError("another kind")

        def parse_last(self, response):
            pass
"""


def lines_of(project: Path, spider: str = "shop") -> list[list[str]]:
    """ID, what is in parentheses, URL, of each letter."""
    done = scrapy(project, "mocra", "dead", "list", spider)
    assert done.returncode == 0, done.stderr
    words = [line.split() for line in done.stdout.splitlines()[:-1]]
    return [[line[0], " ".join(line[2:]).partition("(")[2].partition(")")[0], line[-1]] for line in words]


def test_from_the_first_failure_to_the_replay(site: MockSite, redis_url: str, tmp_path: Path) -> None:
    more = f'MOCRA_BACKEND = "{redis_url}"\nMOCRA_DEAD_BODIES = 2\nCONCURRENT_REQUESTS = 1\nMOCRA_PREFETCH = 0\n'
    project = write_project(tmp_path, SHOP, ONE_LINE + more)
    crawl = ("crawl", "shop", "-a", f"site={site.url}", "-a", "mark=m1", "-O", "out.jsonl")
    site.gate(2)  # two workers are at it at once

    def worker(_: int) -> CompletedProcess[str]:
        return scrapy(project, *crawl[:-2])

    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(worker, range(2)):
            assert done.returncode == 0, done.stderr
    before = lines_of(project)
    assert len(before) == 5
    bodies = {url.rpartition("/")[2]: name for name, marks, url in before if marks == "done, body"}
    assert len(bodies) == 4, "of three of a kind the first two"
    assert {"4", "5"} < set(bodies)
    page = next(iter(set(bodies) - {"4", "5"}))
    name = bodies[page]

    def dead(action: str, *words: str) -> CompletedProcess[str]:
        return scrapy(project, "mocra", "dead", action, "shop", *words)

    # What the site sent, to the byte.
    with urllib.request.urlopen(f"{site.url}/page/{page}") as answer:
        sent = answer.read()
    assert dead("show", name, "--body", "--out", "page.html").returncode == 0
    assert (project / "page.html").read_bytes() == sent
    shown = dead("show", name, "--body", "--headers").stdout
    assert shown.startswith("HTTP/1.1 200\n")
    assert "\nContent-Type: text/html\n" in shown
    assert shown.endswith(f"\n\n{sent.decode()}")
    (without,) = {url.rpartition("/")[2] for _, _, url in before} - set(bodies)
    other = next(one for one, _, url in before if url.endswith(f"/page/{without}"))
    refused = dead("show", other, "--body")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"No response is kept of {other}: its failure (callback) came without one, or others" in refused.stderr
    assert dead("show", name, other, "--body").returncode == 2
    # Offline it fails as it did, after what it yielded before; nothing is asked for, nothing changes.
    fetched = sum(map(len, site.arrivals().values()))
    failed = dead("parse", name)
    assert failed.returncode == 1
    assert f"'mark': 'm1', 'n': {page}" in failed.stdout.replace(f"'kept': {page}, ", "")
    assert f"<GET {site.url}/page/" in failed.stdout.partition("# Requests")[2]
    detail = dead("show", name).stdout
    assert "KeyError: 'price'" in failed.stderr
    assert failed.stderr.splitlines()[-3:] == detail.splitlines()[-3:], "the line of the project, and the error"
    rewrite(project / "shop" / "spiders" / "first.py", ('raise KeyError("price")', 'yield {"mended": self.mark}'))
    passed = dead("parse", name, "-a", "mark=m2")
    assert (passed.returncode, passed.stderr) == (0, "")
    assert "{'mended': 'm2'}" in passed.stdout
    assert sum(map(len, site.arrivals().values())) == fetched
    assert lines_of(project) == before
    # What is replayed is fetched, and takes its body with it.
    assert dead("replay", name).returncode == 0
    done = scrapy(project, *crawl)
    assert done.returncode == 0, done.stderr
    assert "mended" in (project / "out.jsonl").read_text()
    after = {one: marks for one, marks, _ in lines_of(project)}
    assert after == {one: marks for one, marks, _ in before if one != name}
    assert (dead("parse", name).returncode, dead("show", name, "--body").returncode) == (1, 1)
