"""Who counts as lost: what was seen by this process, and what others wrote down."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import pytest

from mocra_scrapy.cron.silence import Silence
from mocra_scrapy.cron.state import JobState, Part, Run

LEASE = 15.0


@dataclass
class Told:
    """Signs of life as a test says them."""

    living: set[str] = field(default_factory=set)
    proof: bool = False

    async def alive(self, job: str, workers: AbstractSet[str]) -> AbstractSet[str]:
        return self.living & workers


def state(silent: float | None) -> JobState:
    part = Part("there", started=1.0, machine="elsewhere", silent=silent)
    return JobState(runs=(Run("job@1", instant=1.0, due=1.0, intended=1.0, state="running", parts=(part,)),))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def lost(silence: Silence, silent: float | None, wall: float, grace: float = 0.0) -> bool:
    signs: Any = Told()
    gone, quiet = await silence.judge(signs, "job", state(silent), grace, wall)
    assert quiet == {"there"}
    return gone == {"there"}


async def test_a_process_that_lives_for_seconds_believes_what_is_written() -> None:
    assert not await lost(Silence(LEASE, Clock()), 500.0, 500.0 + LEASE)
    assert await lost(Silence(LEASE, Clock()), 500.0, 500.1 + LEASE)
    assert not await lost(Silence(LEASE, Clock()), 500.0, 500.1 + LEASE, grace=30.0)


@pytest.mark.parametrize("grace", [0.0, 40.0])
async def test_a_leader_that_stays_sees_the_last_lease_itself(grace: float) -> None:
    """What is written is by a wall clock, and that may have jumped."""
    clock = Clock()
    silence = Silence(LEASE, clock)
    silence.term_begins()
    assert not await lost(silence, 500.0, 9999.0, grace)
    clock.now += LEASE
    assert not await lost(silence, 500.0, 9999.0, grace)
    clock.now += 0.1
    assert await lost(silence, 500.0, 9999.0, grace)
    silence.term_begins()
    assert not await lost(silence, 500.0, 9999.0, grace), "what was seen in an earlier term has gaps"


async def test_of_a_long_grace_what_others_saw_counts() -> None:
    clock = Clock()
    silence = Silence(LEASE, clock)
    silence.term_begins()
    assert not await lost(silence, 500.0, 510.0, 40.0)
    clock.now += 30.1
    assert await lost(silence, 500.0, 540.1, 40.0)


async def test_an_outage_is_no_silence() -> None:
    """Launchers could not sign either, and need time to sign again."""
    clock = Clock()
    silence = Silence(LEASE, clock)
    silence.term_begins()
    assert not await lost(silence, None, 500.0)
    clock.now += LEASE + 0.1
    silence.gap()
    assert not await lost(silence, None, 500.0)
    clock.now += LEASE + 0.1
    assert await lost(silence, None, 500.0)
