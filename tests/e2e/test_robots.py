"""robots.txt and limits of concurrency: pages wait for robots.txt, and robots.txt for its turn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.mocksite import MockSite

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

SPIDER = """
    import scrapy

    class Walker(scrapy.Spider):
        name = "walker"

        async def start(self):
            for n in range(6):
                yield scrapy.Request(f"{self.site}/crowd/one/0.02/{n}")

        async def parse(self, response):
            inline = await self.crawler.engine.download_async(scrapy.Request(response.url + "00"))
            yield {"url": response.url, "inline": inline.status}
"""


@pytest.mark.parametrize("backend", ["memory", "redis"])
def test_one_request_at_a_time_is_enough_for_robots_and_inline_requests(
    backend: str, tmp_path: Path, site: MockSite, redis_url: str
) -> None:
    url = "memory://" if backend == "memory" else redis_url
    more = f'MOCRA_BACKEND = "{url}"\nCONCURRENT_REQUESTS_PER_DOMAIN = 1\nROBOTSTXT_OBEY = True\nMOCRA_BYPASS_MAX_WAIT = 20\n'
    project = write_project(tmp_path, SPIDER, ONE_LINE + more)
    done = scrapy(project, "crawl", "walker", "-a", f"site={site.url}", "-O", "items.jsonl")
    assert done.returncode == 0, done.stderr
    items = [json.loads(line) for line in (project / "items.jsonl").read_text().splitlines()]
    assert len(items) == 6
    assert {item["inline"] for item in items} == {200}
    assert "bypass_given_up" not in done.stderr, "somebody waited for a permit that was never to come free"
    arrivals = sorted((times[0], path) for path, times in site.arrivals().items())
    assert arrivals[0][1] == "/robots.txt"
    assert site.peaks() == {"one": 1}
