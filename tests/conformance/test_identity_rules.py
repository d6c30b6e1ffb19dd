"""IRequestQueue and IBackend: whose a crawl is, and how it is begun again."""

from __future__ import annotations

import asyncio

import pytest

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable, OtherJob
from mocra_scrapy.models import CrawlState, Entry, Job, QueueSize, Seeding

from .harness import LEASE, Harness, entries, fp
from .test_run_rules import end_run


def job(spider: str = "books", **arguments: object) -> Job:
    return Job.of("shop", spider, arguments, ["*token*"])


async def test_another_job_is_refused(harness: Harness) -> None:
    queue = harness.queue()
    assert not (await queue.join("a", job(start="x", token="old"))).resumed
    a = QueueSession(queue, "a")
    await a.push(entries(1, 2, 3, slot="s"))
    await queue.close_worker("a")
    before = await queue.size(), await queue.state(), await queue.workers()
    other = harness.queue(second=True)
    for wrong, told in (
        (job(start="y", token="old"), "start is 'y', was 'x'"),
        (job(start="x", token="new"), "token is another one"),
        (job(token="old"), "-a start=x is missing"),
        (job(start="x", token="old", more="1"), "-a more=1 is new"),
        (job("films", start="x", token="old"), "the spider is 'films', was 'books'"),
        (Job.of("store", "books", {"start": "x", "token": "old"}), "the project is 'store', was 'shop'"),
    ):
        with pytest.raises(OtherJob) as refused:
            await other.join("b", wrong)
        assert told in str(refused.value)
        assert repr("crawl") in str(refused.value)
        assert not {"old'", "new'"} & set(str(refused.value).split()), "a secret"
    assert (await queue.size(), await queue.state(), await queue.workers()) == before
    assert (await other.join("b", job(token="old", start="x"))).resumed
    assert (await other.join("c")).resumed, "nobody knows what it works on"


async def test_of_two_jobs_at_once_one_wins(harness: Harness) -> None:
    queues = [harness.queue(second=i % 2 == 1) for i in range(6)]
    joins = [queue.join(f"w{i}", job(n=i)) for i, queue in enumerate(queues)]
    answers = await asyncio.gather(*joins, return_exceptions=True)
    won = [i for i, answer in enumerate(answers) if isinstance(answer, CrawlState)]
    assert len(won) == 1
    assert sum(isinstance(answer, OtherJob) for answer in answers) == 5
    stored = (await queues[0].record()).job
    assert stored is not None
    assert stored.digest == job(n=won[0]).digest
    assert [worker.name for worker in await queues[0].workers()] == [f"w{won[0]}"]


async def test_a_finished_run_binds_no_job(harness: Harness) -> None:
    queue = harness.queue()
    await queue.join("a", job(n=1))
    await end_run(QueueSession(queue, "a"))
    await queue.close_worker("a")
    other = harness.queue(second=True)
    assert await other.join("b", job("films", n=2)) == CrawlState(2, resumed=False)
    with pytest.raises(OtherJob):
        await queue.join("c", job(n=1))
    # Nobody said that it was finished, but nothing is left to do.
    await other.claim_seeding("b")
    await other.complete_seeding("b")
    await other.close_worker("b")
    assert not (await queue.join("d", job(n=3))).resumed


async def test_an_empty_run_binds_no_job(harness: Harness) -> None:
    """Its ``start()`` raised at once, because an argument was wrong."""
    queue, other = harness.queue(), harness.queue(second=True)
    await queue.join("a", job(n="wrnog"))
    with pytest.raises(OtherJob):
        await other.join("b", job(n="right"))  # somebody works on it
    await queue.close_worker("a")
    assert not (await other.join("b", job(n="right"))).resumed
    b = QueueSession(other, "b")
    await b.push([Entry(b"", "s", fingerprint=fp(1))])
    await b.ack(await harness.lease_all(b))
    await other.close_worker("b")
    with pytest.raises(OtherJob):
        await queue.join("a", job(n="wrnog"))  # seeding is not complete


async def test_a_join_tells_who_is_there(harness: Harness) -> None:
    assert (await harness.queue().join("a")).others == 0
    assert (await harness.queue(second=True).join("b")).others == 1
    assert (await harness.queue().join("a")).others == 1, "not itself"
    await harness.die()
    assert (await harness.queue().join("c")).others == 0


