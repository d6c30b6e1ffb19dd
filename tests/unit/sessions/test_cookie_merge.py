"""What several workers know of a session becomes one, whoever merges what first."""

from __future__ import annotations

import random
from functools import reduce
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocra_scrapy.sessions.cookie_merge import (
    LARGEST,
    MOST_COOKIES,
    REMEMBERED,
    Key,
    Value,
    field,
    merged,
    next_stamp,
    pack,
    packed,
    tidied,
    unpack,
)

KEYS = [("a.test", "/", "sid"), ("a.test", "/x", "sid"), (".a.test", "/", "lang"), field("data:token")]
values = st.builds(
    Value,
    st.tuples(st.integers(0, 5), st.sampled_from("ab")),
    st.one_of(st.none(), st.sampled_from(["1", "2"])),
    st.one_of(st.none(), st.integers(0, 9).map(float)),
    st.integers(0, 63),
)
states = st.dictionaries(st.sampled_from(KEYS), values)


@given(st.lists(states, max_size=4))
def test_the_order_of_merging_does_not_matter(several: list[dict[Key, Value]]) -> None:
    outcomes = {frozenset(reduce(merged, order, {}).items()) for order in permutations(several)}
    assert len(outcomes) == 1
    both = reduce(merged, several, {})
    assert merged(both, both) == both
    assert all(merged(both, one) == both for one in several)


@given(states)
def test_it_comes_back_as_it_was_stored(state: dict[Key, Value]) -> None:
    assert unpack(pack(state, now=-1e9)) == state


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{", b"\xff", b'{"v":2,"values":[]}', b'{"v":1}', b'{"v":1,"values":[[1]]}', b"[" * 100_000]
    + [
        b'{"v":1,"values":[["d","/","n",%s]]}' % row
        for row in (b'1,"w",2,null,0', b'"1","w","v",null,0', b'1,"w","v","x",0')
    ],
)
def test_what_none_of_us_wrote_is_told(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(raw)


def test_what_is_over_goes_and_what_is_too_much() -> None:
    dead, ended, kept = (
        Value((int(at * 1e6), "w"), value, end) for at, value, end in ((0, None, None), (0, "x", 50.0), (0, "x", 99.0))
    )
    state = {("d", "/", name): one for name, one in (("dead", dead), ("ended", ended), ("kept", kept))}
    assert {key[2] for key in tidied(state, 60.0)} == {"dead", "kept"}
    assert {key[2] for key in tidied(state, REMEMBERED)} == set()
    many: dict[Key, Value] = {("d", "/", f"{n}"): Value((n, "w"), "x") for n in range(MOST_COOKIES + 7)}
    assert min(int(key[2]) for key in tidied({**many, field("f"): dead}, 1.0) if key[0]) == 7
    large = {("d", "/", f"{n}"): Value((n, "w"), "x" * 4000) for n in range(100)}
    raw = pack(large, 1.0)
    assert len(raw) <= LARGEST
    assert max(int(key[2]) for key in unpack(raw)) == 99, "what was set last stays"


def test_what_is_too_large_takes_nothing_else_with_it() -> None:
    """A log-in is what a session began with, so it is older than what there is too much of."""
    login = {("d", "/", "sid"): Value((0, "w"), "s"), field("data:token"): Value((1, "w"), "t")}
    huge = {("d", "/", "huge"): Value((2, "w"), "x" * 2 * LARGEST)}
    raw, cut = packed({**login, **huge}, 1.0)
    assert (unpack(raw), cut) == (login, 1)
    many: dict[Key, Value] = {("d", "/", f"{n}"): Value((9 + n, "w"), "x" * 4000) for n in range(100)}
    raw, cut = packed({**login, **many}, 1.0)
    kept = unpack(raw)
    assert field("data:token") in kept, "what the project keeps is not crowded out by cookies"
    assert cut == 102 - len(kept)


def test_an_answer_is_newer_than_what_its_request_carried() -> None:
    """However far the workers' clocks are apart."""
    first = Value(next_stamp(1000.0, [], "fast"), "1")
    second = Value(next_stamp(3.0, [first], "slow"), "2")
    assert merged({KEYS[0]: first}, {KEYS[0]: second})[KEYS[0]] is second
    assert next_stamp(0.0, [], "w", last=7) == (8, "w")


class Worker:
    """What one worker knows, and what it has not stored yet."""

    def __init__(self, name: str, skew: float) -> None:
        self.name, self.skew, self.last = name, skew, 0
        self.state: dict[Key, Value] = {}
        self.unsaved: dict[Key, Value] = {}
        self.version = 0

    def answered(self, now: float, key: Key, value: Any) -> None:
        stamp = next_stamp(now + self.skew, self.state.values(), self.name, self.last)
        self.last = stamp[0]
        self.state[key] = self.unsaved[key] = Value(stamp, value)

    def read(self, store: Store) -> None:
        self.state, self.version = merged(store.state, self.unsaved), store.version

    def write(self, store: Store) -> None:
        """Compare and set."""
        if self.version != store.version:
            return self.read(store)
        if self.unsaved:
            store.state, store.version, self.unsaved = dict(self.state), store.version + 1, {}
            self.version = store.version
        return None


class Store:
    def __init__(self) -> None:
        self.state: dict[Key, Value] = {}
        self.version = 0


@pytest.mark.parametrize("seed", range(40))
def test_no_interleaving_loses_a_cookie(seed: int) -> None:
    """Reads, answers, writes and deaths in any order. Each worker has cookies that nobody else sets: the last
    value that it stored is there, whoever wrote meanwhile; of what all set none comes back that was overwritten
    by one who knew it.
    """
    rng, store = random.Random(seed), Store()
    workers = [Worker(f"w{n}", rng.choice([0, 0, -30, 30])) for n in range(4)]
    stored: dict[str, Any] = {}
    newest: tuple[int, str] = (0, "")
    for step in range(300):
        worker = rng.choice(workers)
        deed = rng.random()
        if deed < 0.3:
            worker.answered(step / 10, ("a.test", "/", worker.name), f"{step}")
        elif deed < 0.5:
            worker.answered(step / 10, KEYS[0], f"{step}")
        elif deed < 0.7:
            worker.read(store)
        elif deed < 0.97:
            before = store.version
            mine = worker.unsaved.get(("a.test", "/", worker.name))
            worker.write(store)
            if store.version != before and mine is not None:
                stored[worker.name] = mine.value
        else:  # killed: what it had not stored is gone
            workers[workers.index(worker)] = Worker(f"{worker.name}'", worker.skew)
        kept = store.state.get(KEYS[0])
        if kept is not None:
            assert kept.stamp >= newest
            newest = kept.stamp
        assert {name: store.state["a.test", "/", name].value for name in stored} == stored
