"""``MOCRA_TRANSACTIONAL`` in real crawls: a worker that is killed while its callbacks yield, and what the
next one finds.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.models import DeadLetter, QueueOptions
from tests.e2e.projects import ONE_LINE, write_project
from tests.e2e.workers import Workers
from tests.mocksite import MockSite

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

SPIDER = '''
    import asyncio
    import os
    import signal
    from pathlib import Path

    from scrapy import Request, Spider


    class First(Spider):
        """Three pages with links that no filter knows: one is transactional, one is not, one fails half-way."""

        name = "first"
        # What is stored of a callback that is not exhausted.
        flushed = 0

        async def start(self):
            yield Request(f"{self.site}/ok/whole", self.parse_page, meta={"mocra_transactional": True})
            yield Request(f"{self.site}/ok/plain", self.parse_page)
            yield Request(f"{self.site}/ok/half", self.parse_half, meta={"mocra_transactional": True})

        async def parse_page(self, response):
            name, is_first = response.url.rpartition("/")[2], not Path(self.marker).exists()
            for n in range(5):
                yield {"url": f"{name}-{n}"}
                yield Request(f"{self.site}/ok/{name}-{n}", self.parse_link, dont_filter=True)
            if is_first:
                while self.crawler.engine._slot.scheduler.worker.outbox:
                    await asyncio.sleep(0.01)
                self.flushed += 1
                while self.flushed < 2 or name == "plain":
                    await asyncio.sleep(0.01)
                Path(self.marker).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield Request(f"{self.site}/ok/{name}-5", self.parse_link, dont_filter=True)

        def parse_half(self, response):
            yield {"url": "half"}
            yield Request(f"{self.site}/ok/half-0", self.parse_link, dont_filter=True)
            raise ValueError("half-way")

        def parse_link(self, response):
            pass
'''


def test_a_kill_in_the_middle_doubles_nothing(
    site: MockSite, workers_on: Callable[[str], Workers], redis_url: str, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "project", SPIDER, ONE_LINE)
    workers = workers_on(redis_url)
    workers.project = project
    items, crawl = tmp_path / "items.jsonl", f"shop:{secrets.token_hex(4)}"
    feeds = json.dumps({str(items): {"format": "jsonlines"}})
    given = {"site": site.url, "marker": tmp_path / "killed", "MOCRA_CRAWL": crawl, "MOCRA_LEASE": 2, "FEEDS": feeds}
    assert workers.start("first", **given).wait(90) == -signal.SIGKILL
    assert workers.start("first", **given).wait(90) == 0
    fetched = {path.rpartition("/")[2]: len(times) for path, times in site.arrivals().items()}
    whole = {name: n for name, n in fetched.items() if name.startswith("whole-")}
    assert whole == {f"whole-{n}": 1 for n in range(6)}
    assert all(fetched[f"plain-{n}"] >= 2 for n in range(5)), "else the other page shows nothing"
    assert "half-0" not in fetched
    scraped = Counter(items.read_text().splitlines())
    assert all(scraped[f'{{"url": "whole-{n}"}}'] == 1 for n in range(5))
    assert '{"url": "half"}' not in scraped
    [letter] = asyncio.run(letters(redis_url, crawl))
    assert (letter.reason, letter.done, letter.url) == ("callback", False, f"{site.url}/ok/half")


async def letters(url: str, crawl: str) -> Sequence[DeadLetter]:
    backend = open_backend(url)
    try:
        return await backend.request_queue(crawl, QueueOptions()).dead()
    finally:
        await backend.close()
