"""``scrapy mocra status``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.control import FINE, WRONG, with_backend
from mocra_scrapy.commands.verbs.crawl_names import crawl_named
from mocra_scrapy.commands.verbs.slot_words import in_words
from mocra_scrapy.commands.verbs.slots import rate_of
from mocra_scrapy.commands.verbs.slots import standing as why_held
from mocra_scrapy.control import Control
from mocra_scrapy.control.slots import SlotControl
from mocra_scrapy.models import LetterFilter, QueueOptions
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IBackend

#: Slots that are looked at, those with most pending, and of how many of them it is told why they wait.
LOOKED, SLOTS = 50, 10
#: Of a crawl in the table of all of them.
COLUMNS = ("state", "run", "pending", "delayed", "in_flight", "workers", "dead", "arguments", "heard")


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Tell where a crawl stands: its run and since when, its arguments, what is pending and in flight,
    what its slots wait for, who works on it, its dead letters; or where all crawls of the backend stand.
    Exit code 1: no such crawl, or no answer.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("crawl", nargs="?", help="its name (project:spider), or the spider's (default: all)")
        parser.add_argument("--json", action="store_true", help="a line of JSON for each crawl; times in UTC")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        code = FINE

        async def use(backend: IBackend) -> None:
            nonlocal code
            assert command.settings is not None
            if options.crawl:
                name = await crawl_named(backend, command.settings, options.crawl)
                found = [facts] if (facts := await facts_of(backend, name)) else []
                for facts in found:
                    facts["waiting"] = await waiting_slots(backend, name) if facts["pending"] else []
            else:
                found = [facts for name in await backend.crawls() if (facts := await facts_of(backend, name))]
            if options.crawl and not found:
                there = ", ".join(await backend.crawls()) or "none"
                print(f"Error: {backend.url} knows no crawl {name!r}. There are: {there}", file=sys.stderr)
                code = WRONG
            elif options.json:
                for facts in found:
                    print(json.dumps(facts))
            elif options.crawl:
                print("\n".join(told(found[0], time.time())))
            else:
                print(table(found, time.time()) if found else f"{backend.url} knows no crawl")

        return with_backend(command, use) or code


async def facts_of(backend: IBackend, crawl: str) -> dict[str, Any] | None:
    """All that is known of *crawl*; ``None``: nothing."""
    queue, control = backend.request_queue(crawl, QueueOptions()), Control(backend, crawl)
    try:
        state, size, record = await queue.state(), await queue.size(), await queue.record()
        if not (state.run or size.unfinished or size.dead or record.reset_by):
            return None
        workers = await queue.workers()
        reports = {report.worker: report.facts for report in await control.workers()}
        letters = await queue.count_dead(LetterFilter()) if size.dead else {}
        paused = list(await control.paused())
    finally:
        await queue.close()
        await control.close()
    job = record.job
    alive = [worker for worker in workers if worker.expires_in > 0]
    return {
        "crawl": crawl,
        "state": standing(state.run, state.finished, len(alive), "*" in paused, bool(record.reset_by)),
        "run": state.run,
        "begun": instant(record.begun_at),
        "heard": instant(record.heard_at),
        "project": job and job.project,
        "spider": job and job.spider,
        "arguments": {name: argument.shown for name, argument in job.arguments.items()} if job else None,
        "seeding": state.seeding.value,
        "pending": size.pending,
        "delayed": size.delayed,
        "in_flight": size.leased,
        "seen": size.seen,
        "dead": size.dead,
        "dead_by_reason": dict(sorted(letters.items())),
        "paused": paused,
        "reset_by": record.reset_by,
        "workers": [
            {
                "worker": worker.name,
                "state": reports.get(worker.name, {}).get("state"),
                "holds": worker.held,
                "lease_ends_in": round(worker.expires_in, 1),
            }
            for worker in workers
        ],
    }


async def waiting_slots(backend: IBackend, crawl: str) -> list[dict[str, Any]]:
    """Slots that have something pending and wait for more than a second, and why."""
    slots = SlotControl(backend, crawl)
    try:
        views, _ = await slots.look(top=LOOKED)
    finally:
        await slots.close()
    found = []
    for view in views:
        why = why_held(view)
        if not why and view.state.wait > 1:
            why = [f"the next one goes in {in_words(view.state.wait)}, {rate_of(view.state.limit.interval)}"]
        if view.pending and why and (view.state.wait > 1 or view.state.paused):
            found.append({"slot": view.name, "pending": view.pending, "why": why})
    return found[:SLOTS]


def standing(run: int, finished: bool, alive: int, paused: bool, resetting: bool) -> str:
    """In a word."""
    if resetting:
        return "being deleted"
    if finished:
        return "finished"
    if alive:
        return "paused" if paused else "running"
    return "interrupted" if run else "without a record"


def instant(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(int(seconds), timezone.utc).isoformat()


def ago(text: str | None, now: float) -> str:
    """``3 min ago``; by two clocks, so never in the future."""
    if text is None:
        return "-"
    seconds = max(0.0, now - datetime.fromisoformat(text).timestamp())
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def shown(arguments: dict[str, str] | None) -> str:
    if arguments is None:
        return "unknown"
    return " ".join(f"-a {name}={value}" for name, value in arguments.items()) or "none"


def told(facts: dict[str, Any], now: float) -> list[str]:
    """One crawl, for people."""
    lines = [
        f"crawl      {facts['crawl']}",
        f"state      {facts['state']}"
        + (f"; paused: {', '.join(sorted(some))}" if (some := set(facts["paused"]) - {"*"}) else ""),
        f"run        {facts['run']}, begun {facts['begun'] or 'at an unknown time'}, {ago(facts['begun'], now)}",
        f"last call  {ago(facts['heard'], now)}",
        f"job        project {facts['project'] or 'unknown'}, spider {facts['spider'] or 'unknown'}",
        f"arguments  {shown(facts['arguments'])}",
        f"seeding    {SEEDING[facts['seeding']]}",
        f"requests   {facts['pending']} pending, {facts['delayed']} delayed, {facts['in_flight']} in flight;"
        f" {counted(facts['seen'], 'URL')} seen",
        *(
            f"  {slot['slot']}  {slot['pending']} pending: {'; '.join(slot['why'])}"
            for slot in facts.get("waiting", ())
        ),
        f"dead       {facts['dead']}" + "".join(f", {reason} {n}" for reason, n in facts["dead_by_reason"].items()),
        f"workers    {len(facts['workers'])}",
    ]
    if facts["reset_by"]:
        lines.insert(2, f"           by {facts['reset_by']}; if that died, the next start or reset goes on with it")
    for worker in facts["workers"]:
        left = worker["lease_ends_in"]
        lease = f"lease ends in {left:.0f} s" if left > 0 else "dead, what it holds goes to others"
        lines.append(f"  {worker['worker']}  {worker['state'] or 'silent'}, holds {worker['holds']}, {lease}")
    return lines


#: What the states of seeding mean.
SEEDING = {
    "open": "not done: the next worker runs start()",
    "claimed": "a worker runs start()",
    "done": "done: start() is exhausted, and all it gave is stored",
}


def table(found: list[dict[str, Any]], now: float) -> str:
    """All crawls, one line each."""
    rows: list[tuple[str, ...]] = [("crawl", *COLUMNS)]
    for facts in found:
        said = {
            **facts,
            "workers": len(facts["workers"]),
            "arguments": shown(facts["arguments"])[:60],
            "heard": ago(facts["heard"], now),
        }
        rows.append((facts["crawl"], *(str(said[name]) for name in COLUMNS)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
