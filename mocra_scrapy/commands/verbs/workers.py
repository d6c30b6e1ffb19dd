"""``scrapy mocra workers``."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.control import with_control

if TYPE_CHECKING:
    from mocra_scrapy.control import Control

COLUMNS = (
    "state",
    "run",
    "in_flight",
    "inbox",
    "pages_per_minute",
    "items_per_minute",
    "memory_mb",
    "loop_lag",
    "last_error",
)


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """List the workers of a crawl: what each holds, how fast it is, its last error."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--crawl", help="the crawl (default: MOCRA_CRAWL)")
        parser.add_argument("--json", action="store_true", help="all that is known, one line a worker")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        async def use(control: Control) -> None:
            reports = await control.workers()
            if options.json:
                for report in reports:
                    print(json.dumps({"worker": report.worker, "crawl": report.crawl, **report.facts}))
                return
            rows: list[tuple[str, ...]] = [("worker", *COLUMNS)]
            rows += [(r.worker, *(_short(r.facts.get(name)) for name in COLUMNS)) for r in reports]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            for row in rows:
                print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

        return with_control(command, options.crawl, use)


def _short(value: object) -> str:
    return "-" if value is None else str(value).replace("\n", " ")[:60]
