"""``ProgressLine``: one line at the bottom of the terminal says how the crawl goes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from scrapy.exceptions import NotConfigured

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.models import Seeding
from mocra_scrapy.models.wording import plural
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.runtime.figures import amount, duration, errors_in, figures_of
from mocra_scrapy.runtime.terminal_line import TerminalLine, can_draw
from mocra_scrapy.settings.identity import one_off_command
from mocra_scrapy.settings.reports import read_reports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy.crawler import Crawler
    from typing_extensions import Self

#: Seconds between two drawings on a terminal, and between two lines elsewhere.
DRAW, PRINT = 1.0, 10.0
#: Seconds over which rates are taken, and for which less and less must have been left before anybody
#: is told when it may end; that is then at most so many times as far ahead.
WINDOW, FORESIGHT = 60.0, 30


class Sample(NamedTuple):
    """How it stood. ``left``: requests that are not done, of all workers; ``seeded``: whether
    ``start()`` has given all.
    """

    at: float
    pages: float
    left: int
    seeded: bool


def seconds_left(samples: Sequence[Sample]) -> float | None:
    """How long it may still take; ``None``: nobody can say.

    Pages link to pages: as long as more comes in than goes out, or ``start()`` gives more, any
    number would be made up. So only where all seeds are there and what is left has not grown for
    half of :data:`WINDOW`; and not further ahead than a few times of what was looked at.
    """
    if len(samples) < 2 or not all(sample.seeded for sample in samples):
        return None
    first, last = samples[0], samples[-1]
    seconds, gone = last.at - first.at, first.left - last.left
    growing = any(after.left > before.left for before, after in pairwise(samples))
    if growing or gone <= 0 or seconds < WINDOW / 2:
        return None
    left = last.left * seconds / gone
    return left if left <= FORESIGHT * seconds else None


class ProgressLine:
    """Draws once a second where the standard error is a terminal (``MOCRA_PROGRESS = None``), and
    prints a line every ten seconds where it is none and one is wanted all the same (``True``).

    Pages, items and errors are this worker's; what waits is what waits for all of them.
    """

    def __init__(self, mocra: Mocra) -> None:
        self._mocra = mocra
        self._samples: deque[Sample] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._line: TerminalLine | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        wanted = read_reports(crawler.settings).progress
        if wanted is None and not can_draw(sys.stderr):
            raise NotConfigured
        if wanted is False or one_off_command():
            raise NotConfigured
        return Mocra.from_crawler(crawler).extension(cls)

    async def open(self) -> None:
        if can_draw(sys.stderr):
            self._line = TerminalLine(sys.stderr)
            self._line.start()
        self._tasks = [asyncio.create_task(self._show(), name="mocra progress")]

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(PRINT if self._line is None else DRAW)
            text = self._text(time.monotonic())
            if self._line is not None:
                self._line.draw(text)
            else:
                print(text, file=sys.stderr, flush=True)

    def _text(self, now: float) -> str:
        mocra, flow = self._mocra, self._mocra.worker_state
        assert mocra.crawler.stats is not None
        figures, size, state = figures_of(mocra.crawler.stats.get_stats()), flow.size, flow.crawl_state
        if size is None or state is None:
            return f"{mocra.crawl}: {flow.state}"
        pages, samples = figures.get("pages", 0), self._samples
        samples.append(Sample(now, pages, size.unfinished, state.seeding is Seeding.DONE))
        while now - samples[0].at > WINDOW:
            samples.popleft()
        seconds = now - samples[0].at
        rate = 60 * (pages - samples[0].pages) / seconds if seconds else 0.0
        items, errors = figures.get("items", 0), errors_in(figures)
        told = [
            f"{amount(pages)} {plural(pages, 'page')}, {amount(rate)}/min",
            f"{amount(items)} {plural(items, 'item')}",
            f"{amount(errors)} {plural(errors, 'error')}",
            f"{flow.held['in_flight']} in flight",
            f"{size.pending:,} pending" + (f", {size.delayed:,} delayed" if size.delayed else ""),
        ]
        left = seconds_left(samples)
        if left is not None:
            told.append(f"about {duration(max(1.0, left))} left")
        what = "waiting for the backend" if flow.away else flow.state
        return f"{mocra.crawl}{'' if what == 'running' else f' ({what})'}: {' | '.join(told)}"

    async def close(self) -> None:
        await end_tasks(self._tasks)
        if self._line is not None:
            self._line.stop()
