"""What was read ahead of a log: bounded, in order, nobody starves, nothing is left out."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mocra_scrapy.backends.kafka.log_names import LogPartition
from mocra_scrapy.backends.kafka.log_values import LogRecord, Raw, Start
from mocra_scrapy.backends.kafka.look_ahead import SURE, LookAhead
from mocra_scrapy.backends.kafka.offsets import Runs
from mocra_scrapy.models.log import LogOptions

HIGH, NORMAL, LOW = (LogPartition(tier, 0) for tier in ("high", "normal", "low"))
WAIT = LogPartition("wait-60", 0)
NOW = 1_800_000_000.0


def raws(*offsets: int, written: float = 0.0, size: int = 1) -> list[Raw]:
    return [Raw(offset, b"s", b"x" * size, [("mocra", b"1")], written) for offset in offsets]


def begun(options: LogOptions | None = None, *partitions: LogPartition) -> LookAhead:
    ahead = LookAhead(options or LogOptions())
    for partition in partitions:
        ahead.begin(partition, Start(0))
    return ahead


@given(
    st.integers(0, 5),
    st.sets(st.integers(0, 40)),
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=30),
)
def test_batches_follow_each_other_and_leave_nothing_out(
    first: int, skip: set[int], puts: list[int], takes: list[tuple[int, bool]]
) -> None:
    """Whatever is to be skipped, and however it is put and taken."""
    ahead = LookAhead(LogOptions())
    ahead.begin(NORMAL, Start(first, Runs((n, n + 1) for n in sorted(skip) if not {n - 1, n + 1} & skip)))
    given_ = {n for n in skip if not {n - 1, n + 1} & skip}
    position, seen, end = first, list[int](), first
    expected = ahead.expected(NORMAL)
    assert expected is not None
    assert expected == first + (first in given_)
    plan = [*takes, *[(100, True)] * 20]
    for limit, put in plan:
        if put and puts:
            count = puts.pop()
            start = ahead.expected(NORMAL) or 0
            assert ahead.put(NORMAL, raws(*range(start, start + count)))
            end = start + count
        for batch in ahead.take(limit, NOW):
            assert batch.start == position
            assert batch.next > batch.start
            position = batch.next
            seen += [record.offset for record in batch.records]
            assert all(batch.start <= record.offset < batch.next for record in batch.records)
    assert position == max(end, ahead.expected(NORMAL) or 0)
    assert seen == [n for n in range(first, end) if n not in given_]


def test_all_that_is_to_be_skipped_moves_the_position() -> None:
    ahead = LookAhead(LogOptions())
    ahead.begin(NORMAL, Start(3, Runs([(3, 5), (6, 9)])))
    (batch,) = ahead.take(10, NOW)
    assert (batch.start, batch.next, batch.records) == (3, 5, ())
    ahead.put(NORMAL, raws(5, 6, 7, 8))
    (batch,) = ahead.take(10, NOW)
    assert (batch.start, batch.next, len(batch.records)) == (5, 9, 1)
    assert not ahead.has_some(NOW)


def test_tiers_have_their_weights_and_none_starves() -> None:
    ahead = begun(LogOptions(weights={"high": 8, "normal": 4, "low": 1}), HIGH, NORMAL, LOW)
    for partition in (HIGH, NORMAL, LOW):
        ahead.put(partition, raws(*range(1000)))
    taken: Counter[LogPartition] = Counter()
    order = []
    for _ in range(130):  # one at a time: it must not begin anew with each call
        (batch,) = ahead.take(1, NOW)
        taken[batch.partition] += 1
        order.append(batch.partition)
    assert taken == {HIGH: 80, NORMAL: 40, LOW: 10}
    assert LOW in order[:13]
    at_once = {batch.partition: len(batch.records) for batch in ahead.take(130, NOW)}
    assert at_once == {HIGH: 80, NORMAL: 40, LOW: 10}


def test_partitions_of_a_tier_take_turns() -> None:
    some = [LogPartition("normal", number) for number in range(3)]
    ahead = begun(None, *some)
    for partition in some:
        ahead.put(partition, raws(*range(10)))
    assert {batch.partition for batch in ahead.take(2, NOW)} | {b.partition for b in ahead.take(1, NOW)} == set(some)
    assert [len(batch.records) for batch in ahead.take(9, NOW)] == [3, 3, 3]


def test_full_partitions_are_left_out() -> None:
    ahead = begun(None, HIGH, NORMAL)
    for partition in (HIGH, NORMAL):
        ahead.put(partition, raws(*range(10)))
    (batch,) = ahead.take(10, NOW, skip={HIGH}, limits={NORMAL: 4})
    assert (batch.partition, len(batch.records)) == (NORMAL, 4)
    assert ahead.take(10, NOW, skip={HIGH}, limits={NORMAL: 0}) == []


def test_what_waits_is_given_when_it_is_due() -> None:
    ahead = begun(None, WAIT)
    ahead.put(WAIT, raws(0, written=NOW) + raws(1, written=NOW + 5))
    assert ahead.take(10, NOW + 59.9) == []
    assert ahead.next_due(NOW) == 60
    (batch,) = ahead.take(10, NOW + 60)
    assert (batch.start, batch.next) == (0, 1)
    assert ahead.next_due(NOW + 60) == 5
    assert ahead.next_due(NOW + 70) == 0
    assert begun(None, HIGH).next_due(NOW) is None


def test_it_is_bounded_and_goes_on_when_half_is_taken() -> None:
    ahead = begun(LogOptions(ahead=10), HIGH, NORMAL)
    ahead.put(HIGH, raws(*range(10)))
    assert ahead.full() == {HIGH}
    ahead.take(4, NOW)
    assert ahead.full() == {HIGH}, "not back and forth"
    ahead.take(1, NOW)
    assert ahead.full() == set()


def test_bytes_are_bounded_over_all_partitions_and_none_starves() -> None:
    ahead = begun(LogOptions(ahead=100, ahead_bytes=10_000), HIGH, NORMAL, LOW)
    ahead.put(HIGH, raws(0, 1, 2, size=4000))
    assert ahead.full() == {HIGH}, "the others have nothing yet"
    ahead.put(NORMAL, raws(0, 1, size=4000))
    assert ahead.full() == {HIGH, NORMAL, LOW}, "twice of it is too much for anybody"
    ahead.take(3, NOW)
    assert ahead.full() == {HIGH, NORMAL}
    ahead.take(5, NOW)
    assert ahead.full() == set()


def test_what_seems_to_be_missing_is_looked_for() -> None:
    """A client that lost its place is told again; what is missing for sure is passed over at last."""
    ahead = begun(None, NORMAL)
    ahead.put(NORMAL, raws(0, 1))
    assert not ahead.put(NORMAL, raws(5, 6))
    assert ahead.expected(NORMAL) == 2
    assert ahead.put(NORMAL, raws(1, 2, 3, 4, 5)), "it was there"
    for attempt in range(SURE):
        assert not ahead.is_sure(NORMAL)
        assert not ahead.at_end(NORMAL, 8)
        assert ahead.is_sure(NORMAL) == (attempt == SURE - 1)
    assert ahead.take_missing() == []
    assert ahead.at_end(NORMAL, 8)
    assert ahead.take_missing() == [(NORMAL, 6, 8)], "which is told"
    assert ahead.take_missing() == []
    assert not ahead.is_sure(NORMAL)
    assert not ahead.is_sure(HIGH)
    (batch,) = ahead.take(10, NOW)
    assert [record.offset for record in batch.records] == [0, 1, 2, 3, 4, 5]
    assert batch.next == 8


def test_what_is_not_begun_or_dropped_is_passed_over() -> None:
    ahead = begun(None, NORMAL)
    assert ahead.put(HIGH, raws(0, 1))
    assert ahead.at_end(HIGH, 9)
    ahead.put(NORMAL, raws(0, 1))
    ahead.drop([NORMAL, LOW])
    assert ahead.take(10, NOW) == []
    assert ahead.expected(NORMAL) is None
    ahead.begin(NORMAL, Start(1))
    ahead.put(NORMAL, raws(0, 1))
    (batch,) = ahead.take(10, NOW)
    assert (batch.start, batch.next) == (1, 2)


def test_foreign_messages_come_beside_the_requests() -> None:
    ahead = begun(None, NORMAL)
    ahead.put(NORMAL, [*raws(0), Raw(1, None, b"hello"), *raws(2)])
    (batch,) = ahead.take(10, NOW)
    assert [record.offset for record in batch.records if isinstance(record, LogRecord)] == [0, 2]
    assert [(one.offset, one.value) for one in batch.unreadable] == [(1, b"hello")]
    assert batch.next == 3
