"""What was found and not crawled, by two real workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.workers import Workers
from tests.mocksite import MockSite

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

SPIDER = """
    import scrapy
    from scrapy.linkextractors import LinkExtractor
    from scrapy.spiders import CrawlSpider, Rule

    class Walker(CrawlSpider):
        name = "walker"
        allowed_domains = ["127.0.0.1"]
        rules = [Rule(LinkExtractor(allow="/graph/"), callback="page", follow=True)]

        def __init__(self, site, **more):
            super().__init__(**more)
            self.start_urls = [site + "/ok/0"]

        def parse_start_url(self, response):
            return self.page(response)

        def page(self, response):
            n = int(response.url.rpartition("/")[2])
            if n < 3:
                yield response.follow(f"/ok/{n + 1}")
                yield response.follow(f"http://user:pa55@elsewhere{n}.test/?token=geheim{n}")
                yield response.follow("/x" * 4 + f"/{n}")
                yield response.follow("/x" * 4 + f"/{n}", meta={"mocra_traps": False}, callback=self.dead_end)
                yield response.follow("/deeper/" + "y" * 3000)
            yield {"n": n}

        def dead_end(self, response):
            yield {"n": -1}
"""


def test_what_was_not_crawled_is_told_with_its_reason(tmp_path: Path, site: MockSite, redis_url: str) -> None:
    more = f'MOCRA_BACKEND = "{redis_url}"\nMOCRA_TRAPS = {{"url_length": 0}}\nDEPTH_LIMIT = 2\nHTTPERROR_ALLOW_ALL = True\n'
    more += 'FEEDS = {"items.jsonl": {"format": "jsonlines"}}\n'
    project = write_project(tmp_path, SPIDER, ONE_LINE + more)
    workers = Workers(tmp_path, redis_url, project)
    try:
        workers.together(2, site, "walker")
        assert workers.wait() == [0, 0]
    finally:
        workers.kill()
    log = workers.log(0) + workers.log(1)
    items = [json.loads(line)["n"] for line in (project / "items.jsonl").read_text().splitlines()]
    assert sorted(items) == [-1, -1, 0, 1, 2], "the links at depth 2 lead nowhere"
    assert "not followed, it looks like a trap: MOCRA_TRAPS['segment_repeats'] is 3" in log
    assert "trap: 127.0.0.1 3, for example http://127.0.0.1" in log
    assert "more: scrapy mocra skipped walker" in log

    shown = scrapy(project, "mocra", "skipped", "walker", "--json")
    assert shown.returncode == 0, shown.stderr
    rows = {(row["reason"], row.get("slot")): row for row in map(json.loads, shown.stdout.splitlines())}
    assert {slot: rows["offsite", f"elsewhere{slot}.test"]["count"] for slot in range(2)} == {0: 1, 1: 1}
    assert rows["trap", "127.0.0.1"]["count"] == 3
    assert rows["url_length", "127.0.0.1"]["count"] >= 2
    assert rows["depth", "127.0.0.1"]["count"] >= 2
    assert "geheim" not in shown.stdout + log.partition("finished by 2 workers")[2]
    assert "pa55" not in shown.stdout

    told = scrapy(project, "mocra", "skipped", "--crawl", "shop:walker", "--reason", "trap")
    assert told.stdout.startswith("trap: 3 links into traps (MOCRA_TRAPS)\n          3  127.0.0.1\n")
    assert scrapy(project, "mocra", "skipped", "nobody").returncode == 1
    assert scrapy(project, "mocra", "skipped").returncode == 2

    fresh = scrapy(project, "crawl", "walker", "-a", f"site={site.url}", "-s", "MOCRA_TRAPS=0", "-s", "DEPTH_LIMIT=1")
    assert fresh.returncode == 0, fresh.stderr
    shown = scrapy(project, "mocra", "skipped", "walker", "--json")
    assert "trap" not in shown.stdout, "it is of the last run"
