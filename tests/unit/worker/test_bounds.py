"""What a worker keeps in memory is bounded in bytes, however few requests it is."""

from __future__ import annotations

from scrapy import Request

from mocra_scrapy.models import Entry, Lease
from mocra_scrapy.worker.outbox import BATCH, BATCH_BYTES, MOST_BYTES, Outbox
from mocra_scrapy.worker.request_cache import RECALLED, RECALLED_BYTES, RequestCache

ONE = Request("http://s.test/")


def test_an_outbox_of_large_requests_is_full() -> None:
    outbox, body, count = Outbox(), b"x" * 100_000, 0
    while not outbox.is_full(10_000):
        outbox.push(Entry(body), ONE)
        count += 1
    assert count == MOST_BYTES // len(body) + 1
    assert outbox.bytes == count * len(body)


def test_an_outbox_of_many_is_full() -> None:
    outbox = Outbox()
    for n in range(11):
        assert not outbox.is_full(10), n
        outbox.push(Entry(b"x"), ONE)
    assert outbox.is_full(10)


def test_what_is_under_way_counts_until_it_is_confirmed() -> None:
    outbox, body = Outbox(), b"x" * 100_000
    for _ in range(MOST_BYTES // len(body) + 1):
        outbox.push(Entry(body), ONE)
    outbox.ack(Lease("a", b"", "s"))
    batch = outbox.take(BATCH, BATCH_BYTES)
    sent = sum(len(push.entry.body) for push in batch.pushes)
    assert BATCH_BYTES <= sent < BATCH_BYTES + len(body)
    assert outbox.is_full(10_000), "it may have to be sent again"
    outbox.confirm(batch, positioned=False)
    assert not outbox.is_full(10_000)
    while outbox:
        outbox.confirm(outbox.take(BATCH, BATCH_BYTES), positioned=False)
    assert outbox.bytes == 0


def test_the_cache_is_bounded_in_bytes() -> None:
    cache, size, most = RequestCache(RECALLED), 100_000, 0
    for n in range(500):
        cache.add(b"%06d" % n + b"x" * size, ONE)
        kept = sum(len(body) for body in (*cache._new, *cache._old))
        most = max(most, kept)
    assert RECALLED_BYTES < most <= 2 * (RECALLED_BYTES + size + 6)
    assert cache.take(b"%06d" % 499 + b"x" * size) is ONE
    assert cache.take(b"%06d" % 0 + b"x" * size) is None


def test_small_requests_are_bounded_by_their_number() -> None:
    cache = RequestCache(10)
    for n in range(100):
        cache.add(b"%d" % n, ONE)
        assert len(cache._new) + len(cache._old) <= 20


def test_places_travel_behind_their_pushes_and_are_forgotten_with_their_reading() -> None:
    outbox = Outbox()
    outbox.push(Entry(b"1"), None)
    outbox.place("file", b"old")
    outbox.place("stream", b"old")
    outbox.forget_places()
    outbox.push(Entry(b"2"), None)
    outbox.place("file", b"1")
    outbox.push(Entry(b"3"), None)
    outbox.place("file", b"2")
    first = outbox.take(5, BATCH_BYTES)
    assert ([push.entry.body for push in first.pushes], first.positions) == ([b"1", b"2"], {"file": b"1"})
    outbox.confirm(first, positioned=True)
    rest = outbox.take(BATCH, BATCH_BYTES)
    assert ([push.entry.body for push in rest.pushes], rest.positions) == ([b"3"], {"file": b"2"})
    assert bool(rest)
    outbox.confirm(rest, positioned=False)
    assert (outbox.misplaced, outbox.confirmed, len(outbox)) == (1, outbox.put, 0)
