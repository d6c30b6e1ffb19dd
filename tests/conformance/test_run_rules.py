"""IRequestQueue: joining, seeding, the end of a run, wake-ups, leaving."""

from __future__ import annotations

import asyncio

import pytest

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import Burial, CrawlState, Entry, Finish, Seeding

from .harness import LEASE, Harness, bodies, entries, fp


async def end_run(session: QueueSession) -> None:
    assert await session.queue.claim_seeding(session.worker)
    assert await session.queue.complete_seeding(session.worker)
    assert await session.queue.finish(session.worker) is Finish.WON


async def test_the_first_join_starts_a_run(harness: Harness) -> None:
    queue = harness.queue()
    assert await queue.state() == CrawlState(0)
    assert await queue.join("a") == CrawlState(1, finished=False, seeding=Seeding.OPEN, resumed=False)
    assert await harness.queue(second=True).state() == CrawlState(1)


async def test_a_join_resumes_an_unfinished_run(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push([Entry(b"1", "s", fingerprint=fp(1))])
    assert await harness.queue(second=True).join("b") == CrawlState(1, resumed=True)
    await a.queue.claim_seeding("a")
    assert (await harness.queue().join("c")).seeding is Seeding.CLAIMED
    await a.queue.complete_seeding("a")
    for name in "abc":
        await a.queue.close_worker(name)
    # Everybody left with work to do: whoever comes next goes on.
    d = harness.queue(second=True)
    assert await d.join("d") == CrawlState(1, seeding=Seeding.DONE, resumed=True)
    session = QueueSession(d, "d")
    assert list(await session.push([Entry(b"1", "s", fingerprint=fp(1))])) == [False]
    assert bodies(await harness.lease_all(session)) == ["1"]


async def test_a_join_after_the_end_starts_afresh(harness: Harness) -> None:
    a = await harness.worker("a")
    seen = [Entry(b"", f"s{i}", fingerprint=fp(i)) for i in range(8)]
    await a.push(seen)
    await a.ack(await harness.lease_all(a))
    await end_run(a)
    assert await a.queue.state() == CrawlState(1, finished=True, seeding=Seeding.DONE)
    b = harness.queue(second=True)
    assert await b.join("b") == CrawlState(2, finished=False, seeding=Seeding.OPEN, resumed=False)
    assert await a.queue.join("a") == CrawlState(2, resumed=True)
    assert await b.claim_seeding("b")
    assert list(await a.push(seen)) == [True] * 8


async def test_an_exhausted_run_counts_as_finished(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push([Entry(b"1", "s", fingerprint=fp(1))])
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    (lease,) = await harness.lease_all(a)
    await a.ack([lease])
    # Somebody is there who may push or say that it is finished: the run goes on.
    b = await harness.worker("b", second=True)
    assert (await b.queue.state()).run == 1
    await b.queue.close_worker("b")
    await a.queue.close_worker("a")
    # Everybody left before anybody said it.
    c = harness.queue(second=True)
    assert await c.join("c") == CrawlState(2, finished=False, seeding=Seeding.OPEN, resumed=False)
    assert list(await QueueSession(c, "c").push([Entry(b"1", "s", fingerprint=fp(1))])) == [True]
    # Seeding was not complete: that run is not exhausted, only interrupted.
    await c.claim_seeding("c")
    session = QueueSession(c, "c")
    session.call = 1
    await session.ack(await harness.lease_all(session))
    await c.close_worker("c")
    assert await harness.queue().join("d") == CrawlState(2, resumed=True)


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
async def test_a_late_clean_up_spares_the_next_run(harness: Harness, again: bool) -> None:
    page = [Entry(b"page", f"s{i}", fingerprint=fp(i)) for i in range(4)]
    a = await harness.worker("a")
    await a.push(page)
    await a.ack(await harness.lease_all(a))
    with harness.late_clean_up(a.queue) as late:
        await end_run(a)
    b = await harness.worker("b", second=True)
    for clean_up in late:  # the one that ended run 1 was slow, run 2 has begun
        await clean_up()
    assert await b.queue.state() == CrawlState(2)
    assert list(await b.push(page)) == [True] * 4
    await b.ack(await harness.lease_all(b))
    if again:
        for clean_up in late:
            await clean_up()
    assert list(await b.push(page)) == [False] * 4, "it forgot what run 2 has seen"
    with harness.late_clean_up(b.queue):  # … and its last worker dies before it cleans up
        await end_run(b)
    c = await harness.worker("c")
    assert await c.queue.state() == CrawlState(3)
    assert list(await c.push(page)) == [True] * 4, "run 3 knows what run 2 has seen"


async def test_keep_seen_keeps_the_fingerprints(harness: Harness) -> None:
    a = await harness.worker("a", keep_seen=True)
    seen = [Entry(b"", f"s{i}", fingerprint=fp(i)) for i in range(8)]
    await a.push(seen)
    await a.ack(await harness.lease_all(a))
    await end_run(a)
    await a.queue.close_worker("a")
    assert await harness.residue(keep_seen=True) == set()
    b = await harness.worker("b", second=True, keep_seen=True)
    assert await b.queue.state() == CrawlState(2)
    assert list(await b.push([*seen, Entry(b"", "s1", fingerprint=fp("new"))])) == [False] * 8 + [True]
    assert (await b.queue.size()).seen == 9


async def test_shards_must_agree(harness: Harness) -> None:
    await harness.queue(shards=2).join("a")
    with pytest.raises(ConfigurationError, match=r"MOCRA_SHARDS.*2"):
        await harness.queue(second=True, shards=5).join("b")
    assert (await harness.queue(second=True, shards=2).join("b")).resumed
    c = harness.queue(second=True, shards=None)
    assert (await c.join("c")).resumed
    await QueueSession(c, "c").push([Entry(b"", f"s{i}") for i in range(20)])
    size = await harness.queue(shards=2).size()
    assert size.pending == 20


async def test_one_worker_seeds(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    claims = await asyncio.gather(*(s.queue.claim_seeding(s.worker) for s in (a, b)))
    assert sorted(claims) == [False, True]
    seeder, other = (a, b) if claims[0] else (b, a)
    assert (await other.queue.state()).seeding is Seeding.CLAIMED
    assert await seeder.queue.claim_seeding(seeder.worker)  # it is still the one
    assert not await other.queue.claim_seeding(other.worker)
    assert not await other.queue.complete_seeding(other.worker)
    await harness.advance(LEASE * 0.7)
    await seeder.exchange()
    await harness.advance(LEASE * 0.7)
    assert not await other.queue.claim_seeding(other.worker)


async def test_seeding_is_taken_over(harness: Harness) -> None:
    a, b, c, d = [await harness.worker(name, second=name in "bd") for name in "abcd"]
    assert await a.queue.claim_seeding("a")
    await harness.die()
    assert await b.queue.claim_seeding("b")
    assert not await a.queue.complete_seeding("a")
    assert not await a.queue.claim_seeding("a")
    # Reclaimed by somebody's turn:
    await harness.die()
    await c.exchange(want=1)
    assert (await c.queue.state()).seeding is Seeding.OPEN
    assert await c.queue.claim_seeding("c")
    # It left:
    await c.queue.close_worker("c")
    assert (await d.queue.state()).seeding is Seeding.OPEN
    assert not await c.queue.complete_seeding("c")
    assert await d.queue.claim_seeding("d")
    assert await d.queue.complete_seeding("d")


async def test_completed_seeding_is_remembered(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    assert not await a.queue.complete_seeding("a")
    assert await a.queue.claim_seeding("a")
    assert await a.queue.complete_seeding("a")
    assert await a.queue.complete_seeding("a")  # repeated
    assert not await b.queue.complete_seeding("b")
    assert not await a.queue.claim_seeding("a")
    await a.push(entries(1, slot="s"))
    await a.queue.close_worker("a")
    await harness.die()
    await b.exchange(want=1)
    assert not await b.queue.claim_seeding("b")
    assert (await harness.queue().join("c")).seeding is Seeding.DONE


async def test_a_busy_crawl_does_not_finish(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    assert await a.queue.finish("a") is Finish.BUSY
    await a.queue.claim_seeding("a")
    assert await a.queue.finish("a") is Finish.BUSY
    await a.queue.complete_seeding("a")
    for slot in (f"s{i}" for i in range(6)):  # on any shard
        await a.push([Entry(b"", slot, delay=40)])
        assert await b.queue.finish("b") is Finish.BUSY
        await harness.advance(41)
        assert await b.queue.finish("b") is Finish.BUSY
        held = await harness.lease_all(a)
        assert len(held) == 1
        assert await b.queue.finish("b") is Finish.BUSY
        assert await a.queue.finish("a") is Finish.BUSY
        await a.ack(held)
    await a.push(entries(1, slot="s"))
    (lease,) = await harness.lease_all(a)
    await harness.die()  # held by a dead worker
    assert await b.queue.finish("b") is Finish.BUSY
    (lease,) = await harness.lease_all(b)
    await b.bury([Burial(lease, "unreadable")])
    assert not (await b.queue.state()).finished
    assert await b.queue.finish("b") is Finish.WON  # a dead letter keeps nobody


async def test_one_worker_wins_the_end(harness: Harness) -> None:
    workers = [await harness.worker(f"w{i}", second=bool(i % 2)) for i in range(6)]
    await workers[3].queue.claim_seeding("w3")
    await workers[3].queue.complete_seeding("w3")
    verdicts = await asyncio.gather(*(w.queue.finish(w.worker) for w in workers))
    assert sorted(verdicts) == [Finish.FINISHED] * 5 + [Finish.WON]
    for worker, verdict in zip(workers, verdicts, strict=True):
        assert await worker.queue.finish(worker.worker) is verdict  # repeated: the same answer
    assert (await workers[0].exchange()).state == CrawlState(1, finished=True, seeding=Seeding.DONE)


async def test_a_push_after_the_end_reopens(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await end_run(a)
    for i in range(6):  # whichever shard it goes to
        answer = await b.exchange(push=[Entry(b"late", f"s{i}")])
        assert answer.state == CrawlState(1, finished=False, seeding=Seeding.DONE)
        assert not (await a.queue.state()).finished
        assert await a.queue.finish("a") is Finish.BUSY
        held = await harness.lease_all(a)
        assert bodies(held) == ["late"]
        await a.ack(held)
        assert await b.queue.finish("b") is Finish.WON
        assert await a.queue.finish("a") is Finish.FINISHED


async def test_a_drained_queue_leaves_nothing_behind(harness: Harness) -> None:
    a, b = await harness.worker("a", max_deliveries=2), await harness.worker("b", second=True, max_deliveries=2)
    for i in range(400):
        fingerprint = fp(i) if i % 3 else None
        await a.push([Entry(b"x", f"s{i % 11}", i % 7 - 3, fingerprint, start=i % 5 == 0, delay=40.0 * (i % 2))])
    await harness.advance(41)
    first = await a.lease(50)
    await a.release(first[:5])
    await a.bury([Burial(lease, "unreadable") for lease in first[5:10]])
    await harness.die()
    while held := await harness.lease_all(b):
        await b.release(held[:3])
        await b.ack(held[3:])
        if len(held) <= 3:
            await b.ack(await harness.lease_all(b))
    c = await harness.worker("c")
    await end_run(c)
    for session in (a, b, c):
        await session.queue.close_worker(session.worker)
    assert await harness.residue() == set()
    size = await c.queue.size()
    assert (size.unfinished, size.seen) == (0, 0)
    assert size.dead >= 5
    await c.queue.purge([letter.id for letter in await c.queue.dead(limit=1000)])
    assert await harness.residue() == set()
    assert (await c.queue.size()).dead == 0


@pytest.mark.parametrize("keep_seen", [False, True])
async def test_a_lost_record_is_begun_anew(harness: Harness, keep_seen: bool) -> None:
    a = await harness.worker("a", keep_seen=keep_seen)
    pages = [Entry(str(i).encode(), f"s{i}", fingerprint=fp(i)) for i in range(20)]
    await a.push(pages[:12])
    await a.ack(await harness.lease_all(a, want=4))
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    unfinished = (await a.queue.size()).unfinished
    await harness.lose_record()
    # Workers that have not noticed go on, and keep nothing from being begun anew.
    await a.push(pages[12:16])
    b = await harness.worker("b", second=True, keep_seen=keep_seen)
    assert await b.queue.state() == CrawlState(1, False, Seeding.OPEN)
    size = await b.queue.size()
    assert (size.unfinished, size.seen) == (unfinished + 4, 0)
    assert list(await b.push(pages)) == [True] * 20
    assert await b.queue.claim_seeding("b")
    assert not await a.queue.complete_seeding("a")
    # Who joins after that takes part, and forgets nothing.
    assert (await a.queue.join("a")).resumed
    assert list(await a.push(pages)) == [False] * 20


async def test_a_lost_record_shows(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    born = (await a.queue.join("a")).born
    assert born > 0
    assert {(await one.exchange()).state.born for one in (a, b)} == {born}
    assert (await a.queue.state()).born == born
    for lose in (harness.lose_record, a.queue.clear):
        await lose()
        told = (await b.exchange()).state
        assert (told.run, told.born) == (0, 0)
        again = await a.queue.join("a")
        assert (again.run, again.resumed) == (1, False)
        assert again.born not in (0, born)
        assert (await b.exchange(want=1)).state.born == again.born == (await b.queue.join("b")).born
        born = again.born
    # A run that ends and one that follows are of the same record.
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    await harness.lease_all(a)
    assert await a.queue.finish("a") is Finish.WON
    after = await b.queue.join("b")
    assert (after.run, after.born) == (2, born)
