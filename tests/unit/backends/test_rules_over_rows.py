"""The rules of ``backends/embedded`` work on mappings of rows: what they read is a copy, and counts
only when it is stored anew.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, MutableMapping
from dataclasses import fields
from typing import Any

import pytest

from mocra_scrapy.backends.embedded.circuits import Circuits
from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.backends.embedded.judging import Judge
from mocra_scrapy.backends.embedded.rules import Rules
from mocra_scrapy.backends.embedded.throttle import Throttle
from mocra_scrapy.backends.memory.store import MemoryCrawl
from mocra_scrapy.models import BreakerRules, Outcome, QueueOptions, Threshold
from tests.simulation.schedule import draw_schedule
from tests.simulation.simulate import simulate


class Rows(MutableMapping[str, Any]):
    """As a table of a file: gives copies, keeps copies."""

    def __init__(self) -> None:
        self._rows: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        return copy.deepcopy(self._rows[name])

    def __setitem__(self, name: str, value: Any) -> None:
        self._rows[name] = copy.deepcopy(value)

    def __delitem__(self, name: str) -> None:
        del self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def throttle_over_rows() -> Throttle:
    tables = {one.name: Rows() for one in fields(Throttle) if one.name not in ("rules", "random")}
    return Throttle(rules=Rules(Rows()), **tables)


@pytest.mark.slow
def test_limits_over_rows_tell_the_same_stories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole simulations with limits, word for word."""

    def stories() -> list[list[str]]:
        told = []
        for seed in range(60):
            schedule = draw_schedule(seed)
            if schedule.setup.limit is not None:
                lines: list[str] = []
                assert simulate(schedule, tell=lines.append) is None
                told.append(lines)
        return told

    in_memory = stories()
    monkeypatch.setattr(Throttle, "in_memory", throttle_over_rows)
    assert len(in_memory) > 20
    assert stories() == in_memory


def test_circuits_over_rows_judge_the_same() -> None:
    kinds = frozenset({"timeout"})
    rules = BreakerRules(slot=Threshold(failures=3, window=60.0, kinds=kinds), hold=30.0, probes=2)

    def judged(crawl: StoredCrawl) -> list[Any]:
        rng, now, told = random.Random(7), 1000.0, []
        crawl.run = 1
        for _ in range(400):
            now += rng.choice([0.1, 1.0, 20.0])
            judge = Judge(crawl, rules, QueueOptions(), now=now, wall=now)
            slot = rng.choice("st")
            told.append(judge.report([Outcome(slot, rng.choice(["", "timeout", "timeout"]), age=rng.random())]))
            told.append(judge.look(slot))
            if rng.random() < 0.05:
                told.append(judge.reset(slot))
        return told

    over_rows = MemoryCrawl()
    over_rows.throttle, over_rows.circuits = throttle_over_rows(), Circuits(slots=Rows())  # type: ignore[arg-type]
    plain = judged(MemoryCrawl())
    assert judged(over_rows) == plain
    assert any(verdict.changes for verdict in plain if hasattr(verdict, "changes"))
