"""What must hold in the cron simulator: while it goes on, and when all is calm.

* A run is started once, and an instant has one first attempt.
* Crawls of a job that forbids it do not overlap, but for one whose launcher was frozen and given up.
* Of a role there is one believer; what a term has written is not overwritten by an earlier one; who has
  left writes nothing; what is in the history stays as it is.
* A launcher that lives, can sign, and is not frozen is not given up; one that hears that it was given
  up, or that its run is to stop, obeys at once; it asks often enough to hear that.
* When the trouble is over somebody leads within ``LEADS``, and when that one leaves, another within
  ``TAKES_OVER``; who leads decides.
* Each instant is in the history, run or not, and counted once; failures are retried and told of;
  nothing waits for ever; how a run ended is how its crawl ended.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mocra_scrapy.cron.alert_rules import DUE
from mocra_scrapy.cron.state import ENDED, FAILURES, INTENDED, QUEUED, RETRIED, RUNNING, WAITING, JobState, Part, Run
from tests.simulation.cron_parts import EVERY, SIGN, Crawl
from tests.simulation.virtual_time import Process

if TYPE_CHECKING:
    from tests.simulation.cron_world import World

POLL = 1.0  # s between two looks of a launcher at its crawl, here
#: s within which a launcher asks again: it polls, signs for a third of ``SIGN``, and asks for 2 s.
ASKS = POLL + SIGN / 3 + 2 * 2.0 + 0.5
#: s from an instant to its decision by a leader whose answers take 1.8 s each, as they do at most when all is
#: calm: versions, a state, signs of life; the write, which somebody was quicker than; the state, signs and the
#: write once more. (Once it was 2, and one of 20,000 schedules had three slow answers in a row.)
DECIDES = 7 * 1.8
#: s from the death of a launcher to the end of its run: its sign, the patience, a look, slow answers.
BURIED = SIGN + SIGN + 5.0 + 5.0


class Witness:
    def __init__(self, world: World) -> None:
        self._world = world
        self.state = JobState()
        self.starts: Counter[str] = Counter()
        self.crawls: dict[str, Crawl] = {}  # by worker
        self.given_up: dict[str, float] = {}  # worker -> when
        self.told: set[str] = set()  # runs of which somebody was told
        self._fence = 0

    # ------------------------------------------------------------------ while it goes on

    def sees(self, verb: str, who: Process, args: Any, answer: Any, fence: int | None) -> None:
        """What the server has done for *who*."""
        world = self._world
        if verb == "campaign":
            others = [p.name for p in world.believers() if p is not who]
            if others and not world.server_stepped:
                world.wrong(f"{who.name} is elected, {others} still believe")
        elif args[0] == world.job.name:
            term = answer.fence if fence is None else fence
            if term < self._fence:
                world.wrong(f"term {term} wrote after term {self._fence}")
            if who.left:
                world.wrong(f"{who.name} wrote after it had left")
            self._fence = term
            self._compare(world.decode(args[0], args[1]))

    def _compare(self, new: JobState) -> None:
        known = {run.id: run for run in self.state.runs}
        for run in new.runs:
            before = known.get(run.id)
            if before is run:
                continue
            if before is not None and before.state == ENDED and (run.state, run.outcome) != (ENDED, before.outcome):
                self._world.wrong(f"{run.id} was {before.outcome}, and is {run.outcome or run.state}")
            for part in run.parts:
                if part.ended is not None and "no sign of life" in part.reason and part.worker not in self.given_up:
                    self._given_up(part)
        self.state = new
        if self._world.job.concurrency == "replace" and any(run.state == QUEUED for run in new.runs):
            for run in new.runs:
                if run.active and not run.stop:
                    self._world.wrong(f"{run.id} is to be replaced, and was not asked to stop")

    def _given_up(self, part: Part) -> None:
        world, crawl = self._world, self.crawls.get(part.worker)
        self.given_up[part.worker] = now = world.loop.now
        world.tell(f"{part.worker} is given up")
        if crawl is None or crawl.over or crawl.launcher.dead:
            return
        deaf = max(crawl.launcher.frozen_until, world.away_until, world.stepped_at) + 2 * SIGN + 5
        if part.machine or (not world.loss and now > deaf):
            world.wrong(f"{part.worker} was given up, and it lives")

    def begins(self, crawl: Crawl) -> None:
        world, run = self._world, crawl.run
        world.tell(f"{run} is started by {crawl.worker}")
        self.starts[run] += 1
        if self.starts[run] > 1:
            world.wrong(f"{run} was started twice")
        others = [one.run for one in self.crawls.values() if one.run != run and not one.over and not self._excused(one)]
        if others and world.job.concurrency != "allow":
            world.wrong(f"{run} overlaps with {others}")
        self.crawls[crawl.worker] = crawl

    def _excused(self, crawl: Crawl) -> bool:
        """Whether it goes on only since its launcher could not hear that it was given up."""
        given_up = self.given_up.get(crawl.worker, float("inf"))
        thawed = crawl.launcher.frozen_until
        return thawed > given_up - SIGN and self._world.loop.now < max(thawed, self._world.away_until) + ASKS

    def is_watched(self, crawl: Crawl) -> None:
        """The launcher looks at its crawl."""
        process, now = crawl.launcher, self._world.loop.now
        if crawl.started and now > max(process.asked, process.frozen_until) + ASKS:
            self._world.wrong(f"nobody has asked for {now - process.asked:.1f} s whether {crawl.run} is to stop")

    def hears(self, who: Process, name: str, answer: Any) -> None:
        run = self._world.decode(name, answer.value).run(who.crawl.run)
        mine = next((part for part in run.parts if part.worker == who.crawl.worker), None) if run else None
        if run is not None and (run.stop or mine is None or mine.ended is not None):
            self.must_obey(who, "heard that it was given up" if not run.stop else f"is asked: {run.stop}")

    def leaves(self, who: Process, run_id: str, worker: str) -> None:
        """A launcher has done all it does."""
        run = self.state.run(run_id)
        if run is not None and any(part.worker == worker and part.ended is None for part in run.parts):
            if who.crawl is not None:
                self._world.wrong(f"{worker} has left, and how {run.id} ended is not in the history")
            elif not who.told and self._world.loss < 0.1:
                self._world.wrong(f"{worker} has claimed {run.id}, and left without starting it")

    def must_obey(self, who: Process, why: str) -> None:
        """Look a little later, when it could act, whether it has."""

        def look() -> None:
            crawl, now = who.crawl, self._world.loop.now
            if not who.dead and now < who.frozen_until + POLL:
                self._world.loop.call_later(max(0.0, who.frozen_until - now) + POLL + 0.1, look)
            elif not who.dead and crawl is not None and not (crawl.over or crawl.stopped):
                self._world.wrong(f"{crawl.worker} {why}, and {crawl.run} goes on")

        self._world.loop.call_later(POLL + 0.1, look)

    # ------------------------------------------------------------------ when all is calm

    def leads(self, within: float, what: str) -> None:
        leaders = [process.name for process in self._world.believers()]
        if len(leaders) != 1:
            self._world.wrong(f"{len(leaders)} lead {within:.1f} s after {what}")

    def check(self) -> None:
        state, now, wrong = self.state, self._world.wall(), self._world.wrong
        if state.last is None or state.last < now - EVERY - DECIDES:
            wrong(f"the last decided instant is {now - (state.last or 0):.0f} s old")
        counted = sum(run.count for run in state.runs if run.attempt == 1)
        first = min((self._first(run) for run in state.runs), default=None)
        if state.last is not None and first is not None:
            expected = (state.last - first) // EVERY + 1
            if counted != expected:
                wrong(f"{expected} instants from the first to the last, {counted} in the history")
        for run_id, times in Counter(run.id for run in state.runs).items():
            if times > 1:
                wrong(f"{run_id} is there {times} times")
        for run_id in self.starts:
            if state.run(run_id) is None:
                wrong(f"{run_id} was started and is not in the history")
        if state.missed != sum(run.count for run in state.runs if run.outcome == "missed"):
            wrong("the number of missed instants is not that of the history")
        for run in state.runs:
            (self._check_ended if run.state == ENDED else self._check_open)(run, now)

    def _first(self, run: Run) -> int:
        """The first instant that a record stands for: missed ones carry the name of the last."""
        return run.instant if run.until is not None else run.instant - (run.count - 1) * EVERY

    def _check_open(self, run: Run, now: float) -> None:
        """Nothing waits for ever."""
        wrong = self._world.wrong
        if run.state == WAITING and run.due < now - EVERY:
            wrong(f"{run.id} is due for {now - run.due:.0f} s, and nobody looked")
        if run.state == INTENDED and (run.intended or 0) < now - EVERY:
            wrong(f"{run.id} was intended {now - (run.intended or 0):.0f} s ago, and nobody starts it")
        if run.state == QUEUED and not any(one.active or (one.ended or 0) > now - 8 for one in self.state.runs):
            wrong(f"{run.id} waits for nobody")
        if run.state == RUNNING:
            for part in run.parts:
                crawl = self.crawls.get(part.worker)
                ends = part.started - self._world.EPOCH if crawl is None else crawl.ends
                if part.ended is None and ends < self._world.loop.now - BURIED:
                    wrong(f"{run.id} has been running for ever")

    def _check_ended(self, run: Run, now: float) -> None:
        """Failures are retried and told of, and what the history says is what happened."""
        job, wrong = self._world.job, self._world.wrong
        again = self.state.run(f"{run.id.partition('#')[0]}#{run.attempt + 1}")
        if run.outcome in RETRIED and run.attempt <= job.retries and not run.stop and again is None:
            wrong(f"{run.id} is {run.outcome}, and was not tried again")
        fresh = (run.ended or 0) > now - EVERY
        failed = run.outcome in FAILURES and again is None
        if job.on_failure and not fresh and ((failed and not run.alert) or run.alert.startswith(DUE)):
            wrong(f"nobody was told that {run.id} is {run.outcome}: {run.alert or 'nothing is owed'}")
        if run.alert.startswith("sent:") and run.id not in self.told:
            wrong(f"{run.id} counts as told, and nobody was")
        for part in run.parts:
            crawl = self.crawls.get(part.worker)
            happened = crawl.result(0).outcome if crawl is not None else ""
            if part.worker not in self.given_up and part.outcome != happened:
                wrong(f"{run.id} is {part.outcome} in the history; it was {happened or 'not started'}")