async def test_a_record_tells_whose_crawl_it_is(harness: Harness) -> None:
    queue = harness.queue()
    empty = await queue.record()
    assert (empty.job, empty.begun_at, empty.reset_by) == (None, None, "")
    await queue.join("a")
    assert (await queue.record()).job is None
    mine = job(start="https://user:pass@site/", token="t0p", long="x" * 999, _job="26d1b1a6")
    await queue.join("b", mine)
    record = await harness.queue(second=True).record()
    assert record.job is not None
    assert record.job == mine
    shown = {name: argument.shown for name, argument in record.job.arguments.items()}
    assert shown == {"start": "https://***@site/", "token": "***", "long": "x" * 200 + "…"}
    assert record.begun_at is not None
    assert record.heard_at is not None
    assert record.begun_at <= record.heard_at
    await harness.advance(100)
    assert (await queue.record()).begun_at == record.begun_at


async def test_crawls_are_listed(harness: Harness) -> None:
    assert list(await harness.backends[0].crawls()) == []
    odd = "shop: {books} *ü/%"
    for name in ("shop:books", odd, "films"):
        await harness.worker_of(name, "w")
    harness.queue(crawl="nobody")
    assert list(await harness.backends[1].crawls()) == sorted([odd, "films", "shop:books"])


async def test_a_reset_is_refused_while_workers_live(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push([Entry(b"", f"s{i}", fingerprint=fp(i)) for i in range(8)])
    await harness.lease_all(b, want=2)
    before = await a.queue.size(), await a.queue.state()
    assert sorted(worker.name for worker in await harness.queue().reset("c")) == ["a", "b"]
    (other,) = await harness.queue().reset("b")
    assert other.name == "a"
    assert 0 < other.expires_in <= LEASE
    assert (await a.queue.size(), await a.queue.state()) == before
    await harness.die()
    assert list(await harness.queue().reset("c")) == []
    assert await a.queue.size() == QueueSize()
    assert await a.queue.state() == CrawlState(0)
    assert await harness.residue() == set()
    assert list(await harness.backends[0].crawls()) == []
    assert list(await harness.queue().reset("c")) == [], "there is nothing, and that is no mistake"


async def test_a_forced_reset_takes_the_record_away(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push(entries(*range(5), slot="s"))
    held = await a.lease(2)
    born = (await a.queue.state()).born
    assert list(await harness.queue(second=True).reset("c", force=True)) == []
    answer = await a.exchange(ack=held)
    assert not any(answer.acked)
    assert answer.state.born != born, "it learns of it"
    again = await a.join()
    assert (again.run, again.seeding, again.resumed) == (1, Seeding.OPEN, False)
    assert (await a.queue.size()).unfinished == 0


async def test_a_reset_spares_other_crawls(harness: Harness) -> None:
    names = ["shop:books", "shop:books:eu", "shop:books:1", "shop", "ashop:books", "shop:book"]
    for name in names:
        session = await harness.worker_of(name, "w")
        await session.push([Entry(b"x", f"s{i}", fingerprint=fp(i)) for i in range(3)])
        await session.queue.close_worker("w")
    await harness.queue(crawl="shop:books").reset("me")
    assert list(await harness.backends[0].crawls()) == sorted(set(names) - {"shop:books"})
    for name in names:
        size = await harness.queue(second=True, crawl=name).size()
        assert (size.pending, size.seen) == ((0, 0) if name == "shop:books" else (3, 3)), name


async def test_a_reset_that_was_left_is_finished_by_a_join(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push([Entry(b"", f"s{i}", fingerprint=fp(i)) for i in range(30)])
    await a.queue.close_worker("a")
    resets = await harness.leave_reset(harness.queue(), "dead")
    if resets:
        assert (await a.queue.record()).reset_by == "dead"
        with pytest.raises(BackendUnavailable, match="is being deleted by dead"):
            await harness.queue().reset("c")
        joining = asyncio.ensure_future(harness.queue(second=True).join("b"))
        done, _ = await asyncio.wait([joining], timeout=0.3)
        assert not done, "it waits"
        await harness.advance(11)
        state = await asyncio.wait_for(joining, 60)
    else:
        await harness.queue().reset("dead")
        state = await harness.queue(second=True).join("b")
    assert (state.run, state.resumed) == (1, False)
    assert await a.queue.size() == QueueSize()
    assert (await a.queue.record()).reset_by == ""
