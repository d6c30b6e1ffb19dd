"""Clocks of slots that fail: every backend as the one in this process, which has the rules in Python."""

from __future__ import annotations

import random

import pytest

from mocra_scrapy.models import Attempts, SlotLimit, StallRules, StallState

from .harness import Harness, entries
from .memory_harness import MemoryHarness

SLOTS = ("a", "b")
#: Steps are so long that the seconds for which a busy machine keeps a server waiting decide nothing.
UNIT = 100.0
RULES = StallRules(longest=300 * UNIT, attempts=4)
MORE = {"shards": 1, "lease": 1e8, "limit": SlotLimit(concurrency=8)}


class Script:
    """The same random reports, holds and pauses, for any backend."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    async def run(self, harness: Harness) -> list[list[StallState]]:
        """How each slot stands after each step."""
        dice = self.dice
        worker = await harness.worker("w", **MORE)
        await worker.push([entry for slot in SLOTS for entry in entries(*range(3), slot=slot)])
        reports = [harness.stalls(RULES, second=bool(i % 2), **MORE) for i in range(2)]
        limiter = harness.limiter(**MORE)
        seen = []
        for _ in range(60):
            await harness.advance(UNIT * dice.choice([1, 5, 40, 200]))
            slot, what = dice.choice(SLOTS), dice.random()
            if what < 0.04:
                told = [Attempts(slot, failed=False)]
            elif what < 0.08:
                await limiter.pause(slot)
                await harness.advance(500 * UNIT)
                await limiter.resume(slot)
                told = []
            elif what < 0.1:
                await reports[0].reset(slot)
                told = []
            else:
                age, hold = UNIT * dice.choice([0.0, 0.5, 30.0, 500.0]), UNIT * dice.choice([0.0, 0.0, 20.0, 600.0])
                told = [Attempts(slot, True, age, hold, UNIT * dice.choice([1e7, 1e7, 3.0, 100.0]), "why")]
            await dice.choice(reports).report(told)
            seen.append([await reports[0].look(slot) for slot in SLOTS])
        return seen


@pytest.mark.parametrize("seed", range(6))
async def test_all_count_alike(harness: Harness, seed: int) -> None:
    model = MemoryHarness()
    await model.start()
    expected, seen = await Script(seed).run(model), await Script(seed).run(harness)
    await model.stop()
    assert len(seen) == len(expected)
    for ours, theirs in zip(seen, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert (one.slot, one.attempts) == (other.slot, other.attempts)
            assert one.seconds == pytest.approx(other.seconds, abs=UNIT / 3), "real seconds pass on a server"
            assert bool(one.given_up) == bool(other.given_up)
    assert any(state.given_up for states in seen for state in states)
