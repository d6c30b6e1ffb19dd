"""A request as a message, and messages of anybody else's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocra_scrapy.backends.kafka.log_message import LONGEST_DELAY, message_of, place_of, read_message, ready_at
from mocra_scrapy.backends.kafka.log_names import LogPartition
from mocra_scrapy.backends.kafka.log_values import LogRecord, Outgoing, Raw, Unreadable
from mocra_scrapy.models import MAX_PRIORITY, MIN_PRIORITY, Entry

PLACE = LogPartition("normal", 2)
NOW = 1_800_000_000.0
texts = st.text(max_size=20)
entries = st.builds(
    Entry,
    body=st.binary(max_size=50),
    slot=texts,
    priority=st.integers(MIN_PRIORITY, MAX_PRIORITY),
    start=st.booleans(),
    delay=st.floats(0, 10**6),
    scopes=st.lists(texts, max_size=3).map(tuple),
    budgets=st.lists(texts, max_size=3).map(tuple),
    again=st.booleans(),
)


def raw(message: dict[str, Any], offset: int = 7) -> Raw:
    return Raw(offset, message["key"], message["value"], message["headers"], NOW)


@given(entries, st.integers(0, 2**40), st.integers(0, 2**62), st.floats(0, 10**6))
def test_a_request_comes_back_with_what_is_left_of_its_delay(entry: Entry, run: int, born: int, later: float) -> None:
    found = read_message(PLACE, raw(message_of(Outgoing("t", entry, run, born), NOW)), NOW + later)
    assert isinstance(found, LogRecord)
    assert found.entry.delay == pytest.approx(max(0.0, entry.delay - later), abs=1e-3)
    told = {
        name: getattr(found.entry, name) for name in ("body", "slot", "priority", "start", "scopes", "budgets", "again")
    }
    assert told == {name: getattr(entry, name) for name in told}
    assert (found.partition, found.offset, found.run) == (PLACE, 7, run)
    assert found.born == (born if run else 0)


def test_as_what_it_was_in_transit_may_be_said() -> None:
    out = Outgoing("t", Entry(b"x", "s"), transit=("wörker 1\udc80", "t0001"))
    found = read_message(PLACE, raw(message_of(out, NOW)), NOW)
    assert isinstance(found, LogRecord)
    assert found.transit == ("wörker 1\udc80", "t0001")
    for wrong in (b"", b"t1", b"t1 ", b" a", b"t1 " + 5000 * b"a", b"\xff a"):
        damaged = {**message_of(out, NOW), "headers": [("mocra", b"1"), ("transit", wrong)]}
        assert isinstance(read_message(PLACE, raw(damaged), NOW), Unreadable)


def test_it_waits_by_the_clock_of_its_writer() -> None:
    """And not by the time at which a broker has it."""
    message = message_of(Outgoing(1, Entry(b"x", "s", delay=90.0)), 1234.5)
    assert message["timestamp"] == 1_234_500
    assert ready_at(LogPartition("wait-60", 0), message["timestamp"] / 1000) == 1294.5


def test_when_it_is_due_may_be_said() -> None:
    out = Outgoing("t", Entry(b"x", "s", priority=1, fingerprint=b"own"), due=NOW + 700, fingerprint=b"\0f")
    assert place_of(out, 1, NOW) == ("wait-600", 0)
    assert place_of(out, 1, NOW + 690) == ("high", 0)
    found = read_message(PLACE, raw(message_of(out, NOW)), NOW + 600)
    assert isinstance(found, LogRecord)
    assert found.entry.delay == 100
    assert (found.fingerprint, found.entry.fingerprint) == (b"\0f", None)
    assert ready_at(LogPartition("wait-600", 0), NOW) == NOW + 600
    assert ready_at(PLACE, NOW) == NOW


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"headers": None}, "it was not written by this program"),
        ({"headers": [("mocra", b"2")]}, "it is of version b'2'"),
        ({"headers": [("mocra", None)]}, "it is of version b''"),
        ({"value": None}, "it has no value"),
        ({"key": b"\xff"}, "can't decode"),
        ({"headers": [("mocra", b"1"), ("priority", b"1e9")]}, "is no number"),
        ({"headers": [("mocra", b"1"), ("priority", b"1" * 5000)]}, "is no number"),
        ({"headers": [("mocra", b"1"), ("due", b"soon")]}, "could not convert"),
        ({"headers": [("mocra", b"1"), ("due", b"nan")]}, "is no time"),
        ({"headers": [("mocra", b"1"), ("scopes", b"{}")]}, "no list of names"),
        ({"headers": [("mocra", b"1"), ("scopes", b"[1]")]}, "no list of names"),
        ({"headers": [("mocra", b"1"), ("scopes", b"[" * 60_000)]}, "recursion"),
        ({"headers": [("mocra", b"1"), ("budgets", b" " * 70_000)]}, "a header of 70000 bytes"),
    ],
)
def test_what_is_none_of_ours_is_told(change: dict[str, Any], reason: str) -> None:
    message = {"key": b"s", "value": b"body", "headers": [("mocra", b"1")], **change}
    found = read_message(PLACE, raw(message), NOW)
    assert isinstance(found, Unreadable)
    assert reason in found.reason
    assert found.value == (message["value"] or b"")
    assert found.slot == ("\ufffd" if "key" in change else "s")


@given(
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=20),
    st.lists(
        st.tuples(st.sampled_from(["mocra", "priority", "due", "scopes", "run"]), st.none() | st.binary(max_size=8))
    ),
)
def test_no_message_breaks_it(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    found = read_message(PLACE, Raw(1, key, value, [("mocra", b"1"), *headers]), NOW)
    if isinstance(found, LogRecord):
        assert MIN_PRIORITY <= found.entry.priority <= MAX_PRIORITY
        assert 0 <= found.entry.delay <= LONGEST_DELAY
