"""IRequestQueue.exchange: pushing."""

from __future__ import annotations

from mocra_scrapy.models import MAX_PRIORITY, MIN_PRIORITY, Entry

from .harness import Harness, bodies, entries, fp


async def test_a_body_comes_back_byte_for_byte(harness: Harness) -> None:
    a = await harness.worker("a")
    odd = [b"", b"\0", bytes(range(256)), b"\xff" * 5000, b"\x01\0\0\0\0\0\0\0\0tail", b"\x00\x05" * 7]
    pushed = [
        Entry(body, slot, priority, start=start)
        for i, body in enumerate(odd)
        for slot, priority, start in [
            (f"s{i}", 0, False),
            ("", i, True),
            ("1:2:host:80 ü\n", MAX_PRIORITY, False),
            ("x", MIN_PRIORITY, True),
        ]
    ]
    assert list(await a.push(pushed)) == [True] * len(pushed)
    leases = await harness.lease_all(a)
    got = [(x.body, x.slot, x.priority, x.start) for x in leases]
    assert sorted(got) == sorted((x.body, x.slot, x.priority, x.start) for x in pushed)
    assert len({x.token for x in leases if x.shard == leases[0].shard}) == sum(
        x.shard == leases[0].shard for x in leases
    )
    assert {(x.deliveries, x.first_lost_at) for x in leases} == {(1, None)}
    # The same after it went the long way: taken from a dead worker.
    await harness.die()
    b = await harness.worker("b", second=True, isolate_after=9)
    again = await harness.lease_all(b)
    assert sorted((x.body, x.slot, x.priority, x.start) for x in again) == sorted(got)


async def test_a_fingerprint_is_stored_once(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    one = Entry(b"1", "s", fingerprint=fp(1))
    within = await a.push([one, Entry(b"2", "s", fingerprint=fp(2)), one])
    assert list(within) == [True, True, False]
    assert list(await b.push([one, Entry(b"3", "s", fingerprint=fp(3))])) == [False, True]
    # Delayed or pending, another priority or body: the fingerprint alone counts, all its bytes.
    assert list(await b.push([Entry(b"4", "s", 7, fp(1), delay=9)])) == [False]
    assert bodies(await harness.lease_all(a)) == ["1", "2", "3"]
    many = [Entry(b"", "s", fingerprint=fp(("many", i))) for i in range(900)]
    assert all(await a.push(many))
    assert not any(await b.push(many))
    assert (await a.queue.size()).seen == 903


async def test_every_byte_of_a_fingerprint_counts(harness: Harness) -> None:
    """A project's own fingerprinter may give the URL itself, digits, or very little."""
    a = await harness.worker("a")
    given = [b"", b"1", b"12", b"http://s.test/a", b"http://s.test/b", b"x" * 100 + b"1", b"x" * 100 + b"2"]
    given += [b"%040x" % n for n in range(200)]
    assert all(await a.push([Entry(b"", "s", fingerprint=fingerprint) for fingerprint in given]))
    assert not any(await a.push([Entry(b"", "s", fingerprint=fingerprint) for fingerprint in given]))
    assert all(await a.queue.forget(given))


async def test_a_fingerprint_stays_seen_after_ack(harness: Harness) -> None:
    a = await harness.worker("a")
    entry = Entry(b"1", "s", fingerprint=fp(1))
    assert list(await a.push([entry])) == [True]
    assert list(await a.ack(await harness.lease_all(a))) == [True]
    assert list(await a.push([entry])) == [False]
    assert (await a.queue.size()).unfinished == 0


async def test_no_fingerprint_means_no_filtering(harness: Harness) -> None:
    a = await harness.worker("a")
    assert list(await a.push(entries("x", "x"))) == [True, True]
    assert list(await a.push(entries("x"))) == [True]
    size = await a.queue.size()
    assert (size.pending, size.seen) == (3, 0)


async def test_a_delayed_entry_waits(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    answer = await a.exchange(push=[Entry(b"late", "s", delay=40), Entry(b"soon", "s", delay=20)])
    assert list(answer.stored) == [True, True]
    assert 15 < answer.next_due <= 20
    assert await harness.lease_all(a) == []
    assert (await a.queue.size()).delayed == 2
    await harness.advance(10)
    assert await harness.lease_all(b) == []
    await harness.advance(11)
    assert bodies(await harness.lease_all(b)) == ["soon"]
    await harness.advance(20)
    assert bodies(await harness.lease_all(a)) == ["late"]
    assert (await a.queue.size()).delayed == 0


async def test_fingerprints_are_remembered_for_seen_ttl(harness: Harness) -> None:
    a = await harness.worker("a", shards=1, seen_ttl=1000.0, lease=1e6)

    async def is_new(name: str) -> bool:
        return list(await a.push([Entry(b"", "s", fingerprint=fp(name))])) == [True]

    assert await is_new("first")
    await harness.advance(200)
    assert await is_new("second")
    await harness.advance(300)
    await a.exchange()  # at the latest now a new generation begins
    await harness.advance(650)
    assert not await is_new("second"), "it is 950 s old"
    await harness.advance(150)
    assert await is_new("first"), "it is 1300 s old"
    await harness.advance(200)
    assert await is_new("second"), "it is 1300 s old"
