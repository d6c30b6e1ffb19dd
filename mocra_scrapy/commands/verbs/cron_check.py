"""``scrapy cron check``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping

from scrapy.commands import ScrapyCommand
from scrapy.spiderloader import get_spider_loader

from mocra_scrapy.commands.verbs.cron_run import FINE, WRONG
from mocra_scrapy.commands.verbs.cron_shown import Looking
from mocra_scrapy.cron.config import Source, check_jobs
from mocra_scrapy.cron.job_store import Store
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.suggestions import did_you_mean
from mocra_scrapy.models.wording import counted
from mocra_scrapy.settings.identity import project_name

#: Stats that Scrapy and this package count, and what the names of the others begin with.
STATS = (
    "items", "errors", "seconds", "exit_code", "item_scraped_count", "item_dropped_count", "finish_reason", "finish_time",
    "start_time", "elapsed_time_seconds", "response_received_count", "request_depth_max", "items_per_minute",
    "responses_per_minute", "log_count/DEBUG", "log_count/INFO", "log_count/WARNING", "log_count/ERROR",
    "log_count/CRITICAL", "downloader/request_count", "downloader/response_count", "downloader/exception_count",
    "downloader/response_bytes", "downloader/request_bytes", "retry/count", "retry/max_reached",
    "dupefilter/filtered", "scheduler/enqueued", "scheduler/dequeued", "memusage/max",
)  # fmt: skip
FAMILIES = (
    "downloader/", "item_dropped_reasons_count/", "spider_exceptions/", "retry/", "httperror/", "httpcache/",
    "robotstxt/", "offsite/", "feedexport/", "file_", "memusage/", "memdebug/", "scheduler/", "dupefilter/",
    "urllength/", "cachedstorage/", "mocra/", "httpcompression/", "image_", "depth/", "request_depth_count/",
)  # fmt: skip


class Check(Looking):
    """Look for all mistakes in the jobs file, for spiders that the project doesn't have, for unknown
    stats in expressions, and for jobs that would share a crawl. Exit code 1: there are mistakes.
    """

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        source = options.source()
        jobs, mistakes = check_jobs(source)
        assert command.settings is not None
        wrong = [str(mistake) for mistake in mistakes]
        wrong += unknown_spiders(jobs, source, get_spider_loader(command.settings).list())
        for line in wrong:
            print(f"Error: {line}", file=sys.stderr)
        single = Store(options.address).single
        shared = [] if single else shared_crawls(jobs, project_name(command.settings))
        for line in (*unknown_stats(jobs, source), *shared):
            print(f"Warning: {line}")
        for job in jobs.values():
            if job.executor == "queue" and single:
                print(f'Warning: {job.name}: executor = "queue" on memory:// reaches workers on this machine only')
        if wrong:
            return WRONG
        print(f"{source}: {counted(len(jobs), 'job')}, nothing wrong")
        return FINE


def unknown_spiders(jobs: Mapping[str, Job], source: Source, known: list[str]) -> Iterator[str]:
    for job in jobs.values():
        if job.spider not in known:
            fix = did_you_mean(job.spider, known) or f"There are {', '.join(sorted(known)) or 'none'}"
            where = source.place(("jobs", job.name, "spider"))
            yield f"{where}: the project has no spider {job.spider!r}. {fix}"


def unknown_stats(jobs: Mapping[str, Job], source: Source) -> Iterator[str]:
    """Names that nobody counts, as far as is known: a project may count what it likes."""
    for job in jobs.values():
        for key, expression in (("success", job.success), ("expect", job.expect)):
            for name in sorted(expression.names) if expression is not None else ():
                if name in STATS or name.startswith(FAMILIES):
                    continue
                guess = did_you_mean(name, STATS)
                where = source.place(("jobs", job.name, key))
                yield f"{where}: {name!r} is not a stat that is known here, and reads as 0. {guess}".rstrip()


def shared_crawls(jobs: Mapping[str, Job], project: str) -> Iterator[str]:
    """Jobs whose runs would be workers of one crawl when they overlap."""
    crawls: dict[str, list[Job]] = {}
    for job in jobs.values():
        crawls.setdefault(str(job.settings.get("MOCRA_CRAWL", f"{project}:{job.spider}")), []).append(job)
    for crawl, some in crawls.items():
        if len(some) > 1:
            names, alike = (
                ", ".join(job.name for job in some),
                all(dict(job.args) == dict(some[0].args) for job in some),
            )
            meant = "unless that is meant" if alike else "or the later one is refused, because its args are others"
            yield f"{names} would work on one crawl, {crawl!r}, when they overlap: give each a MOCRA_CRAWL of its own in settings, {meant}"
