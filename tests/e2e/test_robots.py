"""robots.txt and limits of concurrency: pages wait for robots.txt, and robots.txt for its turn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.test_politeness import Bookings
from tests.e2e.workers import Workers
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


def test_robots_txt_comes_first_and_is_fetched_once_for_all(site: MockSite, workers: Workers) -> None:
    """Two workers meet a host whose robots.txt is 503 at first, and then slow. Nothing is fetched before
    it, its Crawl-delay holds from the first page on, and the next worker, a run later, has it already. What
    it forbids uses nothing up: the quota has room for one request more than what is allowed.
    """
    site.ask_for_crawl_delay(0.5, takes=0.5, refused=1)
    quota = {"127.0.0.1": {"quota": "12/h"}}
    more = {"ROBOTSTXT_OBEY": True, "MOCRA_RETRY_BASE": 0.5, "MOCRA_THROTTLE": json.dumps(quota), **Bookings.RECORD}
    paths = [path for n in range(24) for path in (f"private/{n}", *([f"ok/{n}"] if n < 8 else ()))]
    workers.together(2, site, "list", paths=",".join(paths), **more)
    assert workers.wait() == [0, 0]
    arrivals = site.arrivals()
    pages = sorted(time for path, times in arrivals.items() if path.startswith("/ok/") for time in times)
    assert len(pages) == 8, "nothing is lost, and nothing is fetched twice"
    assert not [path for path in arrivals if path.startswith("/private")]
    assert len(arrivals["/robots.txt"]) == 2, "one worker asks, and asks once more"
    assert pages[0] > arrivals["/robots.txt"][-1] + 0.4
    bookings = Bookings(workers)
    bookings.keep("127.0.0.1", 1 / 0.5)  # those that waited did not leave together
    bookings.were_kept(site, "ok/", "127.0.0.1")
    stats = workers.stats()
    assert (stats["mocra/robots/not_now"], stats["mocra/robots/fetched"]) == (1, 1)
    assert stats["mocra/robots/deferred"] >= 1
    assert "retry/count" not in stats, "no page burnt a retry"
    workers.start("list", site=site.url, paths="ok/late", **more)
    assert workers.wait() == [0, 0, 0]
    assert site.count("/ok/late") == 1
    assert site.count("/robots.txt") == 2, "it is a value of the crawl"
    assert workers.stats()["mocra/robots/shared"] >= 1
