"""``scrapy mocra budgets``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.control import NO_SENSE, with_control
from mocra_scrapy.commands.verbs.verb import positive
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import QueueOptions
from mocra_scrapy.models.budgets import COUNTED, KINDS
from mocra_scrapy.models.wording import counted
from mocra_scrapy.runtime.figures import amount, duration, size
from mocra_scrapy.settings.budgets import BUDGETS, NAME, checked_budgets

if TYPE_CHECKING:
    from collections.abc import Callable

    from mocra_scrapy.control import Control
    from mocra_scrapy.models import BudgetState

#: Names that are shown unless more are asked for.
LINES = 20
WORDS = ("look", "set", "reset")


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Look at what a crawl has had of its budgets (look), change limits while it runs (set), or go back to
    what the project's settings say (reset). Exit codes: 0; 1 it can't be done; 2 the command line makes
    no sense.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("what", nargs="?", choices=WORDS, default="look")
        parser.add_argument(
            "words", nargs="*", metavar="KIND[:NAME] [BUDGET=LIMIT …]", help="domain:example.com pages=5000 time=none"
        )
        parser.add_argument("--crawl", help="the crawl (project:spider), or its spider (default: MOCRA_CRAWL)")
        parser.add_argument(
            "--lines", type=positive, metavar="N", default=LINES, help="names that look shows (default: %(default)s)"
        )
        parser.add_argument("--json", action="store_true", help="look: a line of JSON for each name, all of them")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        name, *limits = options.words or [""]
        wrong = _senseless(options.what, name, limits)
        if wrong:
            print(f"Error: {wrong}", file=sys.stderr)
            return NO_SENSE

        async def use(control: Control) -> None:
            if options.what == "look":
                await _look(control, name, options)
            else:
                await _change(control, name, None if options.what == "reset" else limits)

        return with_control(command, options.crawl, use)


def _senseless(what: str, name: str, limits: list[str]) -> str:
    if what == "set" and not (name and limits and all("=" in limit for limit in limits)):
        return "of what, and to what? scrapy mocra budgets set domain:example.com pages=5000"
    if what != "set" and limits:
        return f"{limits[0]!r} means nothing after {what}: name one kind, or one KIND:NAME"
    if name and name.partition(":")[0] not in KINDS:
        return f"{name!r} is none of {', '.join(KINDS)}: write KIND or KIND:NAME, as domain:example.com"
    return ""


# ------------------------------------------------------------------ look


async def _look(control: Control, name: str, options: argparse.Namespace) -> None:
    queue = control.backend.request_queue(control.crawl, QueueOptions())
    try:
        states = sorted(await queue.budgets(name), key=lambda one: (not one.used_up, -one.pages, one.name))
    finally:
        await queue.close()
    if options.json:
        for state in states:
            print(json.dumps({**asdict(state), "used_up": state.used_up or None}, ensure_ascii=False))
        return
    live = (await control.settings()).get(NAME)
    print(f"Crawl {control.crawl}: {counted(len(states), 'name')} with budgets that something counted for")
    if live:
        print(f"Changed while it runs: {json.dumps(live, ensure_ascii=False)}")
    for state in states[: options.lines]:
        print("\n".join(_lines(state)))
    if len(states) > options.lines:
        print(f"{len(states) - options.lines:,} more: --lines {len(states)}")


_SHOWN: dict[str, Callable[[float], str]] = {"bytes": size, "time": duration}


def _lines(state: BudgetState) -> list[str]:
    parts = []
    for which in COUNTED:
        limit, has = getattr(state.limits, which), getattr(state, which)
        shown = _SHOWN.get(which, amount)
        parts.append(f"{which} {shown(has)}" + ("" if limit is None else f" of {shown(limit)}"))
    told = [f"{state.name}{f'  used up: {state.used_up}' if state.used_up else ''}", f"  {', '.join(parts)}"]
    if state.refused:
        told.append(f"  not crawled: {', '.join(f'{which} {amount(n)}' for which, n in sorted(state.refused.items()))}")
    return told


# ------------------------------------------------------------------ set, reset


async def _change(control: Control, name: str, limits: list[str] | None) -> None:
    """*limits* ``None``: back to what the settings say, of one name, one kind or all."""
    kind, _, of = name.partition(":")
    before: dict[str, Any] = (await control.settings()).get(NAME) or {}
    live = {one: dict(rules) for one, rules in before.items()}
    if limits is None:
        had = _taken_out(live, kind, of)
        live = {one: rules for one, rules in live.items() if rules}
        await (control.set(NAME, live) if live else control.reset(NAME))
        print(f"{name or 'Everything'} is what the project says" if had else f"{name or NAME} was not changed")
        return
    new = checked_budgets({kind: {of or "*": dict(_limit(limit) for limit in limits)}})
    for key, rule in new[kind].items():
        live.setdefault(kind, {})[key] = {**live.get(kind, {}).get(key, {}), **rule}
    await control.set(NAME, live)
    there = counted(len(await control.workers()), "worker")
    print(f"Told {there} of {control.crawl}: {kind}:{of or '*'} {' '.join(limits)}")


def _taken_out(live: dict[str, dict[str, Any]], kind: str, of: str) -> bool:
    had = [one for one in live if not kind or (one == kind and (not of or of in live[one]))]
    for one in had:
        if of:
            live[one].pop(of)
        else:
            live[one].clear()
    return bool(had)


def _limit(text: str) -> tuple[str, Any]:
    budget, _, limit = text.partition("=")
    if budget not in BUDGETS:
        raise ConfigurationError(text, f"{budget!r} is no budget", f"Use {', '.join(BUDGETS)}")
    return budget, None if limit.lower() in ("none", "") else limit
