"""``scrapy mocra reset``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.control import FINE, WRONG, who_asks, with_backend
from mocra_scrapy.commands.verbs.crawl_names import crawl_named, is_there
from mocra_scrapy.models import QueueOptions
from mocra_scrapy.models.wording import counted
from mocra_scrapy.runtime.deaths import declare_dead
from mocra_scrapy.runtime.joining import forget_values, left_of
from mocra_scrapy.runtime.sign_of_life import Signs
from mocra_scrapy.settings.crawl import read_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mocra_scrapy.interfaces import IBackend, IRequestQueue
    from mocra_scrapy.models import WorkerInfo


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Delete all that is stored of a crawl: requests, the filter, dead letters, pauses and live settings,
    so that the next worker begins it anew. Exit code 1: it was not done.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("crawl", help="its name (project:spider), or the spider's")
        parser.add_argument("--yes", action="store_true", help="don't ask")
        parser.add_argument(
            "--force",
            action="store_true",
            help="although workers live: those that do begin the crawl anew, those that were killed are not waited for",
        )

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        code = FINE

        async def use(backend: IBackend) -> None:
            nonlocal code
            assert command.settings is not None
            crawl = await crawl_named(backend, command.settings, options.crawl)
            queue = backend.request_queue(crawl, QueueOptions())
            try:
                prefix = read_options(command.settings, "").key_prefix
                async for name, _ in declare_dead(queue, Signs.of(backend.url, prefix, crawl)):
                    print(f"Worker {name} died: its process is gone")
                code = await self._reset(backend, queue, crawl, options)
            finally:
                await queue.close()

        return with_backend(command, use) or code

    async def _reset(self, backend: IBackend, queue: IRequestQueue, crawl: str, options: argparse.Namespace) -> int:
        if not (options.force or await anything_of(backend, queue, crawl)):
            there = ", ".join(await backend.crawls()) or "none"
            print(f"Error: {backend.url} knows no crawl {crawl!r}. There are: {there}", file=sys.stderr)
            return WRONG
        size = await queue.size()
        what = f"{left_of(size)}, {counted(size.seen, 'URL')} seen, {counted(size.dead, 'dead letter')}"
        print(f"Crawl {crawl!r} on {backend.url}: {what}")
        alive = [worker for worker in await queue.workers() if worker.expires_in > 0]
        if alive and not options.force:
            return refused(crawl, alive)
        if not (options.yes or agreed()):
            print("Nothing was deleted")
            return WRONG
        alive = list(await queue.reset(who_asks(), options.force))
        if alive:
            return refused(crawl, alive)  # who came meanwhile
        await forget_values(backend, crawl)
        print(f"Crawl {crawl!r} is deleted; the next worker begins it")
        return FINE


async def anything_of(backend: IBackend, queue: IRequestQueue, crawl: str) -> bool:
    """Whether anything is known or left of *crawl*, of which somebody may have deleted a part."""
    if await is_there(backend, crawl) or (await queue.record()).reset_by:
        return True
    audit = await queue.audit()
    return bool(audit.found_pending or audit.found_leased)


def agreed() -> bool:
    """Asks; where nobody can answer that is a no."""
    try:
        return input("Delete all of it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print("(nobody answered: --yes doesn't ask)")
        return False


def refused(crawl: str, alive: Sequence[WorkerInfo]) -> int:
    """Says who works on it; the exit code."""
    names = "\n".join(f"  {worker.name}, counts as dead in {worker.expires_in:.0f} s" for worker in alive[:10])
    print(
        f"Error: {counted(len(alive), 'worker')} of it live, and may be at work:\n{names}\n"
        f"Stop them (scrapy mocra control stop --crawl {crawl}) and wait for their end; a worker that was killed counts as"
        " dead when its lease runs out. --force deletes it now, and workers that live begin it anew",
        file=sys.stderr,
    )
    return WRONG
