"""``scrapy mocra sessions``: the sessions of a crawl, without what they hold."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.control import FINE, NO_SENSE, WRONG, with_backend
from mocra_scrapy.commands.verbs.crawl_names import crawl_named
from mocra_scrapy.exceptions import UnreadablePayload
from mocra_scrapy.models.coordination import pools_namespace, sessions_namespace
from mocra_scrapy.models.sessions import DATA, HEADER
from mocra_scrapy.models.wording import counted
from mocra_scrapy.runtime.figures import duration
from mocra_scrapy.sessions.cookie_merge import State, tidied, unpack
from mocra_scrapy.sessions.pool_state import OVER, Entry, PoolState
from mocra_scrapy.sessions.sealing import Seal
from mocra_scrapy.settings.reader import SettingsReader
from mocra_scrapy.settings.sessions import read_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mocra_scrapy.interfaces import IBackend, IShared
    from mocra_scrapy.models import SharedValue

WORDS = ("list", "show", "drop")


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """List the sessions of a crawl, show what one has (the names of its cookies, not their values), or drop
    some: all workers forget them, and pools make others. Exit codes: 0; 1 it can't be done, or there is none;
    2 the command line makes no sense.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("what", nargs="?", choices=WORDS, default="list")
        parser.add_argument("words", nargs="*", metavar="CRAWL [SESSION …]", help="project:spider, or the spider")
        parser.add_argument("--crawl", metavar="NAME", help="the crawl's name, in place of CRAWL")
        parser.add_argument("--all", action="store_true", help="drop: every session")
        parser.add_argument("--json", action="store_true", help="a line of JSON for each")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        assert command.settings is not None
        settings, words = command.settings, list(options.words)
        crawl = options.crawl or (words.pop(0) if words else settings.get("MOCRA_CRAWL"))
        wrong = _senseless(options, crawl, words)
        if wrong:
            print(f"Error: {wrong}", file=sys.stderr)
            return NO_SENSE
        code = FINE

        async def use(backend: IBackend) -> None:
            nonlocal code
            name = await crawl_named(backend, settings, crawl)
            seal = Seal(read_keys(SettingsReader(settings).value("MOCRA_SECRET_KEY")))
            stored = Stored(backend, name, seal)
            verbs = {"list": stored.listed, "show": stored.shown, "drop": stored.dropped}
            try:
                code = await verbs[options.what](words, options)
            finally:
                await stored.close()

        return with_backend(command, use) or code


def _senseless(options: argparse.Namespace, crawl: str | None, words: list[str]) -> str:
    if not crawl:
        return f"whose? scrapy mocra sessions {options.what} CRAWL (project:spider, or the spider)"
    if options.what == "show" and not words:
        return "which one? scrapy mocra sessions show CRAWL SESSION; list names them"
    if options.what == "drop" and bool(words) == options.all:
        return "which ones? scrapy mocra sessions drop CRAWL SESSION …, or --all"
    if options.all and options.what != "drop":
        return "--all is for drop"
    return ""


