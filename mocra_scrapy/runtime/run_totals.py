"""What the workers of one run did, together: each leaves its figures in the shared values of the
crawl, now and then and when it leaves.

They stand in namespace ``totals:<crawl>``, one value a worker, by the run and the worker's name. A
worker that was killed is there as it was at its last report; so are those of before an
interruption. The values of a run go with the second run after it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mocra_scrapy.models import totals_namespace

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IBackend
    from mocra_scrapy.models import CrawlState

#: Seconds for which whoever ends a run waits for the last figures of workers that are still there,
#: and between two looks.
WAIT, LOOK = 3.0, 0.05


@dataclass(frozen=True, slots=True)
class WorkerTotal:
    """Of one worker in one run.

    Attributes:
        began, told: seconds since the epoch by the worker's clock: when it began, when it said
            this.
        final: whether it has left; else this is its last report.
    """

    worker: str
    began: float
    told: float
    final: bool
    figures: Mapping[str, float] = field(default_factory=dict)

    def pack(self) -> bytes:
        return json.dumps([self.began, self.told, self.final, dict(self.figures)]).encode()

    @classmethod
    def unpack(cls, worker: str, data: bytes) -> WorkerTotal | None:
        """``None``: none of us wrote that."""
        try:
            began, told, final, figures = json.loads(data)
            found = {str(name): float(value) for name, value in figures.items()}
            return cls(worker, float(began), float(told), bool(final), found)
        except (ValueError, TypeError, AttributeError):
            return None


class RunTotals:
    """Reads and writes them.

    Args:
        backend: open.
        crawl: the crawl's name.
        worker: this worker's name.
    """

    def __init__(self, backend: IBackend, crawl: str, worker: str) -> None:
        self._values = backend.shared_values(totals_namespace(crawl))
        self._registry = backend.worker_registry()
        self._crawl, self._worker = crawl, worker
        self._tidied = ""

    @staticmethod
    def _of_run(state: CrawlState) -> str:
        return f"{state.born}-{state.run}:"

    async def tell(self, state: CrawlState, began: float, figures: Mapping[str, float], *, final: bool) -> None:
        """Leave this worker's figures.

        Raises:
            BackendError: nobody took them.
        """
        prefix = self._of_run(state)
        total = WorkerTotal(self._worker, began, time.time(), final, figures)
        await self._values.put(prefix + self._worker, total.pack())
        if prefix != self._tidied:
            await self._tidy(state)
            self._tidied = prefix

    async def _tidy(self, state: CrawlState) -> None:
        """Forget the runs before the last one: whoever ended that one may be adding it up."""
        keep = {self._of_run(state), f"{state.born}-{state.run - 1}:"}
        for name in await self._values.versions():
            if name[: name.find(":") + 1] not in keep:
                await self._values.put(name, None)

    async def of(self, state: CrawlState) -> list[WorkerTotal]:
        """Those of a run, by name."""
        prefix = self._of_run(state)
        found = (
            WorkerTotal.unpack(name.removeprefix(prefix), stored.value or b"")
            for name, stored in sorted((await self._values.everything(prefix)).items())
        )
        return [total for total in found if total is not None]

    async def at_the_end(self, state: CrawlState) -> tuple[list[WorkerTotal], set[str]]:
        """Those of a run that has just ended, and who of them is still there: workers that leave at
        this moment are waited for, :data:`WAIT` seconds at most.
        """
        end = time.monotonic() + WAIT
        while True:
            totals = await self.of(state)
            pending = {total.worker for total in totals if not total.final}
            if pending:
                pending &= {report.worker for report in await self._registry.workers(self._crawl)}
                if not pending:  # who left the list since the look before has left its figures first
                    return await self.of(state), pending
            if not pending or time.monotonic() > end:
                return totals, pending
            await asyncio.sleep(LOOK)

    async def close(self) -> None:
        await self._values.close()


def working_time(totals: list[WorkerTotal]) -> float:
    """Seconds in which at least one of them worked: an interrupted crawl counts without its pause."""
    seconds, until = 0.0, 0.0
    for total in sorted(totals, key=lambda one: one.began):
        seconds += max(0.0, total.told - max(total.began, until))
        until = max(until, total.told)
    return seconds
