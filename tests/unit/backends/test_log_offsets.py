"""Which offsets are finished, and how that is kept beside a commit: against sets of numbers."""

from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocra_scrapy.backends.kafka.metadata import CAREFUL, MOST, ROOM, VERSION, decode, encode, fill
from mocra_scrapy.backends.kafka.offsets import Finished, Runs

TOPIC = "mocra.shop-3abooks.normal"
offsets = st.integers(0, 60)
notes = st.lists(st.tuples(offsets, st.none() | st.integers(0, 12)), max_size=60)


def runs_of(numbers: set[int]) -> Runs:
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1][1] += 1
        else:
            found.append([number, number + 1])
    return Runs((first, end) for first, end in found)


@given(st.integers(0, 30), st.sets(offsets), notes)
def test_finished_is_a_set_of_numbers(start: int, ahead: set[int], some: list[tuple[int, int | None]]) -> None:
    finished = Finished(start, runs_of(ahead))
    known = set(range(start)) | ahead
    for first, count in some:
        new = {first} if count is None else set(range(first, first + count))
        assert finished.note(first, None if count is None else first + count) == bool(new - known)
        known |= new
        lowest = next(n for n in range(200) if n not in known)
        assert finished.offset == lowest
        assert finished.ahead == runs_of({n for n in known if n > lowest})
        assert finished.runs == len(finished.ahead)
        assert finished.end == max([lowest, *(n + 1 for n in known)])
        assert all((n in finished) == (n in known) for n in range(80))


@given(st.sets(offsets), offsets, offsets)
def test_runs_are_a_set_of_numbers(numbers: set[int], low: int, high: int) -> None:
    runs = runs_of(numbers)
    assert [n for n in range(70) if n in runs] == sorted(numbers)
    assert runs.count == len(numbers)
    assert runs.clipped(low, high) == runs_of({n for n in numbers if low <= n < high})
    assert runs.after(low) == next(n for n in range(low, 200) if n not in numbers)
    assert hash(runs) == hash(runs_of(set(numbers)))


@pytest.mark.parametrize("runs", [[(5, 5)], [(5, 4)], [(-3, 2)], [(1, 3), (2, 5)], [(1, 3), (3, 5)], [(4, 5), (1, 2)]])
def test_what_is_no_run_is_refused(runs: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="run"):
        Runs(runs)


@given(st.integers(0, 2**62), st.sets(st.integers(1, 400)), st.integers(0, 500))
def test_what_was_kept_comes_back_within_the_log(offset: int, ahead: set[int], length: int) -> None:
    """Also where the log has become shorter: nothing beyond its end counts as finished."""
    runs = runs_of({offset + n for n in ahead})
    kept = encode(TOPIC, 3, offset, runs)
    assert kept.dropped == 0
    told = decode(kept.text, TOPIC, 3, offset, offset + length)
    assert told.finished == runs.clipped(offset, offset + length)
    assert bool(told.problem) == (told.finished != runs)


@given(st.text(max_size=40) | st.binary(max_size=60).map(lambda raw: VERSION + base64.b64encode(raw).decode()))
def test_what_anybody_wrote_there_counts_for_nothing(text: str) -> None:
    finished, problem = decode(text, TOPIC, 0, 10, 100)
    assert finished == Runs()
    assert bool(problem) == bool(text)


@given(st.sets(st.integers(1, 400), min_size=1), st.data())
def test_damage_counts_for_nothing(ahead: set[int], data: st.DataObject) -> None:
    runs = runs_of({10 + n for n in ahead})
    text = encode(TOPIC, 0, 10, runs).text
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters())
    damaged = text[:at] + other + text[at + 1 :]
    told = decode(damaged, TOPIC, 0, 10, 1000)
    assert told.finished == (runs if damaged == text else Runs())
    assert bool(told.problem) == (damaged != text)
    for cut in (text[:at], text + other):
        assert decode(cut, TOPIC, 0, 10, 1000).finished == Runs()


def packed(numbers: bytes, topic: str = TOPIC, partition: int = 0, offset: int = 10) -> str:
    checksum = zlib.crc32(numbers, zlib.crc32(f"{topic} {partition} {offset} ".encode())).to_bytes(4, "big")
    return VERSION + base64.b64encode(checksum + numbers).decode()


@pytest.mark.parametrize(
    ("numbers", "problem"),
    [
        (b"", "a run has no end"),
        (b"\x01", "a run has no end"),
        (b"\x00\x05", "a run is empty"),
        (b"\x05\x00", "a run is empty"),
        (b"\x05\x85", "it is cut off"),
        (b"\x05" + b"\xff" * 40 + b"\x01", "a number is too large"),
    ],
)
def test_a_forged_checksum_does_not_help(numbers: bytes, problem: str) -> None:
    assert decode(packed(b"\x02\x03"), TOPIC, 0, 10, 100) == (Runs([(12, 15)]), "")
    assert decode(packed(numbers), TOPIC, 0, 10, 100) == (Runs(), problem)


def test_a_run_beyond_the_end_is_clipped_and_told() -> None:
    huge = packed(b"\x02" + b"\xff" * 8 + b"\x7f")
    told = decode(huge, TOPIC, 0, 10, 20)
    assert told.finished == Runs([(12, 20)])
    assert "beyond the end of the log, 20" in told.problem
    assert decode(huge, TOPIC, 0, 10, 5).finished == Runs(), "a log that was truncated below the commit"


def test_of_another_place_or_version_it_is_not_read() -> None:
    text = encode(TOPIC, 0, 10, Runs([(12, 15)])).text
    for topic, partition, offset in (("other", 0, 10), (TOPIC, 1, 10), (TOPIC, 0, 11)):
        assert "its checksum is wrong" in decode(text, topic, partition, offset, 100).problem
    assert "version '2'" in decode("2" + text[1:], TOPIC, 0, 10, 100).problem
    assert "5000 characters" in decode("1" + "A" * 4999, TOPIC, 0, 10, 100).problem
    assert decode(None, TOPIC, 0, 10, 100) == (Runs(), "")


def test_what_finds_no_room_is_dropped_and_told() -> None:
    """The most that there is room for: single offsets with one in between."""
    many = Runs((n, n + 1) for n in range(11, 11 + 2 * ROOM, 2))
    kept = encode(TOPIC, 0, 10, many)
    assert len(kept.text) <= MOST
    assert kept.dropped == many.count - ROOM // 2
    assert decode(kept.text, TOPIC, 0, 10, 10**6) == (Runs(list(many)[: ROOM // 2]), "")
    assert fill(10, many) > 1 > CAREFUL
    assert fill(10, Runs(list(many)[: ROOM // 2])) <= 1
    assert fill(10, Runs()) == 0
