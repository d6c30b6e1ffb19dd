"""Mistakes that the cron simulator must see: each is planted into the real code, by name.

``python -m tests.simulation.cron_mistakes 500`` counts the schedules, of so many, that see each.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from mocra_scrapy.backends.memory.election import MemoryElection
from mocra_scrapy.backends.memory.locks import MemoryLocks
from mocra_scrapy.backends.memory.shared import MemoryShared
from mocra_scrapy.coordination.leadership import Candidate
from mocra_scrapy.coordination.term_tasks import TermTasks
from mocra_scrapy.cron import launcher_main, policy, run_steps
from mocra_scrapy.cron.alerts import Alerts
from mocra_scrapy.cron.file_state import FileShared, _File
from mocra_scrapy.cron.job_store import LockSigns
from mocra_scrapy.cron.launcher_main import Launcher
from mocra_scrapy.cron.silence import Silence
from mocra_scrapy.cron.state import JobState, Part
from tests.simulation import cron_world
from tests.simulation.cron_world import World

Patch = pytest.MonkeyPatch


async def nothing(*_: Any, **__: Any) -> None: ...


# ---------------------------------------------------------------------- what is decided

admit, new_instants = policy._admit, policy._new_instants


def admitted_beside_others(job: Any, state: JobState, run: Any, now: float) -> JobState:
    return admit(replace(job, concurrency="allow"), state, run, now)


def forgetful(job: Any, state: JobState, now: float) -> JobState:
    new = new_instants(job, state, now)
    return new if new.last is None or new.last % 40 else replace(new, runs=state.runs)


def not_again(state: JobState, *_: Any) -> JobState:
    return state


def asked_only(state: JobState, run: str, why: str, now: float) -> JobState:
    return state  # `replace` queues the new one, and nobody tells the old one


# ---------------------------------------------------------------------- who leads


async def every_candidate(self: Any, candidate: str, lease: float) -> Any:
    self._stored.leader = ""
    return await campaign(self, candidate, lease)


campaign, hold = MemoryElection.campaign, Candidate._hold


def unbounded(self: Candidate) -> Any:
    return self._term


async def resigned(self: Any, candidate: str, number: int) -> bool:
    return True


async def once_and_never_again(self: Candidate) -> None:
    await self._campaign()
    if self._term is not None:
        await self._hold(self._term)


# ---------------------------------------------------------------------- who starts, and watches

claim = run_steps.claim


def careless_claim(state: JobState, run: str, part: Part) -> JobState | None:
    found = state.run(run)
    return None if found is None else state.with_run(replace(found, state="running", parts=(*found.parts, part)))


def everything_is_lost(self: Any, signs: Any, job: str, state: JobState, stop_grace: float, now: float) -> Any:
    async def judge() -> Any:
        workers = frozenset(part.worker for run in state.runs for part in run.parts if part.ended is None)
        return workers, workers

    return judge()


def nothing_is_lost(self: Any, *_: Any) -> Any:
    async def judge() -> Any:
        return frozenset(), frozenset()

    return judge()


obey = Launcher._obey


class Deaf:
    """A crawl that hears all but one thing."""

    def __init__(self, crawl: Any, verb: str) -> None:
        self._crawl = crawl
        setattr(self, verb, lambda *_: None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._crawl, name)


def deaf_to(verb: str) -> Callable[[Launcher], Any]:
    async def look(self: Launcher) -> None:
        crawl = self._crawl
        self._crawl = Deaf(crawl, verb)  # type: ignore[assignment]
        try:
            await obey(self)
        finally:
            self._crawl = crawl
            self._disowned = self._disowned and verb != "kill"

    return look


def signs_once(patch: Patch) -> None:
    patch.setattr(Launcher, "_sign", nothing)


def outcome_is_mixed_up(patch: Patch) -> None:
    end_part = launcher_main.end_part
    patch.setattr(launcher_main, "end_part", lambda s, run, part: end_part(s, run, replace(part, outcome="succeeded")))


def history_is_rewritten(state: JobState, run: str, part: Part) -> JobState:
    """The end of a run that was given up counts once more."""
    found = state.run(run)
    if found is None:
        return state
    parts = tuple(part if one.worker == part.worker else one for one in found.parts)
    return state.with_run(run_steps.end(replace(found, parts=parts), part.outcome, part.reason, part.ended or 0.0))


def disowned_and_rewritten(patch: Patch) -> None:
    patch.setattr(launcher_main, "end_part", history_is_rewritten)
    patch.setattr(Launcher, "_obey", deaf_to("kill"))


# ---------------------------------------------------------------------- what is stored

put = MemoryShared.put


async def without_version(self: Any, name: str, value: Any, *, version: Any = None, fence: Any = None) -> Any:
    self._space.values.pop(name, None)
    return await put(self, name, value, fence=fence)


async def any_fence(self: Any, name: str, value: Any, *, version: Any = None, fence: Any = None) -> Any:
    known = self._space.values.get(name)
    raised = fence if fence is None or known is None else max(fence, known.fence)
    return await put(self, name, value, version=version, fence=raised)


async def no_place_is_free(self: Any, *_: Any, **__: Any) -> Any:
    return None


def alerts_are_not_sent(patch: Patch) -> None:
    patch.setattr(Alerts, "_once", nothing)


def set_to(where: Any, name: str, what: Any) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(where, name, what)


MISTAKES: dict[str, Callable[[Patch], None]] = {
    # policy
    "runs overlap": set_to(policy, "_admit", admitted_beside_others),
    "an instant is forgotten": set_to(policy, "_new_instants", forgetful),
    "what is left out is not told": set_to(policy, "note", not_again),
    "a lost run is not tried again": set_to(policy, "retry", not_again),
    "what is replaced is not asked to stop": set_to(policy, "ask_to_stop", asked_only),
    "who waits is not let in": set_to(policy, "_next_in_line", lambda job, state, now: state),
    # election
    "a lease does not end": set_to(cron_world, "LEASE", 1e6),
    "a lease does not hold": set_to(MemoryElection, "campaign", every_candidate),
    "belief does not end": set_to(Candidate, "term", property(unbounded)),
    "who leaves does not resign": set_to(MemoryElection, "resign", resigned),
    "who leaves goes on": set_to(TermTasks, "end", nothing),
    "a candidate gives up": set_to(Candidate, "_contend", once_and_never_again),
    # launcher
    "every launcher starts": set_to(launcher_main, "claim", careless_claim),
    "a claim is tried once": set_to(launcher_main, "CLAIM", -1.0),
    "a launcher never hears that it was given up": set_to(Launcher, "_obey", deaf_to("kill")),
    "a launcher never hears that it is to stop": set_to(Launcher, "_obey", deaf_to("stop")),
    "a launcher never asks": set_to(Launcher, "_obey", nothing),
    "a launcher signs once": signs_once,
    "a launcher forgets SIGTERM": set_to(Launcher, "_leave", lambda self: None),
    "a launcher does not record the end": set_to(Launcher, "_record", nothing),
    "a launcher records something else": outcome_is_mixed_up,
    "a failure is not tried again": set_to(launcher_main, "retry", not_again),
    "what was given up is rewritten": disowned_and_rewritten,
    # silence
    "silence is death": set_to(Silence, "judge", everything_is_lost),
    "nobody is ever lost": set_to(Silence, "judge", nothing_is_lost),
    "signs are not believed": set_to(LockSigns, "alive", lambda self, job, asked: nothing_is_alive()),
    # state
    "the last writer wins": set_to(MemoryShared, "put", without_version),
    "a stale term may write": set_to(MemoryShared, "put", any_fence),
    "signs can not be given": set_to(MemoryLocks, "acquire", no_place_is_free),
    # alerts
    "an alert is written down and not sent": alerts_are_not_sent,
    "nobody sends what is owed": set_to(Alerts, "look", lambda self, job, state: None),
    "what failed is not owed": set_to(policy, "owe", lambda job, state, now: state),
}


file_put, file_write = FileShared.put, _File.write


async def file_without_version(self: Any, name: str, value: Any, *, version: Any = None, fence: Any = None) -> Any:
    return await file_put(self, name, value, fence=fence)


async def file_any_fence(self: Any, name: str, value: Any, *, version: Any = None, fence: Any = None) -> Any:
    known = (await self.get(name)).fence
    return await file_put(self, name, value, version=version, fence=fence and max(fence, known))


def now_and_then(self: Any, data: Any) -> None:
    if data["clock"] % 5:
        file_write(self, data)


#: The same for states in a file (``World(seed, folder)``).
IN_FILES: dict[str, Callable[[Patch], None]] = {
    "the last writer wins": set_to(FileShared, "put", file_without_version),
    "a stale term may write": set_to(FileShared, "put", file_any_fence),
    "what was written is not there": set_to(_File, "write", now_and_then),
}


async def nothing_is_alive() -> frozenset[str]:
    return frozenset()


def seen_by(plant: Callable[[Patch], None], worlds: Iterable[World], *, first: bool = False) -> list[tuple[int, str]]:
    """The schedules that see a mistake, and what they say; *first*: only one of them."""
    seen = []
    with Patch.context() as patch:
        plant(patch)
        for world in worlds:
            if faults := world.run():
                seen.append((world.seed, faults[0]))
                if first:
                    break
    return seen


def main() -> None:
    logging.disable(logging.CRITICAL)
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for mistake in sys.argv[2:] or MISTAKES:
        seen = seen_by(MISTAKES[mistake], map(World, range(number)))
        print(f"{mistake:46} {len(seen):4} of {number}  {seen[0] if seen else 'NEVER'}", flush=True)


if __name__ == "__main__":
    main()
