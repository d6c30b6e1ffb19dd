"""Random turns of three workers, with time moved, against the model. On a cluster too, but with one
shard: the model has one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Bounds, Burial, Entry, Exchange, Lease, QueueOptions

from .harness import LEASE, Harness, fp
from .memory_harness import MemoryHarness
from .model import DEAD, GONE, Model

NAMES, SLOTS = ["a", "b", "c"], ["s", "t", "u"]
# Leases last 60 s; no sum of these times is near 60 or 40, so that a slow server changes nothing.
TIMES = st.sampled_from([25.0, 70.0])

ENTRY = st.builds(
    lambda slot, priority, number, start, delay: (slot, priority, number, start, delay),
    st.sampled_from(SLOTS),
    st.integers(-1, 1),
    st.none() | st.integers(0, 12),
    st.booleans(),
    st.sampled_from([0.0, 0.0, 40.0]),
)
DEAL = st.sampled_from(["keep", "keep", "ack", "release", "bury"])


class QueueMachine(RuleBasedStateMachine):
    """Each rule is one step on both sides."""

    harness: Harness

    def __init__(self, make: Callable[[], Harness]) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.harness = make()
        self.pushed = 0
        self.ever: dict[str, list[Lease]] = {name: [] for name in NAMES}  # leases a worker was given, stale ones too
        self.last: dict[str, tuple[dict[str, Any], Exchange]] = {}
        self.run(self.harness.start())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        self.run(self.harness.stop())
        self.loop.close()

    @initialize(lifo=st.booleans(), most=st.integers(1, 4), isolate=st.integers(1, 3))
    def begin(self, lifo: bool, most: int, isolate: int) -> None:
        options = {"lifo": lifo, "max_deliveries": most, "isolate_after": isolate, "shards": 1}
        self.model = Model(QueueOptions(lease=LEASE, **options))
        self.sessions = {n: self.run(self.harness.worker(n, second=n == "b", **options)) for n in NAMES}
        self.other = self.harness.queue(second=True, **options)
        for name in NAMES:
            self.model.call(name)

    @rule(
        name=st.sampled_from(NAMES),
        pushes=st.lists(ENTRY, max_size=6),
        deals=st.lists(DEAL, max_size=8),
        want=st.sampled_from([0, 1, 2, 5, 20]),
        full=st.lists(st.sampled_from(SLOTS), max_size=2, unique=True),
        per_slot=st.sampled_from([0, 0, 1, 2]),
    )
    def turn(self, name: str, pushes: list[Any], deals: list[str], want: int, full: list[str], per_slot: int) -> None:
        entries = []
        for slot, priority, number, start, delay in pushes:
            self.pushed += 1
            finger = None if number is None else fp(number)
            entries.append(Entry(b"%d" % self.pushed, slot, priority, finger, start, delay))
        chosen = dict(zip(reversed(self.ever[name]), deals, strict=False))
        picked: dict[str, list[Lease]] = {
            deal: [x for x, d in chosen.items() if d == deal] for deal in ("ack", "release", "bury")
        }
        arguments: dict[str, Any] = {
            "push": entries,
            "ack": picked["ack"],
            "release": picked["release"],
            "bury": [Burial(lease, "unreadable") for lease in picked["bury"]],
            "want": want,
            "bounds": Bounds(full=full, per_slot=per_slot),
        }
        answer = self.run(self.sessions[name].exchange(**arguments))
        self.last[name] = (arguments, answer)
        self.check(name, answer, entries, picked)
        self.model.check_leases(name, answer, want, full, per_slot)
        self.ever[name] += answer.leases
        assert answer.size == self.model.size()
        assert (answer.next_due is None) == (not answer.size.delayed and not answer.size.leased)

    def check(self, name: str, answer: Exchange, entries: list[Entry], picked: dict[str, list[Lease]]) -> None:
        """All of an answer but its leases; takes the model to where they are handed out."""
        model = self.model
        assert answer.lost == model.call(name)
        assert list(answer.stored) == model.push(entries)
        acked = [model.find(name, lease) for lease in picked["ack"]]
        released = [model.find(name, lease) for lease in picked["release"]]
        buried = [model.find(name, lease) for lease in picked["bury"]]
        for got, found in ((answer.acked, acked), (answer.released, released), (answer.buried, buried)):
            assert list(got) == [record is not None for record in found]
        for record in acked:
            if record:
                record.state = GONE
        model.give_back([record for record in released if record])
        for record in buried:
            if record:
                record.state = DEAD
        assert (answer.reclaimed, answer.given_up) == model.pass_time(name)

    @rule(seconds=TIMES)
    def advance(self, seconds: float) -> None:
        self.run(self.harness.advance(seconds))
        self.model.now += seconds

    @precondition(lambda self: self.last)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """By another client object, so that the server itself has to know the answer."""
        name = data.draw(st.sampled_from(sorted(self.last)))
        arguments, before = self.last[name]
        session = QueueSession(self.other, name)
        session.call = self.sessions[name].call
        again = self.run(session.exchange(**arguments, repeat=True))
        held = {record.token for record in self.model.held(name)}
        for part in ("stored", "acked", "released", "buried"):
            assert list(getattr(again, part)) == list(getattr(before, part))
        assert list(again.leases) == [x for x in before.leases if x.token in held]
        lost = self.model.call(name)  # its lease is renewed
        assert again.lost == (before.lost or lost)
        assert again.size == self.model.size()
        if lost:
            # Whether a loss that was told in a repeated answer is told once more is left open: make
            # the next call now.
            empty = self.run(self.sessions[name].exchange())
            self.last[name] = ({}, empty)
            assert (empty.reclaimed, empty.given_up) == self.model.pass_time(name)

    @rule(name=st.sampled_from(NAMES))
    def leave(self, name: str) -> None:
        held = self.model.held(name)
        assert self.run(self.sessions[name].queue.close_worker(name)) == len(held)
        self.model.give_back(held)
        self.model.workers.pop(name, None)
        self.last.pop(name, None)

    @precondition(lambda self: self.model.of(DEAD))
    @rule(data=st.data(), verb=st.sampled_from(["replay", "purge"]))
    def letters(self, data: st.DataObject, verb: str) -> None:
        listed = {letter.body: letter for letter in self.run(self.other.dead())}
        dead = {record.entry.body: record for record in self.model.of(DEAD)}
        assert set(listed) == set(dead)
        body = data.draw(st.sampled_from(sorted(dead)))
        assert list(self.run(getattr(self.other, verb)([listed[body].id]))) == [True]
        dead[body].lost, dead[body].state = 0, GONE
        if verb == "replay":
            self.model.line_up(dead[body])

    @rule(number=st.integers(0, 12))
    def forget(self, number: int) -> None:
        assert list(self.run(self.other.forget([fp(number)]))) == [fp(number) in self.model.seen]
        self.model.seen.discard(fp(number))

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "model"):
            assert self.run(self.other.size()) == self.model.size()
            held = {x.name: x.held for x in self.run(self.other.workers())}
            known = {n: len(self.model.held(n)) for n, known in self.model.workers.items() if not known.gone}
            assert held == known
            # No two workers die at the same instant: which of them is taken from first is nobody's
            # promise.
            self.run(self.harness.advance(0.002))
            self.model.now += 0.002


def test_random_turns_agree_with_the_model(bare_harness: Harness) -> None:
    if bare_harness.is_late:
        pytest.skip("the model knows of no moment until what was pushed is there")
    memory = type(bare_harness) is MemoryHarness

    limits = settings(
        max_examples=100 if memory else 15,
        stateful_step_count=30,
        deadline=None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if memory else [])],  # a server is too slow to shrink on
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(lambda: QueueMachine(bare_harness.another), settings=limits)
