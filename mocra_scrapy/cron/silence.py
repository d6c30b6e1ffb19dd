"""Which launchers give no sign of life, and since when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mocra_scrapy.cron.local_processes import launcher_lives
from mocra_scrapy.cron.state import JobState

if TYPE_CHECKING:
    from mocra_scrapy.cron.job_store import Signs


class Silence:
    """What one runner knows of the silence of launchers.

    Lost is who was silent for longer than the lease, as long as somebody was there to see it: in this
    process by its own clock, and before by what an earlier leader wrote beside the part
    (``Part.silent``). One lease more than the sign itself has: after an outage a launcher needs time to
    sign again.

    Args:
        lease: seconds.
        clock: monotonic seconds.
    """

    def __init__(self, lease: float, clock: Callable[[], float]) -> None:
        self._lease, self._clock = lease, clock
        self._since: dict[str, float] = {}

    def clear(self) -> None:
        """A term begins: what was seen in an earlier one has gaps."""
        self._since.clear()

    async def judge(
        self, signs: Signs, job: str, state: JobState, stop_grace: float, now: float
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Workers of unfinished parts that count as lost, and those that give no sign of life now.

        *stop_grace*: seconds that a crawl needs to end whose launcher died; *now*: wall clock.
        """
        parts = {part.worker: (run, part) for run in state.runs for part in run.parts if part.ended is None}
        if not parts:
            return frozenset(), frozenset()
        alive = set(await signs.alive(job, frozenset(parts)))
        for worker, (run, part) in parts.items():
            if worker not in alive and launcher_lives(part.machine, part.pid, run.id):
                alive.add(worker)  # an outage: it could not sign
        silent, clock = frozenset(parts.keys() - alive), self._clock()
        for worker in alive:
            self._since.pop(worker, None)
        for worker in silent:
            known = parts[worker][1].silent
            self._since.setdefault(worker, clock - (max(0.0, now - known) if known is not None else 0.0))
        if signs.proof:
            return silent, silent
        patience = max(self._lease, stop_grace)
        return frozenset(one for one in silent if clock - self._since[one] > patience), silent
