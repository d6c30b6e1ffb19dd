"""``scrapy mocra push``."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from scrapy.crawler import Crawler
from scrapy.spiderloader import get_spider_loader
from scrapy.utils.conf import arglist_to_dict
from scrapy.utils.misc import build_from_crawler, load_object

from mocra_scrapy.codec.requests import load_codec
from mocra_scrapy.codec.seeds_json import requests_of, shown
from mocra_scrapy.commands.verbs.backend_session import opened_backend
from mocra_scrapy.commands.verbs.control import FINE, WRONG
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.engine.hooks import slot_of
from mocra_scrapy.exceptions import ConfigurationError, MocraError, UnreadableSeed, UnserializableRequest
from mocra_scrapy.models import Entry
from mocra_scrapy.models.wording import counted
from mocra_scrapy.settings.crawl import read_options
from mocra_scrapy.worker.recent_fingerprints import fingerprint_function

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.commands import ScrapyCommand

    from mocra_scrapy.settings.crawl import Options

#: Requests, and bytes of them, that are stored in one step.
CHUNK, CHUNK_BYTES = 500, 512 * 1024
#: Seeds that can't be used of which each is told.
TOLD = 20


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Put requests into a crawl, whether or not it runs: URLs, or seeds in JSON, from the command line, a
    file, or the standard input (-). Stored when this command ends with exit code 0. Exit code 1: some
    could not be used.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("crawl", help="the spider's name, or the crawl's, if it is another one: CRAWL/SPIDER")
        parser.add_argument("seeds", nargs="*", help="URLs, or JSON; - reads lines from the standard input")
        parser.add_argument("--file", metavar="PATH", help="read lines from this file")
        parser.add_argument("--dont-filter", action="store_true", help="also what the crawl has seen")
        parser.add_argument(
            "-a", dest="arguments", action="append", default=[], metavar="NAME=VALUE", help="argument of the spider"
        )
        parser.add_argument("--priority", type=int, help="of those that have none of their own")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        assert command.settings is not None
        crawl, _, name = options.crawl.rpartition("/")
        if not (options.seeds or options.file):
            print(
                "Error: there is nothing to push. Give URLs, --file PATH, or - for the standard input", file=sys.stderr
            )
            return WRONG
        loader = get_spider_loader(command.settings)
        name = name if name in loader.list() else name.rpartition(":")[2]
        if name not in loader.list():
            known = ", ".join(sorted(loader.list())) or "none"
            print(f"Error: this project has no spider {name!r}. It has: {known}", file=sys.stderr)
            return WRONG
        if crawl:
            command.settings.set("MOCRA_CRAWL", crawl, "cmdline")
        try:
            crawler = Crawler(loader.load(name), command.settings)
            return asyncio.run(Push(crawler, options).run())
        except MocraError as error:
            print(f"Error: {error}", file=sys.stderr)
            return WRONG
        except OSError as error:
            print(f"Error: {options.file}: {error.strerror}. Correct the path", file=sys.stderr)
            return WRONG


def _arguments(given: list[str]) -> dict[str, str]:
    try:
        arguments: dict[str, str] = arglist_to_dict(given)
    except ValueError:
        raise ConfigurationError("-a", "it is not NAME=VALUE", "Write -a NAME=VALUE") from None
    return arguments


class Push:
    """Seeds on their way into the queue of *crawler*'s crawl."""

    def __init__(self, crawler: Crawler, options: argparse.Namespace) -> None:
        self._given = options
        crawler.stats = load_object(crawler.settings["STATS_CLASS"])(crawler)
        crawler.request_fingerprinter = build_from_crawler(
            load_object(crawler.settings["REQUEST_FINGERPRINTER_CLASS"]), crawler
        )
        crawler.spider = self._spider = crawler.spidercls.from_crawler(crawler, **_arguments(options.arguments))
        self._options: Options = read_options(crawler.settings, self._spider.name, module=crawler.spidercls.__module__)
        self._codec = load_codec(self._options.codec, self._spider, self._options.entry_max_bytes)
        self._fingerprint = fingerprint_function(crawler)
        self.bad = 0
        if self._options.budgets:
            raise ConfigurationError(
                "MOCRA_BUDGETS",
                "what is pushed by hand would count for none of them",
                "Feed this crawl from a source instead (MOCRA_SEEDS)",
            )

    async def run(self) -> int:
        worker = f"push-{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        async with opened_backend(self._options) as (backend, _):
            queue = backend.request_queue(self._options.crawl, replace(self._options.queue, rules=None))
            session, new, total = QueueSession(queue, worker), 0, 0
            try:
                for entries in self._chunks():
                    stored = await session.push(entries)
                    new, total = new + sum(stored), total + len(stored)
            finally:
                await queue.close_worker(worker)
                await queue.close()
        known = f", {total - new} known to it already" if total > new else ""
        print(f"{counted(new, 'request')} stored in crawl {self._options.crawl!r}{known}")
        if self.bad:
            print(f"Error: {counted(self.bad, 'seed')} could not be used", file=sys.stderr)
        return WRONG if self.bad else FINE

    def _chunks(self) -> Iterator[list[Entry]]:
        entries: list[Entry] = []
        size = 0
        for entry in self._entries():
            entries.append(entry)
            size += len(entry.body)
            if len(entries) >= CHUNK or size >= CHUNK_BYTES:
                yield entries
                entries, size = [], 0
        if entries:
            yield entries

    def _entries(self) -> Iterator[Entry]:
        for line in self._lines():
            try:
                most = self._options.entry_max_bytes
                yield from [self._entry(request) for request in requests_of(self._spider, line, most)]
            except (UnreadableSeed, UnserializableRequest, ConfigurationError, ValueError) as error:  # of a URL, too
                self.bad += 1
                if self.bad <= TOLD:
                    print(f"Error: {shown(line)}: {error}", file=sys.stderr)

    def _lines(self) -> Iterator[bytes]:
        for seed in self._given.seeds:
            if seed == "-":
                yield from filter(bytes.strip, sys.stdin.buffer)
            else:
                yield seed.encode("utf-8", "surrogateescape")
        if self._given.file:
            with open(self._given.file, "rb") as file:  # noqa: PTH123 - a path as it was given
                yield from filter(bytes.strip, file)

    def _entry(self, request: Request) -> Entry:
        if self._given.dont_filter:
            request.dont_filter = True
        if self._given.priority is not None and not request.priority:
            request.priority = self._given.priority
        delay = float(request.meta.pop("mocra_delay", 0.0))
        slot = slot_of(request)
        name = None if request.dont_filter else self._fingerprint(request)
        scopes = self._options.limits.scopes_of(slot, request)
        return Entry(self._codec.encode(request), slot, request.priority, name, False, delay, scopes)
