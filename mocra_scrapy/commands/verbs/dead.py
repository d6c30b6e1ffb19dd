"""``scrapy mocra dead list|show|parse|replay|purge|export``: dead letters."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from scrapy.commands import ScrapyCommand
from scrapy.utils.misc import load_object
from scrapy.utils.request import RequestFingerprinter

from mocra_scrapy.codec.compression import PayloadReader
from mocra_scrapy.codec.dead_letter_view import as_json, as_line, as_text, fingerprint_of, instant
from mocra_scrapy.commands.verbs.backend_session import opened_backend
from mocra_scrapy.commands.verbs.crawl_names import crawl_named
from mocra_scrapy.commands.verbs.dead_parse import Found, parse
from mocra_scrapy.commands.verbs.dead_responses import show_response, stored_response
from mocra_scrapy.commands.verbs.dead_which import UsageProblem, point_in_time, which_crawl
from mocra_scrapy.commands.verbs.verb import positive
from mocra_scrapy.exceptions import ConfigurationError, MocraError
from mocra_scrapy.models import DeadLetter, LetterFilter
from mocra_scrapy.models.wording import counted
from mocra_scrapy.settings.crawl import Options

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

    from mocra_scrapy.interfaces import IRequestQueue

#: Letters of one look.
PAGE = 200


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """List, show, parse, replay, purge or export dead letters. Exit code 1 when it can't be done, or
    an ID is unknown; of parse also when the callback fails.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        actions = ("list", "show", "parse", "replay", "purge", "export")
        parser.add_argument("action", choices=actions, metavar="action", help=" | ".join(actions))
        parser.add_argument("words", nargs="*", metavar="SPIDER [ID …]", help="whose; with --crawl only IDs")
        parser.add_argument("--crawl", metavar="NAME", help="the crawl's name, in place of a spider's")
        parser.add_argument("--reason", help="only letters of this reason")
        parser.add_argument("--slot", help="only letters of this slot (host)")
        parser.add_argument(
            "--since", type=point_in_time, metavar="TIME", help="died at TIME or later: 2h, 2026-01-31, …"
        )
        parser.add_argument("--until", type=point_in_time, metavar="TIME", help="died before TIME")
        parser.add_argument(
            "--records",
            choices=("with", "without", "only"),
            help="records of requests that are done (default: with; replay: without)",
        )
        parser.add_argument("--limit", type=positive, metavar="N", help="the N oldest (default: all; list: 20)")
        parser.add_argument(
            "--all", action="store_true", help="replay, purge: all that fit; needed if nothing is named"
        )
        parser.add_argument("--forget", action="store_true", help="replay: let the filter forget the request, too")
        parser.add_argument("-o", "--output", metavar="FILE", help="export, show --body: to FILE, not standard output")
        parser.add_argument("--body", action="store_true", help="show: the body of the response that is kept, as it is")
        parser.add_argument("--headers", action="store_true", help="show: its status and headers")
        parser.add_argument(
            "-a", dest="arguments", action="append", default=[], metavar="NAME=VALUE", help="parse: a spider argument"
        )
        parser.add_argument("--pipelines", action="store_true", help="parse: process items through pipelines")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        assert command.settings is not None
        try:
            chosen, ids = which_crawl(command.settings, options)
            action = Action(options, command.settings, chosen, ids)
            action.own_fingerprints = (
                load_object(command.settings["REQUEST_FINGERPRINTER_CLASS"]) is RequestFingerprinter
            )
            code = asyncio.run(action.run())
            return code if action.found is None else parse(action.found, command.settings, options)
        except MocraError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
        except UsageProblem as problem:
            print(f"Error: {problem}", file=sys.stderr)
            return 2


