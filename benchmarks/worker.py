"""One crawling process of a benchmark: ``python -m benchmarks.worker '<JSON>'``; prints one line of
JSON at its end.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from scrapy import Request, Spider, signals
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.http import Response

from benchmarks.sampling import Sampler

COMMON = {
    "LOG_LEVEL": "ERROR",
    "TELNETCONSOLE_ENABLED": False,
    "REMOTE_CONTROL_ENABLED": False,
    "ROBOTSTXT_OBEY": False,
    "RETRY_ENABLED": False,
    "COOKIES_ENABLED": False,
    "CONCURRENT_REQUESTS": 32,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 32,
    "DOWNLOAD_DELAY": 0,
}


def settings_of(job: dict[str, Any]) -> dict[str, Any]:
    """The settings of one contestant."""
    contestant, redis = job["contestant"], job.get("redis")
    settings: dict[str, Any] = {**COMMON, **job.get("settings", {})}
    if contestant == "jobdir":
        settings["JOBDIR"] = tempfile.mkdtemp(prefix="bench-jobdir-")
    elif contestant.startswith("scrapy-redis"):
        settings |= {
            "SCHEDULER": "scrapy_redis.scheduler.Scheduler",
            "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
            "SCHEDULER_PERSIST": True,
            "REDIS_URL": redis,
        }
    elif contestant.startswith("mocra"):
        settings |= {"ADDONS": {"mocra_scrapy.Addon": 300}, "MOCRA_BACKEND": redis or "memory://"}
    if contestant == "mocra-cluster":
        settings["MOCRA_SHARDS"] = 3
    if contestant == "mocra-kafka":
        settings |= {
            "MOCRA_QUEUE_BACKEND": job["kafka"],
            "MOCRA_KAFKA_CREATE_TOPICS": True,
            "MOCRA_KAFKA_REPLICATION": 1,
        }
    if contestant == "mocra-fast":
        settings["MOCRA_FAST"] = True
    elif contestant.endswith("-tuned"):  # what MOCRA_FAST sets, by hand
        settings |= {"CONCURRENT_ITEMS": 8, "ASYNCIO_EVENT_LOOP": "uvloop.Loop"}
    return settings


class BenchSpider(Spider):
    """Graph: follows all links from the root. Flat: ``seeds`` pages without links."""

    name = "bench"

    def __init__(self, job: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job

    async def start(self) -> AsyncIterator[Any]:
        base, flat, hosts = self.job["site"], self.job.get("flat", 0), self.job.get("hosts", 1)
        if not flat:
            yield Request(f"{base}/page/0")
        for n in range(flat):
            meta = {"download_slot": f"host{n % hosts}"} if hosts > 1 else None
            yield Request(f"{base}/flat/{n}", meta=meta)

    def parse(self, response: Response) -> Iterator[Any]:
        yield {"url": response.url, "title": response.css("title::text").get()}
        for href in response.css("a::attr(href)").getall():
            yield response.follow(href)


def main() -> None:
    job = json.loads(sys.argv[1])
    process = AsyncCrawlerProcess(settings_of(job))
    crawler = process.create_crawler(BenchSpider)
    sampler = Sampler() if job.get("profile") else None
    if sampler is not None:  # what is imported and made at start is no page's cost
        crawler.signals.connect(sampler.start, signals.spider_opened)
    moments = {"last_page": 0.0, "closing": 0.0}
    note_page, note_end = (lambda: moments.update(last_page=time.time())), (lambda: moments.update(closing=time.time()))
    crawler.signals.connect(note_page, signals.item_scraped)
    crawler.signals.connect(note_end, signals.spider_closed)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.time()
    process.crawl(crawler, job=job)
    process.start()
    after = resource.getrusage(resource.RUSAGE_SELF)
    if sampler is not None:
        sampler.stop()
    assert crawler.stats is not None
    stats = crawler.stats.get_stats()
    print(
        json.dumps(
            {
                "pages": stats.get("response_received_count", 0),
                **moments,
                "began": began,
                "ended": time.time(),
                "elapsed": stats.get("elapsed_time_seconds"),
                "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                "rss_mb": after.ru_maxrss / 1024,
                "reason": stats.get("finish_reason"),
                "exchanges": stats.get("mocra/queue/round_trips"),
                "profile": sampler.as_dict() if sampler is not None else None,
            }
        )
    )


if __name__ == "__main__":
    main()