class Stored:
    """The sessions and pools of *crawl*."""

    def __init__(self, backend: IBackend, crawl: str, seal: Seal) -> None:
        self.crawl, self._seal = crawl, seal
        self._sessions: IShared = backend.shared_values(sessions_namespace(crawl))
        self._pools: IShared = backend.shared_values(pools_namespace(crawl))

    async def close(self) -> None:
        await self._sessions.close()
        await self._pools.close()

    async def _all(self) -> tuple[Mapping[str, SharedValue], dict[str, Entry]]:
        """What is stored, and the sessions of pools."""
        entries: dict[str, Entry] = {}
        for value in (await self._pools.everything()).values():
            try:
                entries.update(PoolState.unpack(value.value).sessions)
            except ValueError:
                continue  # the crawl begins it anew, and says so
        return await self._sessions.everything(), entries

    # ------------------------------------------------------------------ list, show

    async def listed(self, words: list[str], options: argparse.Namespace) -> int:
        stored, entries = await self._all()
        names = sorted({*stored, *(id for id, entry in entries.items() if entry.status != OVER)})
        names = [name for name in names if not words or any(name.startswith(word) for word in words)]
        for name in names:
            facts = self._facts(name, stored.get(name), entries.get(name))
            print(json.dumps(facts, ensure_ascii=False) if options.json else _line(facts))
        if not names and not options.json:
            print(f"Crawl {self.crawl!r} has no sessions" + (" of that name" if words else ""))
        return FINE

    async def shown(self, words: list[str], options: argparse.Namespace) -> int:
        stored, entries = await self._all()
        code = FINE
        for name in words:
            if name not in stored and name not in entries:
                print(f"Error: crawl {self.crawl!r} has no session {name!r}", file=sys.stderr)
                code = WRONG
                continue
            state, facts = self._state(name, stored.get(name)), self._facts(name, stored.get(name), entries.get(name))
            facts["cookies"] = [
                {"name": key[2], "domain": key[0], "path": key[1], "expires": one.expires}
                for key, one in sorted((state or {}).items())
                if key[0] and one.value is not None
            ]
            print(json.dumps(facts, ensure_ascii=False, indent=None if options.json else 2))
        return code

    def _state(self, name: str, stored: SharedValue | None) -> State | None:
        """What it holds; ``None``: that can't be read here."""
        if stored is None or stored.value is None:
            return {}
        try:
            return tidied(unpack(self._seal.open(name, stored.value)), time.time())
        except (UnreadablePayload, ValueError):
            return None

    def _facts(self, name: str, stored: SharedValue | None, entry: Entry | None) -> dict[str, Any]:
        state = self._state(name, stored)
        known = {key: one for key, one in (state or {}).items() if one.value is not None}
        fields = {key[2]: one.value for key, one in known.items() if not key[0]}
        return {
            "session": name,
            "pool": name.partition("/")[0] if entry is not None else None,
            "status": entry.status if entry is not None else None,
            "owner": (entry.owner or None) if entry is not None else None,
            "uses": entry.uses if entry is not None else None,
            "errors": entry.errors if entry is not None else None,
            "changed": None if stored is None else round(stored.version / 1e6, 3),
            "readable": state is not None,
            "cookies": sum(bool(key[0]) for key in known),
            "headers": sorted(field.removeprefix(HEADER) for field in fields if field.startswith(HEADER)),
            "data": sorted(field.removeprefix(DATA) for field in fields if field.startswith(DATA)),
            "proxy": fields.get("proxy"),
        }

    # ------------------------------------------------------------------ drop

    async def dropped(self, words: list[str], options: argparse.Namespace) -> int:
        stored, entries = await self._all()
        names = sorted({*stored, *entries}) if options.all else words
        code = FINE
        for name in names:
            if name not in stored and name not in entries:
                print(f"Error: crawl {self.crawl!r} has no session {name!r}", file=sys.stderr)
                code = WRONG
                continue
            await self._take_out(name)
            await self._sessions.put(name, None)
            print(json.dumps({"session": name}) if options.json else f"{name}: dropped")
        if options.all and not options.json:
            print(f"{counted(len(names), 'session')} of {self.crawl!r}")
        return code

    async def _take_out(self, name: str) -> None:
        """Nobody is given it any more; a worker that makes it now hears that it is not its own."""
        pool = name.partition("/")[0]
        while True:
            found = await self._pools.get(pool)
            try:
                state = PoolState.unpack(found.value)
            except ValueError:
                return
            if state.sessions.pop(name, None) is None:
                return
            if await self._pools.put(pool, state.pack(), version=found.version) is not None:
                return


def _line(facts: Mapping[str, Any]) -> str:
    parts = [facts["session"]]
    if facts["status"] is not None:
        parts.append(f"{facts['status']}, {counted(facts['uses'], 'use')}, errors {facts['errors']:g}")
    if not facts["readable"]:
        parts.append("encrypted with a key that is not known here (MOCRA_SECRET_KEY), or damaged")
    elif facts["changed"] is not None:
        parts.append(
            f"{counted(facts['cookies'], 'cookie')}, changed {duration(max(0.0, time.time() - facts['changed']))} ago"
        )
    if facts["proxy"]:
        parts.append(f"proxy {facts['proxy']}")
    return "  ".join(parts)
