"""Kafka's queue, over the memory backend's: what the conformance suite has no rule for. A real broker."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.backends.composite import KafkaBackend
from mocra_scrapy.backends.composite.queue import KafkaRequestQueue
from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.interfaces import ILoggedQueue
from mocra_scrapy.models import Bounds, Budgeting, BudgetLimits, Entry, Finish, Lease, QueueOptions, Spent
from mocra_scrapy.models.log import LogOptions
from tests.services.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka

#: Seconds for whatever has to happen.
LONG = 90.0


class Site:
    """A crawl on a broker, and the state that its workers share."""

    def __init__(self, broker: KafkaBroker, **log: Any) -> None:
        self.broker, self.prefix = broker, f"t{secrets.token_hex(6)}"
        self.log = LogOptions(**{"partitions": 2, "replication": 1, "min_insync": 1, "create": True, **log})
        self.queues: list[KafkaRequestQueue] = []
        self.lose_state()

    def lose_state(self) -> None:
        self.state = f"memory://{secrets.token_hex(6)}"
        self.store = MemoryBackend(self.state)  # holds it as long as this

    def queue(self) -> KafkaRequestQueue:
        backend = KafkaBackend(
            f"kafka://{self.broker.bootstrap}", MemoryBackend(self.state), prefix=self.prefix, log=self.log
        )
        queue = backend.request_queue("crawl", QueueOptions())
        assert isinstance(queue, KafkaRequestQueue)
        self.queues.append(queue)
        return queue

    async def worker(self, name: str) -> QueueSession:
        session = QueueSession(self.queue(), name)
        await session.join()
        return session

    async def close(self) -> None:
        for queue in self.queues:
            await queue.close()
        admin = self.broker.admin()
        mine = [topic for topic in admin.list_topics(timeout=30).topics if topic.startswith(f"{self.prefix}.")]
        for future in admin.delete_topics(mine).values():
            future.result(30)


@asynccontextmanager
async def site(broker: KafkaBroker, **log: Any) -> AsyncIterator[Site]:
    one = Site(broker, **log)
    try:
        yield one
    finally:
        await one.close()


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + LONG
    while not await condition():
        assert loop.time() < end, what
        await asyncio.sleep(0.05)


def pages(*numbers: int, slots: int = 7, **more: Any) -> list[Entry]:
    return [Entry(b"%d" % n, f"s{n % slots}", fingerprint=b"%d" % n, **more) for n in numbers]


def numbers(leases: list[Lease]) -> list[int]:
    return [int(lease.body) for lease in leases]


async def work(session: QueueSession, most: int, want: int = 10) -> Counter[int]:
    """Lease and acknowledge until *most* are done, or the run is over."""
    done: Counter[int] = Counter()
    held: list[Lease] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + LONG
    while sum(done.values()) < most:
        assert loop.time() < end, f"{sum(done.values())} of {most}"
        answer = await session.exchange(ack=held, want=min(want, most - sum(done.values())))
        held = list(answer.leases)
        done.update(numbers(held))
        if not held:
            if await session.queue.finish(session.worker) is not Finish.BUSY:
                return done
            await session.queue.wait(session.worker, 0.2)
    await session.exchange(ack=held)
    return done


async def committed(queue: KafkaRequestQueue) -> bool:
    marks = await queue._lookup.marks()
    return all(mark.committed == mark.end for mark in marks.values() if mark.end)


async def test_a_queue_larger_than_its_window(kafka: KafkaBroker) -> None:
    async with site(kafka, window=20, ahead=5) as crawl:
        a = await crawl.worker("a")
        assert await a.queue.claim_seeding("a")
        for start in range(0, 300, 50):
            answer = await a.exchange(push=pages(*range(start, start + 50)))
            assert list(answer.stored) == [True] * 50
        assert list((await a.exchange(push=pages(7, 299))).stored) == [False, False]
        assert (await a.queue.size()).unfinished == 300
        assert answer.size.pending == 300
        assert await a.queue.complete_seeding("a")
        assert await a.queue.finish("a") is Finish.BUSY
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, (await crawl.store.request_queue("crawl", QueueOptions()).size()).unfinished)
                await asyncio.sleep(0.01)

        watcher = asyncio.ensure_future(watch())
        assert await work(a, 300) == Counter(range(300))
        watcher.cancel()
        assert 5 <= most < 150, f"the window is bounded, whatever the log holds: {most}"
        await until(lambda: _is(a.queue.finish("a"), Finish.WON), "the end")
        await until(lambda: committed(crawl.queues[0]), "all is committed")
        assert await a.queue.close_worker("a") == 0
        # The next run finds nothing of it.
        b = await crawl.worker("b")
        assert (await b.queue.state()).run == 2
        assert (await b.queue.size()).unfinished == 0
        assert list((await b.exchange(push=pages(7))).stored) == [True]
        assert await work(b, 1) == Counter([7])


async def _is(answer: Awaitable[Any], wanted: object) -> bool:
    return await answer is wanted


async def test_workers_come_and_go(kafka: KafkaBroker) -> None:
    async with site(kafka, window=30, ahead=5) as crawl:
        a = await crawl.worker("a")
        assert await a.queue.claim_seeding("a")
        await a.exchange(push=pages(*range(400)))
        assert await a.queue.complete_seeding("a")
        done = await work(a, 60)
        b = await crawl.worker("b")
        both = await asyncio.gather(work(a, 80), work(b, 80))
        done.update(both[0] + both[1])
        assert await a.queue.close_worker("a") == 0
        c = await crawl.worker("c")
        both = await asyncio.gather(work(b, 1000), work(c, 1000))
        done.update(both[0] + both[1])
        assert done == Counter(range(400)), "rebalances repeat nothing"
        assert await b.queue.finish("b") is not Finish.BUSY


async def test_what_a_pusher_that_dies_leaves(kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(kafka) as crawl:
        a, b = await crawl.worker("a"), await crawl.worker("b")
        await a.exchange(push=pages(1))
        (parent,) = (await a.exchange(want=1)).leases
        window = crawl.queues[0].window
        steps = []
        kept = window.exchange_logged

        async def dies(worker: str, call: int, log: Any, **more: Any) -> Any:
            steps.append(log)
            if not log.hold:
                raise BackendUnavailable("a was killed")
            return await kept(worker, call, log, **more)

        monkeypatch.setattr(window, "exchange_logged", dies)
        with pytest.raises(BackendUnavailable):
            await a.exchange(push=pages(2, 3), ack=[parent])
        assert len(steps) == 2
        # Its children are in the log and in transit, and the parent is not acknowledged.
        assert await b.queue.declare_dead("a") == 3
        assert list((await b.exchange(push=pages(2, 3))).stored) == [False, False]
        done = await work(b, 3)
        assert done == Counter({1: 1, 2: 1, 3: 1}), "the parent once more, and each child once"
        await until(lambda: committed(crawl.queues[1]), "what is in the log is what was done")
        assert (await b.queue.size()).unfinished == 0


async def test_what_a_budget_withdraws_may_come_again(kafka: KafkaBroker) -> None:
    async with site(kafka) as crawl:
        a = await crawl.worker("a")
        crawl.queues[0]._storing.room = 0  # it comes by the log
        (entry,) = pages(1, budgets=("seed:x",))
        bounds = Bounds(budgets=Budgeting(1.0, {"seed:x": BudgetLimits(errors=1)}))
        assert list((await a.exchange(push=[entry], bounds=bounds)).stored) == [True]
        assert list((await a.exchange(push=[entry], bounds=bounds)).stored) == [False]
        window = crawl.queues[0].window
        await until(lambda: _pending(window), "it is fed")
        spent = Bounds(budgets=Budgeting(1.0, {"seed:x": BudgetLimits(errors=1)}, {"seed:x": Spent(errors=1)}))
        await a.exchange(bounds=spent)
        answer = await a.exchange(want=1, bounds=bounds)
        assert [one.number for one in answer.withdrawn] == [1]
        assert await window.forget([b"1"]) == [False], "as if it had never been stored"


async def _pending(window: ILoggedQueue) -> bool:
    return (await window.size()).pending > 0


async def test_the_log_is_away(kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(kafka) as crawl:
        a, b = await crawl.worker("a"), await crawl.worker("b")
        await a.exchange(push=pages(1))
        (parent,) = (await a.exchange(want=1)).leases
        write, away = crawl.queues[0]._writer.write, True

        async def refuses(batch: Any) -> Any:
            if away:
                raise BackendUnavailable("no broker answers")
            return await write(batch)

        monkeypatch.setattr(crawl.queues[0]._writer, "write", refuses)
        for repeat in (False, True, True):
            with pytest.raises(BackendUnavailable):
                await a.exchange(push=pages(2), ack=[parent], want=5, repeat=repeat)
        assert (await b.exchange(want=5)).leases == ()
        assert (await b.queue.size()).leased == 2, "the parent, and its child in transit"
        away = False
        answer = await a.exchange(push=pages(2), ack=[parent], want=5, repeat=True)
        assert (list(answer.stored), list(answer.acked), numbers(list(answer.leases))) == ([True], [True], [2])
        again = await a.exchange(push=pages(2), ack=[parent], want=5, repeat=True)
        assert again == answer


def _ran() -> float:
    """Seconds of this process but for those for which others had its processor."""
    waited = Path("/proc/self/schedstat")
    return time.perf_counter() - (int(waited.read_text().split()[1]) / 1e9 if waited.exists() else 0.0)


async def _longest_pause() -> float:
    """Of the event loop, until this is cancelled."""
    longest, last = 0.0, _ran()
    try:
        while True:
            await asyncio.sleep(0.005)
            now = _ran()
            longest, last = max(longest, now - last - 0.005), now
    except asyncio.CancelledError:
        return longest


async def test_a_broker_that_hangs_blocks_no_loop(kafka_alone: KafkaBroker) -> None:
    """P9: all verbs that ask Kafka, while it is stopped; for three seconds in ``make soak``."""
    async with site(kafka_alone) as crawl:
        a, b = await crawl.worker("a"), await crawl.worker("b")
        await a.exchange(push=pages(*range(20)))
        (parent,) = (await a.exchange(want=1)).leases
        pid = kafka_alone.pid
        assert pid is not None
        pausing = asyncio.ensure_future(_longest_pause())
        os.kill(pid, signal.SIGSTOP)
        try:
            loop = asyncio.get_running_loop()
            until = loop.time() + (3.0 if os.environ.get("KAFKA_BROKERS") else 1.0)
            waiting: list[asyncio.Future[Any]] = [
                asyncio.ensure_future(work)
                for work in (a.exchange(push=pages(*range(20, 50)), ack=[parent]), b.queue.finish("b"), a.queue.size())
            ]
            turns = 0
            while loop.time() < until or turns < 4:
                await b.exchange(want=1)
                turns += 1
                await asyncio.sleep(0.05)
            assert not any(one.done() for one in waiting)
        finally:
            os.kill(pid, signal.SIGCONT)
        answer, finish, _ = await asyncio.gather(*waiting)
        pausing.cancel()
        assert await pausing < 0.25, "whatever waits for the broker would take all of that time"
        assert (list(answer.acked), sum(answer.stored)) == ([True], 30)
        assert finish is Finish.BUSY


async def test_the_state_is_lost(kafka: KafkaBroker) -> None:
    async with site(kafka) as crawl:
        a = await crawl.worker("a")
        await a.exchange(push=pages(*range(40)))
        done = await work(a, 25)
        held = (await a.exchange(want=5)).leases
        await until(lambda: _are_noted(crawl.queues[0], 25), "what is done is committed")
        assert await a.queue.close_worker("a") == len(held)
        crawl.lose_state()
        b = await crawl.worker("b")
        assert (await b.queue.state()).run == 1
        left = await work(b, 15)
        assert done + left == Counter(range(40)), "what was committed is not done again, and nothing is lost"


async def _are_noted(queue: KafkaRequestQueue, wanted: int) -> bool:
    marks = await queue._lookup.marks()
    return sum((mark.committed or 0) + mark.finished.count for mark in marks.values()) == wanted


async def test_a_reset_empties_the_log(kafka: KafkaBroker) -> None:
    async with site(kafka) as crawl:
        a = await crawl.worker("a")
        await a.exchange(push=pages(*range(20)))
        assert [one.name for one in await crawl.queue().reset("somebody")] == ["a"]
        await a.queue.close_worker("a")
        assert await crawl.queue().reset("somebody") == []
        b = await crawl.worker("b")
        assert (await b.queue.size()).unfinished == 0
        await b.exchange(push=pages(5))
        assert await work(b, 1) == Counter([5])


async def test_what_is_no_request_is_handed_out_as_it_is(kafka: KafkaBroker) -> None:
    """So that it becomes a dead letter where it is decoded."""
    async with site(kafka) as crawl:
        a = await crawl.worker("a")
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        producer.produce(crawl.queues[0]._log.names.topic("normal"), b"rubbish", b"key", 1)
        assert producer.flush(LONG) == 0

        async def comes() -> bool:
            return [lease.body for lease in (await a.exchange(want=1)).leases] == [b"rubbish"]

        await until(comes, "it is read")
