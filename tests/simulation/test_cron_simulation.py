"""Random schedules of crashes, pauses, lost answers and steps of clocks; and that the simulator would
see what it is there to see.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from mocra_scrapy.backends.memory.shared import MemoryShared
from mocra_scrapy.cron import policy
from mocra_scrapy.cron.run_steps import claim
from mocra_scrapy.cron.state import JobState, Part
from tests.simulation import cron_simulation
from tests.simulation.cron_simulation import World, simulate

SCHEDULES = 500


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(600)
def test_what_must_hold_in_every_schedule() -> None:
    with ProcessPoolExecutor(2) as pool:
        wrong = {seed: faults for seed, faults in pool.map(simulate, range(SCHEDULES), chunksize=25) if faults}
    assert wrong == {}, "see `python -m tests.simulation.cron_simulation --seed N`"


def test_a_schedule_is_its_seed(quiet: None) -> None:
    one, two = World(7), World(7)
    assert one.run() == two.run() == []
    assert one.story == two.story
    assert len(one.story) > 5


def faults_within(seeds: range) -> str:
    for seed in seeds:
        faults = World(seed).run()
        if faults:
            return "; ".join(faults)
    return ""


def careless_claim(state: JobState, run: str, part: Part) -> JobState | None:
    found = state.run(run)
    return None if found is None else state.with_run(replace(found, state="running", parts=(*found.parts, part)))


def everything_is_lost(self: Any, signs: Any, job: str, state: JobState, stop_grace: float, now: float) -> Any:
    async def judge() -> Any:
        workers = frozenset(part.worker for run in state.runs for part in run.parts if part.ended is None)
        return workers, workers

    return judge()


put = MemoryShared.put


async def without_fence(self: Any, name: str, value: Any, *, version: Any = None, fence: Any = None) -> Any:
    self._space.values.pop(name, None)
    return await put(self, name, value, fence=fence)


async def any_fence(self: Any, name: str, value: Any, *, version: Any = None, fence: Any = None) -> Any:
    known = self._space.values.get(name)
    raised = fence if fence is None or known is None else max(fence, known.fence)
    return await put(self, name, value, version=version, fence=raised)


admit, new_instants = policy._admit, policy._new_instants


def admitted_beside_others(job: Any, state: JobState, run: Any, now: float) -> JobState:
    return admit(replace(job, concurrency="allow"), state, run, now)


def forgetful(job: Any, state: JobState, now: float) -> JobState:
    new = new_instants(job, state, now)
    return new if new.last is None or new.last % 40 else replace(new, runs=state.runs)


MISTAKES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "every launcher starts": lambda patch: patch.setattr(cron_simulation, "claim", careless_claim),
    "silence is death": lambda patch: patch.setattr("mocra_scrapy.cron.silence.Silence.judge", everything_is_lost),
    "the last writer wins": lambda patch: patch.setattr(MemoryShared, "put", without_fence),
    "a stale term may write": lambda patch: patch.setattr(MemoryShared, "put", any_fence),
    "a lease does not end": lambda patch: patch.setattr(cron_simulation, "LEASE", 1e6),
    "runs overlap": lambda patch: patch.setattr(policy, "_admit", admitted_beside_others),
    "an instant is forgotten": lambda patch: patch.setattr(policy, "_new_instants", forgetful),
    "what is left out is not told": lambda patch: patch.setattr(policy, "note", lambda state, run: state),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_seen(mistake: str, monkeypatch: pytest.MonkeyPatch, quiet: None) -> None:
    assert claim is not careless_claim
    MISTAKES[mistake](monkeypatch)
    assert faults_within(range(200)), "200 schedules saw nothing"