class Action:
    """One call of the command.

    Args:
        options: the command line.
        settings: the project's.
        chosen: the settings of the crawl.
        ids: letters that were named.

    Attributes:
        own_fingerprints: whether the project uses Scrapy's own fingerprinter.
        found: the letter to parse.
    """

    own_fingerprints = True
    found: Found | None = None

    def __init__(self, options: argparse.Namespace, settings: BaseSettings, chosen: Options, ids: list[str]) -> None:
        self.options, self._settings, self.chosen, self.ids = options, settings, chosen, ids
        records = options.records or ("without" if options.action == "replay" else "with")
        done = {"with": None, "without": False, "only": True}[records]
        self._reader = PayloadReader(chosen.entry_max_bytes)
        self.where = LetterFilter(options.reason, options.slot, options.since, options.until, done)

    async def run(self) -> int:
        action = self.options.action
        if action == "show" and not self.ids:
            raise UsageProblem("Which? scrapy mocra dead show SPIDER ID …; list tells the IDs")
        if (action == "parse" or self._shows_response) and len(self.ids) != 1:
            raise UsageProblem(f"Which one? scrapy mocra dead {action} SPIDER ID; list marks those with a body")
        narrow = (self.options.reason, self.options.slot, self.options.since, self.options.until, self.options.limit)
        chosen = self.ids or self.options.all or any(part is not None for part in narrow)
        if action in ("replay", "purge") and not chosen:
            raise UsageProblem(
                f"Which ones? Name IDs, or --reason, --slot, --since, --until, --limit; all: {action} --all"
            )
        async with self._opened() as queue:
            return int(await getattr(self, f"_{action}")(queue))

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[IRequestQueue]:
        chosen = self.chosen
        async with opened_backend(chosen) as (backend, _):
            if self.options.crawl is not None:
                self.chosen = chosen = replace(
                    chosen, crawl=await crawl_named(backend, self._settings, self.options.crawl)
                )
            queue = backend.request_queue(chosen.crawl, chosen.queue)
            try:
                if not (await queue.state()).run and not (await queue.size()).dead:
                    fix = f"Check the name and MOCRA_KEY_PREFIX = {chosen.key_prefix!r}"
                    raise ConfigurationError("MOCRA_CRAWL", f"{backend.url} knows no crawl {chosen.crawl!r}", fix)
                yield queue
            finally:
                await queue.close()

    async def _letters(self, queue: IRequestQueue, most: int | None) -> AsyncIterator[list[DeadLetter]]:
        """The letters that are meant, page by page, the oldest first."""
        if self.ids:
            found = [letter for letter in await queue.find_dead(self.ids) if letter is not None]
            yield await self._readable(queue, found)
            return
        after, left = None, most if most is not None else 2**62
        while left > 0 and (page := list(await queue.dead(min(PAGE, left), after=after, where=self.where))):
            yield await self._readable(queue, page)
            after, left = page[-1].id, left - len(page)

    async def _readable(self, queue: IRequestQueue, letters: list[DeadLetter]) -> list[DeadLetter]:
        """The same letters with what was stored of their requests decompressed."""
        if self._reader.lacks(letter.body for letter in letters):
            self._reader.load((await queue.dictionaries()).contents)
        return [replace(letter, body=self._reader.payload(letter.body)) for letter in letters]

    @property
    def _shows_response(self) -> bool:
        return self.options.action == "show" and bool(self.options.body or self.options.headers)

    async def _list(self, queue: IRequestQueue) -> int:
        most, shown = self.options.limit or 20, 0
        async for page in self._letters(queue, most):
            sizes = await queue.response_sizes([letter.id for letter in page])
            for letter, size in zip(page, sizes, strict=True):
                marks = ["done"] * letter.done + ["body"] * (size > 0)
                mark = f" ({', '.join(marks)})" if marks else ""
                tries = f"{counted(letter.deliveries, 'delivery')}, {counted(letter.retries, 'retry')}"
                url = as_json(letter, self.chosen.secret_params)["url"]
                print(f"{letter.id}  {instant(letter.died_at)}  {letter.reason}{mark}  {tries}  {url}")
                shown += 1
        counts = await queue.count_dead(self.where)
        total = sum(counts.values())
        by_reason = ", ".join(f"{reason} {number}" for reason, number in sorted(counts.items()))
        more = f"; {total - shown} more: --limit N, or export" if not self.ids and total > shown else ""
        print(counted(total, "dead letter") + (f": {by_reason}" if total else "") + more)
        return self._unknown(shown)

    async def _show(self, queue: IRequestQueue) -> int:
        if self._shows_response:
            return await show_response(queue, self.ids[0], self.options)
        letters = [letter async for page in self._letters(queue, None) for letter in page]
        sizes = await queue.response_sizes([letter.id for letter in letters])
        texts = [as_text(letter, self.chosen.secret_params) for letter in letters]
        kept = [f"response: kept ({size} bytes); --headers and --body show it\n" if size else "" for size in sizes]
        print("\n\n".join(more + text for more, text in zip(kept, texts, strict=True)))
        return self._unknown(len(letters))

    async def _parse(self, queue: IRequestQueue) -> int:
        letters = [letter async for page in self._letters(queue, None) for letter in page]
        response = await stored_response(queue, self.ids[0]) if letters else None
        if response is not None:
            self.found = Found(letters[0], response, (await queue.record()).job, self.chosen)
        return self._unknown(len(letters)) or int(response is None)

    async def _export(self, queue: IRequestQueue) -> int:
        written = 0
        # Opened at once, and not in another thread: a command has no loop that others wait for.
        file = open(self.options.output, "w", encoding="utf-8") if self.options.output else None  # noqa: ASYNC230, PTH123, SIM115
        try:
            async for page in self._letters(queue, self.options.limit):
                for letter in page:
                    print(as_line(letter, self.chosen.secret_params), file=file)
                    written += 1
        finally:
            if file is not None:
                file.close()
        print(f"{counted(written, 'dead letter')} exported", file=sys.stderr)
        return self._unknown(written)

    async def _replay(self, queue: IRequestQueue) -> int:
        replayed, deliveries = 0, set()
        # What fails again meanwhile is not meant: a crawl that runs would be replayed for ever.
        there = sum((await queue.count_dead(self.where)).values())
        async for page in self._letters(queue, min(there, self.options.limit or there)):
            found = await queue.replay([letter.id for letter in page], forget=self.options.forget)
            back = [letter.delivery for letter, is_found in zip(page, found, strict=True) if is_found]
            replayed += len(back)
            deliveries.update(back)
            if self.options.forget:
                await self._forget(queue, [letter for letter in page if letter.fingerprint is None])
        of = f" of {counted(len(deliveries), 'request')}" if len(deliveries) < replayed else ""
        are = "is" if replayed == 1 else "are"
        print(f"{counted(replayed, 'dead letter')}{of} {are} back in the queue of crawl {self.chosen.crawl!r}")
        if not self.ids and self.where.done is False:
            left = sum((await queue.count_dead(replace(self.where, done=True))).values())
            if left:
                print(
                    f"{counted(left, 'record')} of requests that are done: not replayed; --records with replays these, too"
                )
        return self._unknown(replayed)

    async def _forget(self, queue: IRequestQueue, letters: list[DeadLetter]) -> None:
        """What the queue itself gave up comes without a fingerprint: worked out here, as Scrapy's
        own fingerprinter does.
        """
        found = [fingerprint_of(letter.body) if self.own_fingerprints else None for letter in letters]
        known = [one for one in found if one is not None]
        await queue.forget(known)
        if len(known) < len(letters):
            print(f"Without a known fingerprint: {len(letters) - len(known)}; the filter still knows them")

    async def _purge(self, queue: IRequestQueue) -> int:
        if self.ids:
            purged = sum(await queue.purge(self.ids))
        else:
            left, purged = self.options.limit or 2**62, 0
            while left > purged and (some := await queue.purge_where(self.where, min(1000, left - purged))):
                purged += some
        print(f"{counted(purged, 'dead letter')} purged")
        return self._unknown(purged)

    def _unknown(self, found: int) -> int:
        """The exit code: 1 when IDs were named that there are not."""
        missing = len(set(self.ids)) - found
        if missing > 0:
            print(f"Unknown IDs: {missing} (replayed, purged, too old, or of another crawl)", file=sys.stderr)
        return int(missing > 0)
