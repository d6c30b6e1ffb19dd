"""``scrapy mocra slots``: the limits of a running crawl, slot by slot."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.control import FINE
from mocra_scrapy.commands.verbs.slot_words import Words, in_words, seconds_of, slot_called, with_slots
from mocra_scrapy.commands.verbs.verb import positive
from mocra_scrapy.models import Circuit
from mocra_scrapy.models.wording import counted
from mocra_scrapy.settings.throttle_rules import parse_quotas, parse_rate

if TYPE_CHECKING:
    from mocra_scrapy.control.slots import SlotControl, SlotView
    from mocra_scrapy.models import Quota, QuotaState

USAGE = {
    "look": "[PATTERN]",
    "rate": "SLOT RATE",
    "quota": "SLOT QUOTA",
    "hold": "SLOT TIME",
    "pause": "SLOT …",
    "resume": "SLOT …",
    "reset": "SLOT …",
}
#: Option -> the actions that it says something to.
ONLY = {"lasts": "rate", "force": "rate quota hold pause resume reset"}
#: Slots that are shown unless more are asked for.
TOP = 20
COLUMNS = ("slot", "pending", "out", "rate", "from", "next in", "backlog", "stands")


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Look at the slots of a crawl, and change their limits while it runs: on all workers, at once, also
    on those that start later; until the run ends, or for a time. Exit codes: 0; 1 it can't be done;
    2 the command line makes no sense.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        lines = "; ".join(f"{action} CRAWL {words}" for action, words in USAGE.items())
        parser.add_argument("words", nargs="*", metavar="action CRAWL …", help=lines)
        parser.add_argument("--crawl", metavar="NAME", help="the crawl's name, in place of CRAWL")
        parser.add_argument("--for", dest="lasts", metavar="TIME", help="rate: for so long (10m, 1h), then as before")
        parser.add_argument("--force", action="store_true", help="also a slot of which nothing is known yet")
        parser.add_argument(
            "--top",
            type=positive,
            default=TOP,
            metavar="N",
            help="look: so many slots, those with most pending first (default: %(default)s)",
        )
        parser.add_argument("--json", action="store_true", help="a line of JSON for each slot, as it stands then")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        async def use(slots: SlotControl, words: Words) -> int:
            if words.action == "look":
                await _look(slots, words, options)
                return FINE
            for name, said in await _change(slots, words, options):
                print(json.dumps(as_json(await slots.view(name))) if options.json else said)
            return FINE

        return with_slots(command, options, "slots", USAGE, use, only=ONLY)


async def _change(slots: SlotControl, words: Words, options: argparse.Namespace) -> list[tuple[str, str]]:
    """Slots, and what was done to each. All is checked first: of several slots none is left out."""
    how = words.rest.pop() if words.action in ("rate", "quota", "hold") else ""
    names = [slot_called(word) for word in words.rest]
    interval = parse_rate(how, names[0]) if words.action == "rate" else 0.0
    seconds = seconds_of(how) if words.action == "hold" else 0.0
    quotas = quotas_of(how, names[0]) if words.action == "quota" else None
    lasts = None if options.lasts is None else seconds_of(options.lasts)
    await slots.check(names, known=not options.force)
    if words.action == "rate":
        return [(name, await _rate(slots, name, interval, lasts)) for name in names]
    if words.action == "quota":
        return [(name, await _quota(slots, name, quotas)) for name in names]
    if words.action == "hold":
        return [(name, await _hold(slots, name, seconds)) for name in names]
    return [(name, await _DO[words.action](slots, name)) for name in names]


async def _rate(slots: SlotControl, name: str, interval: float, lasts: float | None) -> str:
    state = await slots.rate(name, interval, lasts)
    until = "until the run ends" if lasts is None else f"for {in_words(lasts)}"
    slowed = f"; failures keep it at {rate_of(state.limit.interval)} now" if state.slowed else ""
    return f"{name}: {rate_of(interval)}, {until}{slowed}"


async def _quota(slots: SlotControl, name: str, quotas: tuple[Quota, ...] | None) -> str:
    state = await slots.quota(name, quotas)
    what = ", ".join(f"{in_quota(one)}, {one.used:,} used" for one in state.quotas) or "no quota"
    return f"{name}: {what}" + (", as the settings say" if quotas is None else ", until the run ends")


async def _hold(slots: SlotControl, name: str, seconds: float) -> str:
    state = await slots.hold(name, seconds)
    return f"{name}: nothing departs for {in_words(state.held or seconds)}; scrapy mocra slots resume ends it"


async def _pause(slots: SlotControl, name: str) -> str:
    await slots.pause(name)
    return f"{name}: nothing departs until scrapy mocra slots resume"


async def _resume(slots: SlotControl, name: str) -> str:
    return f"{name}: goes on" if await slots.resume(name) else f"{name}: it was neither paused nor held"


async def _reset(slots: SlotControl, name: str) -> str:
    given_up = await slots.reset(name)
    return f"{name}: the settings rule again" + ("; it was given up, and is tried again" if given_up else "")


_DO = {"pause": _pause, "resume": _resume, "reset": _reset}


async def _look(slots: SlotControl, words: Words, options: argparse.Namespace) -> None:
    views, count = await slots.look(words.rest[0] if words.rest else "*", options.top)
    if options.json:
        for view in views:
            print(json.dumps(as_json(view)))
        return
    if views:
        print(table(views))
    if count > len(views):
        print(f"{counted(count - len(views), 'slot')} more: --top {count}, or a pattern")
    elif not views:
        print(f"Crawl {slots.crawl!r} has no such slot now: nothing is pending, changed or held")


# ---------------------------------------------------------------------- for people


def table(views: Sequence[SlotView]) -> str:
    rows: list[tuple[str, ...]] = [COLUMNS, *(row_of(view) for view in views)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def row_of(view: SlotView) -> tuple[str, ...]:
    state, interval = view.state, view.state.limit.interval
    if state.change.lasts is not None and state.change.interval is not None:
        interval = max(interval, state.change.interval)  # in force it ends with the change
    return (
        view.name,
        f"{view.pending:,}",
        str(state.permits),
        rate_of(interval)
        + (f", {state.limit.concurrency} at once" if state.limit.concurrency else "")
        + "".join(f", {in_quota(one)}" for one in state.quotas),
        origin_of(view),
        "-" if state.paused else "now" if not state.wait else in_words(state.wait),
        in_words(view.backlog) if view.backlog else "-",
        "; ".join(standing(view)) or "-",
    )


def rate_of(interval: float) -> str:
    if not interval:
        return "any rate"
    return f"{1 / interval:.3g}/s" if interval <= 1 else f"one in {in_words(interval)}"


def quotas_of(text: str, subject: str) -> tuple[Quota, ...] | None:
    """``1000/day``, several with commas, ``none`` or ``settings`` (``None``)."""
    if text in ("none", "settings"):
        return () if text == "none" else None
    return parse_quotas([part.strip() for part in text.split(",")], subject)


def in_quota(state: QuotaState) -> str:
    """What a quota allows."""
    return f"{state.quota.most:,} in {in_words(state.quota.window)}"


def origin_of(view: SlotView) -> str:
    """Where the rate in force comes from."""
    state = view.state
    if state.slowed:
        return "failures of the site, it recovers"
    change = state.change
    if change.interval is not None and not change.adapted:
        by = view.notes.get("rate", {}).get("by") or "somebody"
        return f"{by}" + ("" if change.lasts is None else f", for {in_words(change.lasts)}")
    if change.least and state.limit.interval <= change.least + 0.001:
        return "Crawl-delay in robots.txt"
    if change.interval is not None:
        return "adapted to the site"
    return "settings: " + ", ".join(view.origins) if view.origins else "no rule"


def standing(view: SlotView) -> list[str]:
    """Why nothing of it departs, or soon may not."""
    state, circuit, stall, told = view.state, view.circuit, view.stall, []
    by = view.notes.get("hold", {}).get("by")
    if state.paused:
        told.append(f"paused by {by or 'somebody'}")
    elif state.held and not (circuit.circuit is Circuit.OPEN and abs(circuit.wait - state.held) < 1):
        told.append(f"held for {in_words(state.held)}: " + (f"by {by}" if by else "the site asked"))
    told += [
        f"quota used up ({in_quota(quota)}), opens in {in_words(quota.wait)}"
        for quota in state.quotas
        if quota.wait > 0
    ]
    if circuit.circuit is not Circuit.CLOSED:
        left = f" for {in_words(circuit.wait)}" if circuit.circuit is Circuit.OPEN else ""
        told.append(f"circuit {circuit.circuit.name.lower().replace('_', '-')}{left}")
    if stall.given_up:
        told.append(f"given up: {stall.given_up}")
    elif stall.attempts:
        told.append(f"{counted(stall.attempts, 'attempt')} failed in a row, {in_words(stall.seconds)}")
    return told


def as_json(view: SlotView) -> dict[str, Any]:
    """All of it; times in seconds from now, but for those of notes."""
    state = view.state
    change = {name: value for name, value in asdict(state.change).items() if value not in (None, False)}
    return {
        "slot": view.name,
        "pending": view.pending,
        "permits": state.permits,
        "interval": state.limit.interval,
        "burst": state.limit.burst,
        "concurrency": state.limit.concurrency,
        "jitter": state.limit.jitter,
        "quotas": [
            {"most": one.quota.most, "window": one.quota.window, "used": one.used, "wait": one.wait}
            for one in state.quotas
        ],
        "from": origin_of(view),
        "settings": list(view.origins),
        "change": change or None,
        "slowed": state.slowed or None,
        "paused": state.paused,
        "held": state.held,
        "wait": None if state.paused else state.wait,
        "backlog": view.backlog,
        "circuit": view.circuit.circuit.name.lower(),
        "circuit_wait": view.circuit.wait,
        "circuit_openings": view.circuit.times,
        "stall_attempts": view.stall.attempts,
        "stall_seconds": view.stall.seconds,
        "given_up": view.stall.given_up or None,
        "stands": standing(view),
        "said": view.notes,
    }
