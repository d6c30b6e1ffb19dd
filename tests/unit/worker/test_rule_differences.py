"""What is said of workers with other limits, and when."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy.statscollectors import StatsCollector
from scrapy.utils.test import get_crawler

from mocra_scrapy.models import (
    CrawlState,
    Exchange,
    QueueOptions,
    QueueSize,
    RuleSet,
    RulesInForce,
    SlotLimit,
    digest_of,
)
from mocra_scrapy.worker.rule_differences import RuleDifferences, differences, listed

MINE = RuleSet(SlotLimit(interval=1, concurrency=8), {"a": SlotLimit(interval=2)}, [("*.t", SlotLimit(interval=3))])
OTHER = replace(MINE, default=SlotLimit(interval=2, concurrency=8))
ANSWER = Exchange((), (), (), (), (), QueueSize(), None, CrawlState(1))


async def insist(call: Callable[[bool], Awaitable[Any]]) -> Any:
    return await call(False)


class Bench:
    """Answers of a store in which others have these rules."""

    def __init__(self, own: RuleSet | None = MINE) -> None:
        self.asked, self.version = 0, 0
        self.workers: dict[str, RuleSet | None] = {}
        queue = SimpleNamespace(options=QueueOptions(rules=own), rules_in_force=self.rules_in_force)
        self.stats = StatsCollector(get_crawler())
        parts: Any = SimpleNamespace(session=SimpleNamespace(queue=queue), crawl="books")
        self.own, self.differences = own, RuleDifferences(parts, self.stats)

    async def rules_in_force(self) -> RulesInForce:
        self.asked += 1
        return RulesInForce(
            self.version,
            {digest_of(rules): rules for rules in self.workers.values()},
            {worker: digest_of(rules) for worker, rules in self.workers.items()},
        )

    async def hear(self, **others: RuleSet | None) -> None:
        self.workers = {"me": self.own, **others}
        self.version += 1
        for _ in range(3):
            sets = len({digest_of(rules) for rules in self.workers.values()})
            await self.differences.look(replace(ANSWER, rules=self.version, rule_sets=sets), insist)


async def test_it_is_said_once_and_once_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    caplog.set_level(logging.INFO)
    caplog.clear()
    await bench.hear(like_me=MINE)
    assert (bench.asked, caplog.messages) == (0, [])
    await bench.hear(w1=OTHER)
    await bench.hear(w1=OTHER, w2=OTHER)
    (line,) = caplog.messages
    assert line.startswith(
        "1 worker of crawl 'books' (w1) has other limits than this one: DOWNLOAD_DELAY is 1 here, 2 there"
    )
    assert "strictest of these hold" in line
    assert "Give all workers the same settings" in line
    assert bench.asked == 2
    await bench.hear(w3=None)
    assert "2 workers" not in caplog.messages[1]
    assert "MOCRA_THROTTLE_SCOPE is 'cluster' here, 'worker' there" in caplog.messages[1]
    await bench.hear()
    await bench.hear()
    assert caplog.messages[2:] == ["All workers of crawl 'books' have the same limits again"]
    assert bench.stats.get_value("mocra/throttle/rules_differ") == 2
    await bench.hear(w1=OTHER)
    assert len(caplog.messages) == 4


async def test_a_worker_that_is_polite_for_itself_hears_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(None)
    caplog.clear()
    await bench.hear(w1=OTHER)
    assert "MOCRA_THROTTLE_SCOPE is 'worker' here, 'cluster' there" in caplog.messages[0]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (MINE, []),
        (
            replace(MINE, default=SlotLimit(1, 1, 4, 0.5)),
            ["CONCURRENT_REQUESTS_PER_DOMAIN is 8 here, 4 there", "RANDOMIZE"],
        ),
        (replace(MINE, default=SlotLimit(1, 1, 8, floor=0.5)), ["AutoThrottle goes down to 0 s here, 0.5 s there"]),
        (replace(MINE, names={}), ["MOCRA_THROTTLE or DOWNLOAD_SLOTS differ in a"]),
        (replace(MINE, names={f"h{n}": SlotLimit() for n in range(9)}), ["differ in a, h0, h1, h2, h3, … (10 in all)"]),
        (replace(MINE, patterns=[("*", SlotLimit())]), ["MOCRA_THROTTLE or DOWNLOAD_SLOTS differ in *.t, *"]),
    ],
)
def test_what_differs_is_said_in_terms_of_settings(other: RuleSet, told: list[str]) -> None:
    said = list(differences(MINE, other))
    assert len(said) == len(told)
    assert all(part in text for part, text in zip(told, said, strict=True)), said


def test_the_order_of_patterns_counts() -> None:
    one, two = ("a*", SlotLimit()), ("*b", SlotLimit(interval=1))
    assert list(differences(RuleSet(patterns=[one, two]), RuleSet(patterns=[two, one]))) == [
        "MOCRA_THROTTLE has its patterns in another order"
    ]


def test_a_few_names_are_listed_and_of_many_the_first() -> None:
    assert listed(list("abcde")) == "a, b, c, d, e"
    assert listed(list("abcdef")) == "a, b, c, d, e, … (6 in all)"
