"""``scrapy mocra skipped``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.control import FINE, NO_SENSE, WRONG, with_backend
from mocra_scrapy.commands.verbs.crawl_names import crawl_named, is_there
from mocra_scrapy.commands.verbs.verb import positive
from mocra_scrapy.models import LetterFilter, QueueOptions
from mocra_scrapy.politeness.not_crawled import ranked
from mocra_scrapy.politeness.skipped import SkippedTables
from mocra_scrapy.runtime.figures import SKIPPED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mocra_scrapy.interfaces import IBackend
    from mocra_scrapy.politeness.not_crawled import Table

#: Slots of a reason that are shown unless more are asked for.
SLOTS = 10


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Tell what a crawl found and did not crawl in its last run: how much, why, of which slots, and a few
    URLs of each; and its dead letters by their reason. Exit code 1: no such crawl, or no answer; 2: no
    crawl was named.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", metavar="crawl", help="its name (project:spider), or the spider's")
        parser.add_argument("--crawl", help="the same")
        parser.add_argument("--reason", help=f"one of {', '.join(known_reasons())}")
        parser.add_argument("--slots", type=positive, default=SLOTS, help="slots of each reason (default: %(default)s)")
        parser.add_argument("--json", action="store_true", help="a line of JSON for each reason and slot")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        assert command.settings is not None
        wanted = options.crawl or options.name or command.settings.get("MOCRA_CRAWL")
        if not wanted:
            print("Error: whose? scrapy mocra skipped CRAWL (project:spider, or the spider)", file=sys.stderr)
            return NO_SENSE
        code = FINE

        async def use(backend: IBackend) -> None:
            nonlocal code
            assert command.settings is not None
            crawl = await crawl_named(backend, command.settings, wanted)
            if not await is_there(backend, crawl):
                print(f"Error: {backend.url} knows no crawl {crawl!r}", file=sys.stderr)
                code = WRONG
                return
            table, letters = await found_of(backend, crawl)
            if options.reason:
                table = {reason: slots for reason, slots in table.items() if reason == options.reason}
                letters = {}
            told = as_json(table, letters) if options.json else as_text(table, letters, options.slots)
            print("\n".join(told) or f"Crawl {crawl!r} has crawled all that it found, as far as is known")

        return with_backend(command, use) or code


def known_reasons() -> list[str]:
    return [name.removeprefix("skip/") for name in SKIPPED]


async def found_of(backend: IBackend, crawl: str) -> tuple[Table, Mapping[str, int]]:
    """What was skipped, and the dead letters by their reason."""
    tables, queue = SkippedTables(backend, crawl), backend.request_queue(crawl, QueueOptions())
    try:
        return await tables.all(), await queue.count_dead(LetterFilter())
    finally:
        await queue.close()
        await tables.close()


def as_json(table: Table, letters: Mapping[str, int]) -> list[str]:
    rows: list[dict[str, object]] = [
        {"reason": reason, "slot": slot or None, "count": found.count, "samples": found.samples}
        for reason, slots in sorted(table.items())
        for slot, found in ranked(slots)
    ]
    rows += [{"reason": "dead", "kind": kind, "count": count} for kind, count in sorted(letters.items())]
    return [json.dumps(row, ensure_ascii=False) for row in rows]


def as_text(table: Table, letters: Mapping[str, int], most: int) -> list[str]:
    told: list[str] = []
    for reason, slots in sorted(table.items()):
        told.append(
            f"{reason}: {sum(one.count for one in slots.values()):,} {SKIPPED.get(f'skip/{reason}', '')}".rstrip()
        )
        for slot, found in ranked(slots)[:most]:
            if slot:
                told += [f"  {found.count:>9,}  {slot}", *(f"             {url}" for url in found.samples)]
        if len(slots) > most:
            told.append(f"             {len(slots) - most:,} slots more: --slots {len(slots)}")
    if letters:
        named = ", ".join(f"{reason} {count:,}" for reason, count in sorted(letters.items()))
        told.append(f"dead letters: {sum(letters.values()):,} ({named}); see scrapy mocra dead list")
    return told
