"""``scrapy mocra breaker``: the circuits of a running crawl."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.control import FINE, WRONG
from mocra_scrapy.commands.verbs.slot_words import Words, WrongWords, in_words, seconds_of, slot_called, with_slots
from mocra_scrapy.models import Circuit

if TYPE_CHECKING:
    from mocra_scrapy.control.slots import SlotControl
    from mocra_scrapy.models import BreakerState

USAGE = {"look": "[SLOT]", "open": "SLOT [TIME]", "close": "SLOT …", "reset": "[SLOT …]"}
#: Option -> the actions that it says something to.
ONLY = {"all": "reset", "force": "open"}
#: Slots that are asked for at once, and shown.
MOST = 1000


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Show which slots of a crawl are open, open one, close one: on all workers, at once. Exit codes: 0;
    1 it can't be done, or it was not so; 2 the command line makes no sense.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        lines = "; ".join(f"{action} CRAWL {words}" for action, words in USAGE.items())
        parser.add_argument("words", nargs="*", metavar="action CRAWL …", help=lines)
        parser.add_argument("--crawl", metavar="NAME", help="the crawl's name, in place of CRAWL")
        parser.add_argument("--all", action="store_true", help="reset: every slot that is not closed")
        parser.add_argument("--force", action="store_true", help="open: also a slot of which nothing is known yet")
        parser.add_argument("--json", action="store_true", help="a line of JSON for each slot, as it stands then")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        async def use(slots: SlotControl, words: Words) -> int:
            names = [slot_called(name) for name in words.rest[: 1 if words.action == "open" else None]]
            if words.action == "look":
                await _look(slots, names, options.json)
            elif words.action == "open":
                seconds = seconds_of(words.rest[1]) if len(words.rest) > 1 else None
                await slots.check(names, known=not options.force)
                state = await slots.open(names[0], seconds)
                said = f"{names[0]}: open for {in_words(state.wait)}, then one request tries the site"
                print(json.dumps(facts_of(state)) if options.json else said)
            else:
                return await _close(slots, words.action, names, options)
            return FINE

        return with_slots(command, options, "breaker", USAGE, use, only=ONLY)


async def _look(slots: SlotControl, names: list[str], as_json: bool) -> None:
    states = [await slots.circuit(name) for name in names] or list(await slots.tripped(MOST + 1))
    for state in states[:MOST]:
        print(json.dumps(facts_of(state)) if as_json else line_of(state))
    if len(states) > MOST:
        print(f"There are more than these {MOST:,}", file=sys.stderr)
    if not states and not as_json:
        print(f"No circuit of {slots.crawl!r} is open")


async def _close(slots: SlotControl, action: str, names: list[str], options: argparse.Namespace) -> int:
    if not names and not options.all:
        raise WrongWords("write: scrapy mocra breaker reset CRAWL SLOT …, or --all")
    if names and options.all:
        raise WrongWords("--all is every slot: name none beside it")
    done = [await _closed(slots, action, name, options.json) for name in names]
    while options.all and (tripped := await slots.tripped(MOST)):
        closed = [await _closed(slots, action, state.slot, options.json) for state in tripped]
        done += closed
        if not any(closed):  # others close them meanwhile
            break
    return FINE if all(done) else WRONG


async def _closed(slots: SlotControl, action: str, name: str, as_json: bool) -> bool:
    """Close one and say so; ``False``: it was not open."""
    was_open = await slots.reset_circuit(name)
    given_up = action == "reset" and await slots.reset_stall(name)
    more = "; it was given up, and is tried again" if given_up else ""
    if as_json:
        print(json.dumps(facts_of(await slots.circuit(name))))
    else:
        print(f"{name}: {'closed' if was_open else 'it was not open'}{more}")
    return was_open or given_up


def line_of(state: BreakerState) -> str:
    kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(state.kinds.items()))
    told = [f"{state.slot}: {state.circuit.name.lower().replace('_', '-')}"]
    if state.circuit is Circuit.OPEN:
        told.append(f"for {in_words(state.wait)}")
    if state.times:
        told.append(f"({state.times} in a row, {state.successes} probes went well)")
    if state.total or state.failed:
        told.append(f"{state.failed} of {state.total} failed" + (f": {kinds}" if kinds else ""))
    return " ".join(told)


def facts_of(state: BreakerState) -> dict[str, Any]:
    return {
        "slot": state.slot,
        "circuit": state.circuit.name.lower(),
        "wait": state.wait,
        "openings": state.times,
        "successes": state.successes,
        "failed": state.failed,
        "total": state.total,
        "kinds": dict(state.kinds),
    }
