"""How long a role may be empty, and which answers keep it, by the virtual clock: the bounds that
``Candidate`` promises, from lease, renewal and retry.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.coordination.leadership import Candidate
from mocra_scrapy.models import Term
from tests.simulation.virtual_time import Process, VirtualLoop

LEASE, RENEW, DEADLINE, RETRY = 15.0, 5.0, 10.0, 2.0  # the defaults


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Slow:
    """An election each of whose answers takes so long: half on the way there, half on the way back."""

    def __init__(self, real: Any, seconds: Callable[[], float]) -> None:
        self._real, self._seconds = real, seconds

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any) -> Any:
            half = self._seconds() / 2
            await asyncio.sleep(half)
            answer = await getattr(self._real, verb)(*args)
            await asyncio.sleep(half)
            return answer

        return call


class Stage:
    """Candidates of one role on a virtual clock."""

    def __init__(self, answers: Callable[[], float]) -> None:
        self.loop = VirtualLoop()
        backend = MemoryBackend(clock=self.loop.time, wall=self.loop.time)
        self.election = Slow(backend.election("boss"), answers)
        self.lost: list[Term] = []
        self.stops: dict[Process, asyncio.Event] = {}
        self.candidates: dict[Process, Candidate] = {}

    def enter(self, name: str) -> Process:
        process, stop = Process(name), asyncio.Event()
        self.stops[process] = stop
        self.candidates[process] = candidate = Candidate(
            self.election,  # type: ignore[arg-type]
            name, lease=LEASE, renew=RENEW, deadline=DEADLINE, retry=RETRY, clock=self.loop.time,
            lost=self.lost.append,
        )  # fmt: skip

        async def life() -> None:
            async with candidate:
                await stop.wait()

        self.loop.spawn(process, life())
        return process

    def leader(self) -> Process | None:
        leaders = [process for process, one in self.candidates.items() if one.is_leader and not process.dead]
        assert len(leaders) <= 1
        return leaders[0] if leaders else None

    async def led(self) -> Process:
        while (found := self.leader()) is None:
            await asyncio.sleep(0.01)
        return found

    def play(self, work: Any) -> Any:
        async def whole() -> Any:
            try:
                return await work
            finally:
                for process, stop in self.stops.items():
                    process.dead = False
                    stop.set()
                await self.loop.end()

        return self.loop.run_until_complete(whole())


async def an_hour(stage: Stage) -> int:
    stage.enter("a")
    stage.enter("b")
    await stage.led()
    before = len(stage.lost)
    await asyncio.sleep(3600)
    return len(stage.lost) - before


def test_a_leader_keeps_its_role_while_answers_take_less_than_deadline_minus_renew() -> None:
    stage = Stage(lambda: DEADLINE - RENEW - 0.1)
    assert stage.play(an_hour(stage)) == 0
    stage = Stage(lambda: DEADLINE - RENEW + 0.1)
    assert stage.play(an_hour(stage)) > 0, "or the bound is not tight, and the docs should say more"


def of_three(seed: int) -> tuple[Stage, float]:
    """Three candidates at a server that takes its time, and its slowest answer."""
    dice = random.Random(seed)
    random.seed(seed)
    slowest = dice.choice([0.0, 0.5, 2.0])
    return Stage(lambda: dice.uniform(0.0, slowest)), slowest


async def until_the_next(stage: Stage, end: Callable[[Process], None]) -> float:
    """*end* does something to the leader of three, at any time: seconds until another one leads."""
    for name in "abc":
        stage.enter(name)
    await stage.led()
    await asyncio.sleep(random.uniform(0, 60))
    leader = await stage.led()
    end(leader)
    ended = stage.loop.now
    while stage.leader() in (None, leader):
        await asyncio.sleep(0.01)
    return stage.loop.now - ended


@pytest.mark.parametrize("seed", range(40))
def test_after_a_death_somebody_leads_within_lease_and_a_retry(seed: int) -> None:
    stage, slowest = of_three(seed)

    def die(leader: Process) -> None:
        leader.dead = True

    # A renewal may have been on its way, and the campaign that wins takes one more answer.
    assert stage.play(until_the_next(stage, die)) <= LEASE + 1.25 * RETRY + 2 * slowest + 0.02


@pytest.mark.parametrize("seed", range(40))
def test_after_a_resignation_somebody_leads_within_a_retry(seed: int) -> None:
    stage, slowest = of_three(seed)
    waited = stage.play(until_the_next(stage, lambda leader: stage.stops[leader].set()))
    assert waited <= 1.25 * RETRY + 3 * slowest + 0.02
