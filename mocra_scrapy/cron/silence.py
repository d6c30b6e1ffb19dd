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
    sign again. What was written is by the wall clock, which may have jumped: a leader that stays
    (:meth:`term_begins`) sees the last lease of it by itself. A process that lives for seconds
    believes all of it.

    Args:
        lease: seconds.
        clock: monotonic seconds.
    """

    def __init__(self, lease: float, clock: Callable[[], float]) -> None:
        self._lease, self._clock = lease, clock
        self._since: dict[str, float] = {}
        self._stays = False

    def term_begins(self) -> None:
        """This process looks again and again; what was seen in an earlier term has gaps."""
        self._stays = True
        self._since.clear()

    def gap(self) -> None:
        """The backend was away: nobody was seen, and nobody could give a sign of life."""
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
        patience = max(self._lease, stop_grace)
        most = patience - self._lease if self._stays else float("inf")
        for worker in silent:
            known = parts[worker][1].silent
            self._since.setdefault(worker, clock - (min(max(0.0, now - known), most) if known is not None else 0.0))
        if signs.proof:
            return silent, silent
        return frozenset(one for one in silent if clock - self._since[one] > patience), silent
