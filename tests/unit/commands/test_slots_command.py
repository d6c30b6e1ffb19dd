"""``scrapy mocra slots`` and ``breaker``: what they show, change, refuse."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.commands.verbs import breaker, slots
from mocra_scrapy.commands.verbs.slot_words import seconds_of
from mocra_scrapy.control.slots import near_names, origins_of
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import (
    Attempts,
    Entry,
    LimitChange,
    QueueOptions,
    RuleSet,
    RulesInForce,
    SlotLimit,
    StallRules,
)

CRAWL = "shop"
RULES = RuleSet(SlotLimit(1.0), {"own.test": SlotLimit(5.0)}, [("*.test", SlotLimit(2.0, concurrency=3))])
OPTIONS = QueueOptions(rules=RULES)


def begin(backend: MemoryBackend, options: QueueOptions = OPTIONS) -> QueueSession:
    async def there() -> QueueSession:
        session = QueueSession(backend.request_queue(CRAWL, options), "w1")
        await session.queue.join("w1")
        some = [
            Entry(b"", name, fingerprint=f"{name}{n}".encode()) for name, most in SLOTS.items() for n in range(most)
        ]
        await session.push(some)
        return session

    return asyncio.run(there())


SLOTS = {"own.test": 30, "www.test": 20, "example.com": 10}


def say(verb: Any, *line: str, **settings: Any) -> int:
    parser = argparse.ArgumentParser()
    verb.add_options(parser)
    return int(verb.run(parser.parse_intermixed_args(line), SimpleNamespace(settings=Settings(settings))))


def do(backend: MemoryBackend, what: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(what(backend.rate_limiter(CRAWL, OPTIONS)))


def looked(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert say(slots.verb(), "look", CRAWL, *more, "--json") == 0
    return {row["slot"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}


def test_a_look_says_where_a_rate_comes_from(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    begin(backend)
    rows = looked(capsys)
    assert list(rows) == ["own.test", "www.test", "example.com"], "most pending first"
    assert {name: (row["pending"], row["interval"], row["from"]) for name, row in rows.items()} == {
        "own.test": (30, 5.0, "settings: 'own.test'"),
        "www.test": (20, 2.0, "settings: '*.test'"),
        "example.com": (10, 1.0, "settings: every slot"),
    }
    assert rows["own.test"]["backlog"] == 150
    do(backend, lambda limiter: limiter.change("www.test", LimitChange(interval=9.0, adapted=True)))
    do(backend, lambda limiter: limiter.slow_down("example.com", floor=1, recovery=0.5, most=60, calm=10))
    assert say(slots.verb(), "rate", CRAWL, "own.test", "2/s", "--for", "1h") == 0
    assert "own.test: 2/s, for 1 h 0 min" in capsys.readouterr().out
    do(backend, lambda limiter: limiter.change("www.test", LimitChange(interval=900.0, lasts=60)))
    assert say(slots.verb(), CRAWL, "www.test") == 0
    assert "one in 15 min 0 s" in capsys.readouterr().out, "not what is left of it"
    do(backend, lambda limiter: limiter.reset("www.test"))
    rows = looked(capsys)
    assert rows["www.test"]["from"] == "adapted to the site"
    do(backend, lambda limiter: limiter.change("www.test", LimitChange(least=10.0, adapted=True)))
    row = looked(capsys, "www.test")["www.test"]
    assert (row["interval"], row["from"], row["change"]["least"]) == (10.0, "Crawl-delay in robots.txt", 10.0)
    assert (rows["example.com"]["from"], round(rows["example.com"]["interval"])) == (
        "failures of the site, it recovers",
        2,
    )
    assert "@" in rows["own.test"]["from"], "a person, by name"
    assert (rows["own.test"]["interval"], round(rows["own.test"]["change"]["lasts"])) == (0.5, 3600)
    assert say(slots.verb(), CRAWL, "--top", "1") == 0
    out = capsys.readouterr().out
    assert "own.test" in out
    assert "2 slots more: --top 3" in out
    assert set(looked(capsys, "*.test")) == {"own.test", "www.test"}


def test_what_holds_a_slot_is_told(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    begin(backend)
    preset = {"MOCRA_BREAKER": "mocra"}
    assert say(slots.verb(), "hold", CRAWL, "own.test", "10m") == 0
    assert "own.test: nothing departs for 10 min" in capsys.readouterr().out
    assert say(slots.verb(), "pause", CRAWL, "www.test") == 0
    assert say(breaker.verb(), "open", CRAWL, "example.com", "2m", **preset) == 0
    assert "example.com: open for 2 min" in capsys.readouterr().out
    do(backend, lambda limiter: limiter.hold("site.test", 60))
    asyncio.run(backend.stalls(CRAWL, StallRules(), OPTIONS).report([Attempts("site.test")]))
    rows = looked(capsys)
    assert "by " in rows["own.test"]["stands"][0]
    assert rows["www.test"]["stands"][0].startswith("paused by ")
    assert rows["example.com"]["stands"][0].startswith("circuit open for ")
    assert len(rows["example.com"]["stands"]) == 1, "its hold is the circuit's"
    assert rows["site.test"]["stands"][0].endswith("the site asked")
    assert rows["site.test"]["stands"][1].startswith("1 attempt failed in a row, ")
    assert say(breaker.verb(), "look", CRAWL, **preset) == 0
    assert "example.com: open for" in capsys.readouterr().out
    assert say(breaker.verb(), "close", CRAWL, "example.com", **preset) == 0
    assert say(breaker.verb(), "close", CRAWL, "example.com", **preset) == 1, "it was not open"
    assert say(slots.verb(), "resume", CRAWL, "own.test", "www.test", "example.com") == 0
    out = capsys.readouterr().out
    assert "own.test: goes on" in out
    assert "example.com: it was neither paused nor held" in out
    assert say(breaker.verb(), "open", CRAWL, "own.test", **preset) == 0
    assert say(breaker.verb(), "reset", CRAWL, "--all", **preset) == 0
    assert "own.test: closed" in capsys.readouterr().out
    assert say(slots.verb(), "reset", CRAWL, "site.test") == 0
    rows = looked(capsys)
    assert all(row["stands"] == [] for row in rows.values()), rows


def test_a_quota_is_changed_and_shown(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    session = begin(backend)
    assert say(slots.verb(), "quota", CRAWL, "own.test", "1/h, 100/day") == 0
    assert "own.test: 1 in 1 h 0 min, 0 used, 100 in 24 h 0 min, 0 used, until" in capsys.readouterr().out
    asyncio.run(session.exchange(want=60))
    (row,) = looked(capsys, "own.test").values()
    assert [(one["most"], one["window"], one["used"]) for one in row["quotas"]] == [(1, 3600, 1), (100, 86_400, 1)]
    assert row["stands"][0].startswith("quota used up (1 in 1 h 0 min), opens in 1 h ")
    assert say(slots.verb(), "look", CRAWL, "own.test") == 0
    assert "1 in 1 h 0 min, 100 in 24 h 0 min" in capsys.readouterr().out
    for word, said in (("none", "no quota, until the run ends"), ("settings", "no quota, as the settings say")):
        assert say(slots.verb(), "quota", CRAWL, "own.test", word) == 0
        assert said in capsys.readouterr().out
    assert looked(capsys, "own.test")["own.test"]["stands"] == []


def test_a_given_up_slot_is_opened_again(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    begin(backend)
    stalls = backend.stalls(CRAWL, StallRules(longest=1, attempts=1), OPTIONS)
    assert asyncio.run(stalls.report([Attempts("own.test", age=100, why="refused")]))
    assert looked(capsys)["own.test"]["given_up"].startswith("1 attempts in a row failed")
    assert say(slots.verb(), "reset", CRAWL, "own.test") == 0
    assert "it was given up, and is tried again" in capsys.readouterr().out
    assert asyncio.run(stalls.report([Attempts("own.test", age=100, why="refused")]))
    assert say(breaker.verb(), "reset", CRAWL, "own.test") == 0
    assert asyncio.run(stalls.look("own.test")).given_up == ""


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (["rate", CRAWL, "own.test", "fast"], 1, "'fast' is not a rate"),
        (["rate", CRAWL, "own.test", "1/s", "--for", "soon"], 1, "Write 90s, 10m, 1.5h, 2d"),
        (["rate", CRAWL, "own.tset", "1/s"], 1, "Did you mean own.test or"),
        (["rate", CRAWL, "test", "1/s"], 1, "Did you mean own.test or www.test?"),
        (["rate", CRAWL, "http://own.test/", "1/s"], 1, "Write 'own.test'"),
        (["pause", CRAWL, "nothing.like.it"], 1, "--force"),
        (["rate", CRAWL, "own.test"], 2, "scrapy mocra slots rate CRAWL SLOT RATE"),
        (["rate", CRAWL, "own.test", "1/s", "2/s"], 2, "scrapy mocra slots rate CRAWL SLOT RATE"),
        (["pause", CRAWL], 2, "scrapy mocra slots pause CRAWL SLOT"),
        ([], 2, "scrapy mocra slots look CRAWL"),
        (["pause", CRAWL, "own.test", "--for", "10m"], 2, "--for belongs to: scrapy mocra slots rate"),
        (
            ["look", CRAWL, "--force"],
            2,
            "--force belongs to: scrapy mocra slots rate | quota | hold | pause | resume | reset",
        ),
        (["quota", CRAWL, "own.test", "many"], 1, "'many' is not a number of requests in a time"),
        (["look", "shpo"], 1, "There are: shop"),
    ],
)
def test_what_can_t_be_is_refused(
    backend: MemoryBackend, capsys: pytest.CaptureFixture[str], line: list[str], code: int, text: str
) -> None:
    begin(backend)
    assert say(slots.verb(), *line) == code
    out = capsys.readouterr()
    assert text in out.err
    assert out.err.startswith("Error: ")
    assert out.out == ""


@pytest.mark.parametrize("other", ["nothing.like.it", "http://www.test/"])
def test_of_several_slots_none_is_done_when_one_can_t_be(
    backend: MemoryBackend, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    begin(backend)
    assert say(slots.verb(), "pause", CRAWL, "own.test", other) == 1
    assert capsys.readouterr().out == ""
    assert looked(capsys)["own.test"]["paused"] is False


def test_programs_hear_how_a_slot_stands_then(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    begin(backend)
    for line, part, value in (
        (("rate", "own.test", "4/s"), "interval", 0.25),
        (("pause", "own.test"), "paused", True),
        (("resume", "own.test"), "paused", False),
        (("reset", "own.test"), "change", None),
    ):
        assert say(slots.verb(), *line, "--crawl", CRAWL, "--json") == 0
        row = json.loads(capsys.readouterr().out)
        assert (row["slot"], row[part], row["pending"]) == ("own.test", value, 30)
    preset = {"MOCRA_BREAKER": "mocra"}
    for action, circuit in (("open", "open"), ("close", "closed")):
        assert say(breaker.verb(), action, CRAWL, "own.test", "--json", **preset) == 0
        row = json.loads(capsys.readouterr().out)
        assert (row["slot"], row["circuit"]) == ("own.test", circuit)


def test_a_slot_may_be_an_ipv6_address(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    begin(backend)
    assert say(slots.verb(), "pause", CRAWL, "[::1]", "--force") == 0
    (name,) = set(looked(capsys)) - set(SLOTS)
    assert set(looked(capsys, name)) == {name}


def test_all_circuits_are_all(
    backend: MemoryBackend, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(backend)
    monkeypatch.setattr(breaker, "MOST", 2)
    preset = {"MOCRA_BREAKER": "mocra"}
    for name in SLOTS:
        assert say(breaker.verb(), "open", CRAWL, name, **preset) == 0
    capsys.readouterr()
    assert say(breaker.verb(), "look", CRAWL, **preset) == 0
    out = capsys.readouterr()
    assert len(out.out.splitlines()) == 2
    assert out.err == "There are more than these 2\n"
    assert say(breaker.verb(), "reset", CRAWL, "own.test", "--all", **preset) == 2
    assert "name none beside it" in capsys.readouterr().err
    assert say(breaker.verb(), "close", CRAWL, "own.test", "--all", **preset) == 2
    assert "--all belongs to: scrapy mocra breaker reset" in capsys.readouterr().err
    assert say(breaker.verb(), "reset", CRAWL, "--all", **preset) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert say(breaker.verb(), "look", CRAWL, **preset) == 0
    assert "No circuit of 'shop' is open" in capsys.readouterr().out


def test_a_slot_that_is_yet_to_come_may_be_set(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    begin(backend)
    assert say(slots.verb(), "rate", "new.test", "6/m", "--force", "--crawl", CRAWL) == 0
    assert "new.test: one in 10.0 s, until the run ends" in capsys.readouterr().out
    assert looked(capsys)["new.test"]["interval"] == 10
    assert say(slots.verb(), "pause", "new.test", MOCRA_CRAWL=CRAWL) == 0, "the crawl is that of the settings"


def test_who_is_polite_for_itself_can_t_be_told(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    begin(backend, QueueOptions())
    assert say(slots.verb(), "rate", CRAWL, "own.test", "1/s") == 1
    assert "MOCRA_THROTTLE_SCOPE: it is 'worker' on 1 worker(s)" in capsys.readouterr().err


def test_a_circuit_needs_somebody_who_judges_it(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    begin(backend)
    assert say(breaker.verb(), "open", CRAWL, "own.test") == 1
    assert "MOCRA_BREAKER: there is no breaker of slots" in capsys.readouterr().err
    assert say(breaker.verb(), "look", CRAWL) == 0
    assert "No circuit of 'shop' is open" in capsys.readouterr().out
    assert say(breaker.verb(), "reset", CRAWL) == 2
    assert "--all" in capsys.readouterr().err


def test_a_private_backend_has_nothing_to_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert say(slots.verb(), "look", CRAWL, MOCRA_BACKEND="memory://") == 1
    assert "keeps everything inside the process that crawls" in capsys.readouterr().err


def test_notes_of_an_earlier_run_are_not_believed(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    session = begin(backend)
    assert say(slots.verb(), "pause", CRAWL, "own.test") == 0

    async def next_run() -> None:
        await session.queue.clear()
        await session.queue.join("w1")
        await backend.rate_limiter(CRAWL, OPTIONS).pause("own.test")
        await session.push([Entry(b"", "own.test")])

    values = asyncio.run(backend.shared_values(f"slots:{CRAWL}").everything(""))
    asyncio.run(backend.shared_values(f"slots:{CRAWL}").put("www.test", b"[1]"))
    assert set(values) == {"own.test"}
    asyncio.run(next_run())
    assert "paused by " in looked(capsys)["own.test"]["stands"][0]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5h", 5400), ("2 d", 172_800), ("10M", 600), ("3 min", 180)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1w", "400d", "ten", "1e3", "2months", "5ms"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a time"):
        seconds_of(text)


def test_the_strictest_settings_are_named() -> None:
    sets = {"a": RULES, "b": RuleSet(SlotLimit(1.0), {}, [("own*", SlotLimit(7.0))]), "-": None}
    rules = RulesInForce(1, sets, {"w1": "a", "w2": "b"})
    assert origins_of("own.test", rules) == ["'own*'"]
    assert origins_of("www.test", rules) == ["'*.test'"]
    assert origins_of("example.com", rules) == ["every slot"]
    assert origins_of("@account", rules) == ["no rule"]
    assert origins_of("own.test", RulesInForce()) == ()
    assert near_names("exmaple.com", {"example.com": 1, "test": 1}) == ["example.com"]
