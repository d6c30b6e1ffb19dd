"""How far a partition of a log is, where a run begins in it, and how much is left in it. Pure."""

from __future__ import annotations

import random

import pytest

from mocra_scrapy.backends.composite.backlog import Backlog, unread
from mocra_scrapy.backends.composite.beginnings import begin_of
from mocra_scrapy.backends.composite.partitions import LEAST, MOST, SHARE, Reading, Readings
from mocra_scrapy.backends.kafka import metadata
from mocra_scrapy.backends.kafka.log_names import LogPartition
from mocra_scrapy.backends.kafka.log_values import Commit, Marks
from mocra_scrapy.backends.kafka.offsets import Finished, Runs
from mocra_scrapy.models import Entry, Fed, Feed, LogState, QueueSize

P, Q = LogPartition("normal", 0), LogPartition("low", 1)


def test_what_is_finished_is_committed_and_then_confirmed() -> None:
    reading = Reading(10, Finished(0))
    assert reading.commit() == Commit(0), "the group is told where it begins"
    assert list(reading.confirmed(Commit(0))) == []
    reading.note([(0, 1), (1, 2), (5, 6), (7, 9)])
    commit = reading.commit()
    assert commit == Commit(2, Runs([(5, 6), (7, 9)]))
    assert reading.outstanding == 10 - 2 - 3
    assert sorted(reading.confirmed(commit)) == [(0, 1), (1, 2), (5, 6), (7, 9)]
    assert reading.commit() is None
    reading.note([(5, 6)])  # told once more
    assert reading.commit() is None


def test_what_finds_no_room_in_a_commit_is_not_confirmed() -> None:
    many = 10 * metadata.ROOM
    reading = Reading(2 * many, Finished(0))
    reading.note((2 * i + 1, 2 * i + 2) for i in range(many))
    assert reading.is_full
    commit = reading.commit()
    assert commit is not None
    assert 0.5 < metadata.fill(commit.offset, commit.finished) <= 1.0
    confirmed = list(reading.confirmed(commit))
    assert 0 < len(confirmed) < many
    assert all(first in commit.finished for first, _ in confirmed)
    assert len(reading.noted) == many - len(confirmed)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_finished_is_forgotten(seed: int) -> None:
    """Whatever is confirmed is in what was committed, in any order of finishing and committing."""
    chance, reading = random.Random(seed), Reading(200, Finished(0))
    offsets = list(range(200))
    chance.shuffle(offsets)
    gone: set[int] = set()
    for offset in offsets:
        reading.note([(offset, offset + 1)])
        commit = reading.commit()
        if commit is not None and chance.random() < 0.3:
            gone.update(first for first, _ in reading.confirmed(commit))
            assert all(one < commit.offset or one in commit.finished for one in gone)
    assert reading.commit() in (Commit(200), None)


def readings(
    *partitions: LogPartition, window: int = 1000, least: int = 10
) -> tuple[Readings, dict[LogPartition, Reading]]:
    of = {partition: Reading(0, Finished(0)) for partition in partitions}
    found = Readings(window, least)
    found.update(of)
    return found, of


def feed(partition: LogPartition, start: int, *slots: str) -> Feed:
    entries = [(at, Entry(b"", slot)) for at, slot in enumerate(slots, start)]
    return Feed(str(partition), start, start + len(slots), entries)


def fed(partition: LogPartition, position: int, pending: int = 0) -> Fed:
    return Fed({str(partition): position}, 0, {}, QueueSize(pending=pending), 0)


def test_a_partition_has_a_share_of_the_window() -> None:
    all_of_it, of = readings(P, Q)
    assert all_of_it.limits() == {P: 500, Q: 500}
    all_of_it.are_fed([feed(P, 0, *(f"s{i}" for i in range(500)))])
    all_of_it.take_in(fed(P, 500, pending=500))
    assert all_of_it.limits() == {P: 0, Q: 500}
    of[P].note([(i, i + 1) for i in range(100)])
    assert all_of_it.limits() == {P: 100, Q: 500}
    # There is no room: a few in any case, so that the log is read though the window waits for slow sites.
    all_of_it.take_in(fed(P, 500, pending=1000))
    assert all_of_it.limits() == {P: 0, Q: 500 // LEAST}


def test_a_slot_that_waits_keeps_no_others_from_being_read() -> None:
    all_of_it, of = readings(P)
    slow = MOST * 1000
    all_of_it.are_fed([feed(P, 0, *["slow"] * slow)])
    all_of_it.take_in(fed(P, 2000))
    assert of[P].useful == 2000 - (slow - SHARE)
    assert all_of_it.limits()[P] > 0
    all_of_it.take_in(fed(P, slow))
    assert all_of_it.limits() == {P: 0}, "within bounds"
    of[P].note([(i, i + 1) for i in range(slow)])
    assert (of[P].useful, of[P].outstanding, of[P].commit()) == (0, 0, Commit(slow))


@pytest.mark.parametrize(
    ("known", "mark", "begin"),
    [
        (LogState(run=1), Marks(0, 0), 0),
        (LogState(run=1), Marks(5, 90), 5),
        (LogState(run=1), Marks(5, 90, committed=40), 40),
        (LogState(run=1), Marks(50, 90, committed=40), 50),
        (LogState(run=1), Marks(0, 30, committed=40), 30),
        (LogState(run=2, log_run=1), Marks(5, 90, committed=40), 90),
        (LogState(run=3), Marks(5, 90), 90),
        (LogState(run=2, log_run=2), Marks(0, 9), 0),
    ],
)
def test_where_a_run_begins(known: LogState, mark: Marks, begin: int) -> None:
    assert begin_of(known, mark) == begin


def test_what_is_left_in_the_log() -> None:
    backlog = Backlog()
    backlog.written(P, 10)
    assert backlog.size == 0, "nobody said where it begins"
    backlog.fed({str(P): 4, str(Q): None})
    backlog.written(P, 7)
    backlog.fed({str(P): 2})
    assert backlog.size == 6
    backlog.fed({str(P): 12})
    assert backlog.size == 0
    backlog.clear()
    assert backlog.size == 0
    assert unread({P: 10, Q: 3}, {str(P): 4}) == 9
