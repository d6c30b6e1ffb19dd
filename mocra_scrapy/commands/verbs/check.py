"""``scrapy mocra check``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.control import FINE, WRONG, with_backend
from mocra_scrapy.commands.verbs.crawl_names import crawl_named
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models.backends import scheme_of
from mocra_scrapy.settings.backends import read_backends
from mocra_scrapy.settings.crawl import read_options

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IBackend
    from mocra_scrapy.models import Audit, CrawlState


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Compare what is counted of a crawl with what is stored of it, and find what nobody would
    reach; of a queue on Kafka its topics, too. Exit code 1 when something differs.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("crawl", help="its name (project:spider), or the spider's")
        parser.add_argument(
            "--fix", action="store_true", help="set counts to what is there, line up what is out of reach"
        )
        parser.add_argument("--json", action="store_true", help="one line of JSON")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        code = FINE

        async def use(backend: IBackend) -> None:
            nonlocal code
            assert command.settings is not None
            crawl = await crawl_named(backend, command.settings, options.crawl)
            queue = backend.request_queue(crawl, read_options(command.settings, options.crawl).queue)
            try:
                state, audit = await queue.state(), await queue.audit(options.fix)
            finally:
                await queue.close()
            is_orphan = not state.run and bool(audit.found_pending or audit.found_leased)
            code = WRONG if audit.differs or is_orphan else FINE
            if options.json:
                facts = {"crawl": crawl, "run": state.run, **asdict(audit)}
                print(json.dumps({**facts, "record": bool(state.run), "differs": code == WRONG}))
            else:
                print("\n".join(told(crawl, state, audit, options.fix)))

        return max(_topics(command, options), with_backend(command, use) or code)


def _topics(command: ScrapyCommand, options: argparse.Namespace) -> int:
    """Of a queue on Kafka; the exit code."""
    assert command.settings is not None
    from mocra_scrapy.backends.kafka.admin import Admin
    from mocra_scrapy.commands.verbs import kafka

    try:
        if scheme_of(read_backends(command.settings).queue) != "kafka":
            return FINE
        log = kafka.log_of(command.settings, options.crawl)
        lines, code = ([], FINE) if log is None else kafka.told(Admin(log.address), log)
    except MocraError as error:
        print(f"Error: {error}", file=sys.stderr)
        return WRONG
    print("\n".join(lines), file=sys.stderr if options.json else sys.stdout)
    return code


def told(crawl: str, state: CrawlState, audit: Audit, fix: bool) -> list[str]:
    """The lines for people."""
    lines = []
    if not state.run:
        kept = audit.found_pending or audit.found_leased
        lines.append(
            f"{crawl}: there is no record of it" + (", but requests; the next start takes them" if kept else "")
        )
    for name, counted, found in (
        ("pending", audit.pending, audit.found_pending),
        ("leased", audit.leased, audit.found_leased),
    ):
        remark = "" if counted == found else "  <- differs" if audit.settled else "  (workers are busy: may be nothing)"
        lines.append(f"{name}: {counted} counted, {found} found{remark}")
    for number, what in (
        (audit.lists, "lists of requests that no turn reaches"),
        (audit.workers, "workers that hold requests, and whose death nobody would notice"),
        (audit.names, "slots that are said to have requests, and have none"),
    ):
        if number:
            lines.append(f"{number} {what}")
    if audit.differs:
        repaired = audit.repaired or (audit.pending, audit.leased) == (audit.found_pending, audit.found_leased)
        lines.append(
            "Repaired"
            if fix and repaired
            else "Counts not repaired: workers are busy"
            if fix
            else "Use --fix to repair it"
        )
    else:
        lines.append("Nothing differs")
    return lines
