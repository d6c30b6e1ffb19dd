"""``scrapy mocra workers``."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.control import with_backend
from mocra_scrapy.commands.verbs.crawl_names import crawl_named

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IBackend
    from mocra_scrapy.models import WorkerReport

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
    """List the workers of all crawls of the backend, or of one: when each was last seen, what it
    holds, how fast it is, its last error.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--crawl", help="the workers of one crawl only")
        parser.add_argument("--json", action="store_true", help="all that is known, one line a worker")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        async def use(backend: IBackend) -> None:
            assert command.settings is not None
            crawl = options.crawl and await crawl_named(backend, command.settings, options.crawl)
            reports = sorted(await backend.worker_registry().workers(crawl), key=lambda one: (one.crawl, one.worker))
            if options.json:
                for report in reports:
                    print(json.dumps({"worker": report.worker, "crawl": report.crawl, **report.facts}))
            elif reports:
                print(shown(reports, time.time()))
            else:
                print(f"No worker of {crawl} is there" if crawl else "No worker is there")

        return with_backend(command, use)


def shown(reports: list[WorkerReport], now: float) -> str:
    """The table; *now*: seconds since the epoch."""
    rows: list[tuple[str, ...]] = [("worker", "crawl", "seen", *COLUMNS)]
    rows += [
        (r.worker, r.crawl, _ago(r.facts.get("told"), now), *(_short(r.facts.get(name)) for name in COLUMNS))
        for r in reports
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _ago(told: object, now: float) -> str:
    """How long ago a worker said so, by two clocks: never in the future."""
    return f"{max(0.0, now - told):.0f} s ago" if isinstance(told, (int, float)) else "-"


def _short(value: object) -> str:
    return "-" if value is None else str(value).replace("\n", " ")[:60]
