"""What the queue's answers mean for a worker: each part of an answer alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from scrapy import Request, Spider
from scrapy import signals as scrapy_signals
from scrapy.exceptions import CloseSpider, DontCloseSpider
from scrapy.utils.test import get_crawler

from mocra_scrapy import signals
from mocra_scrapy.models import CrawlState, Entry, Exchange, Lease, QueueOptions, QueueSize, Seeding
from mocra_scrapy.worker.exchange_handler import ExchangeHandler, described
from mocra_scrapy.worker.outbox import Batch
from mocra_scrapy.worker.pushes import Push
from mocra_scrapy.worker.queue_status import QueueStatus

LEASE = Lease("token", b"body", "s", deliveries=2)


def state(run: int = 1, *, finished: bool = False) -> CrawlState:
    return CrawlState(run, finished, Seeding.DONE)


def answer(**facts: Any) -> Exchange:
    given = {
        "stored": (), "acked": (), "released": (), "buried": (), "leases": (), "size": QueueSize(), "next_due": None,
        "state": state(), **facts,
    }  # fmt: skip
    return Exchange(**given)


class Stage:
    """A handler among parts that note what they are told."""

    def __init__(self, close: str = "finished", forgets: bool = True) -> None:
        self.crawler = get_crawler(Spider)
        self.crawler.spider = Spider("s")
        self.sent: list[tuple[Any, dict[str, Any]]] = []
        self.status = QueueStatus(state())
        self.worker_state = SimpleNamespace(draining=False, paused=False, over=Mock())
        options = SimpleNamespace(queue=SimpleNamespace(lease=60.0, max_dead=50), close=close)
        session = SimpleNamespace(queue=SimpleNamespace(options=QueueOptions()))
        self.parts = SimpleNamespace(options=options, state=self.worker_state, crawl="c", session=session)
        self.engine, self.inbox, self.outbox, self.filter = Mock(), Mock(), Mock(), Mock()
        self.filter.forget.return_value = forgets
        self.policy, self.codec = Mock(), Mock()
        self.handler = ExchangeHandler(
            self.crawler,
            self.parts,  # type: ignore[arg-type]
            self.status,
            engine=self.engine,
            inbox=self.inbox,
            outbox=self.outbox,
            filter=self.filter,
            policy=self.policy,
            codec=self.codec,
        )
        self.crawler.signals = Mock()
        self.crawler.signals.send_catch_log_async = AsyncMock()

    def __call__(self, batch: Batch | None = None, **facts: Any) -> None:
        self.handler.on_answered(batch or Batch(), answer(**facts))

    def stat(self, name: str) -> Any:
        assert self.crawler.stats is not None
        return self.crawler.stats.get_value(name)

    def signalled(self) -> list[Any]:
        return [call.args[0] for call in self.crawler.signals.send_catch_log.call_args_list]  # type: ignore[attr-defined]


def test_what_an_answer_says_is_counted_under_our_names() -> None:
    told = answer(
        stored=(True, False), acked=(True, True, False), released=(True, False), buried=(True,), reclaimed=3, given_up=2, stalled=4,
        leases=(LEASE, Lease("t", b"", "s", deliveries=1)),
    )  # fmt: skip
    assert described(told) == {
        "mocra/queue/acked": 2,
        "mocra/queue/ack_refused": 1,
        "mocra/queue/released": 1,
        "mocra/queue/buried": 1,
        "mocra/queue/leased": 2,
        "mocra/queue/redelivered": 1,
        "mocra/queue/reclaimed": 3,
        "mocra/queue/given_up": 2,
        "mocra/dead/stalled": 4,
    }
    stage = Stage()
    stage(acked=(True, False), reclaimed=3)
    assert [stage.stat(f"mocra/queue/{name}") for name in ("acked", "ack_refused", "reclaimed")] == [1, 1, 3]
    assert stage.stat("mocra/queue/released") is None, "nothing is counted of what did not happen"


def test_what_the_queue_knew_is_dropped_as_scrapy_drops_it() -> None:
    stage, requests = Stage(), [Request(f"http://s.test/{n}") for n in range(3)]
    pushes = [Push(Entry(b"", "s"), request) for request in requests]
    stage(Batch([*pushes, Push(Entry(b"", "s"), None)]), stored=(True, False, True, False))
    stage.filter.dropped.assert_called_once_with(requests[1], stage.crawler.spider)
    assert stage.signalled() == [scrapy_signals.request_dropped]
    assert stage.stat("scheduler/enqueued") == 2
    stage.engine.listen_again.assert_called_once()


def test_nothing_new_is_no_stat() -> None:
    stage = Stage()
    stage(Batch([Push(Entry(b"", "s"), None)]), stored=(False,))
    assert stage.stat("scheduler/enqueued") is None


@pytest.mark.parametrize("forgets", [True, False])
def test_the_next_run_is_told_and_what_was_seen_is_forgotten(forgets: bool, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(forgets=forgets)
    caplog.set_level("INFO")
    stage(state=state(2))
    assert "Run 1 of crawl 'c' is over, run 2 has begun" in caplog.text
    assert stage.handler.run == 2
    stage.codec.doubt.assert_called_once()
    stage.filter.forget.assert_called_once()
    assert (
        "goes on to know the pages of run 1: this worker drops links to them in run 2" in caplog.text
    ) is not forgets
    stage(state=state(2))
    stage.filter.forget.assert_called_once()


def test_letters_that_push_out_others_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage(size=QueueSize(dead=49))
    assert stage.stat("mocra/dead/full") is None
    stage(size=QueueSize(dead=50))
    stage(size=QueueSize(dead=50))
    assert caplog.text.count("50 dead letters, as many as MOCRA_MAX_DEAD allows: each further one deletes") == 1
    assert stage.stat("mocra/dead/full") is True


def test_a_push_after_the_end_is_heard_of() -> None:
    stage = Stage()
    stage.status.finished = True
    stage(state=state(finished=True))
    assert stage.status.finished
    stage(state=state())
    assert not stage.status.finished


def test_a_broken_worker_stays_finished() -> None:
    stage = Stage()
    stage.handler.on_broken()
    stage(state=state())
    assert stage.status.finished
    assert stage.handler.is_broken
    assert stage.stat("mocra/worker/broken") == 1
    stage.engine.close_spider.assert_called_once_with("mocra_error")


async def test_whoever_waits_for_an_answer_of_a_broken_worker_waits_no_more() -> None:
    stage = Stage()
    waiting = stage.status.changed()
    stage.handler.on_broken()
    await waiting


def test_one_that_was_declared_dead_gives_back_what_waits_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage(lost=True)
    assert "MOCRA_LEASE = 60 s; what it held" in caplog.text
    stage.inbox.give_back.assert_called_once()
    assert stage.stat("mocra/worker/lost") == 1
    assert stage.signalled() == [signals.worker_lost]


def test_leases_wait_here_or_go_back_at_once() -> None:
    stage = Stage()
    stage(leases=(LEASE,))
    stage.inbox.add.assert_called_once_with((LEASE,))
    stage.outbox.release.assert_not_called()
    stage.status.leasing = False
    stage(leases=(LEASE,))
    stage.inbox.add.assert_called_once()
    stage.outbox.release.assert_called_once_with([LEASE])


def test_what_is_held_goes_back_and_what_is_lifted_does_not() -> None:
    stage = Stage()
    stage(held={"a": 5.0, "b": 0.0, "c": 0.5})
    stage.inbox.give_back_of.assert_called_once_with({"a", "c"})
    assert stage.stat("mocra/throttle/held") == 2
    stage(held={"b": 0.0})
    stage.inbox.give_back_of.assert_called_once()


# ---------------------------------------------------------------------- the end


@pytest.mark.parametrize("reason", ["closing", "finished", "held"])
def test_one_that_closes_anyway_or_is_held_asks_nobody(reason: str) -> None:
    stage = Stage()
    stage.status.closing, stage.status.finished = reason == "closing", reason == "finished"
    stage.handler.on_idle(reason == "held")
    assert not stage.status.wants_end


def test_an_idle_worker_that_drains_closes() -> None:
    stage = Stage()
    stage.worker_state.draining = True
    with pytest.raises(CloseSpider) as raised:
        stage.handler.on_idle(False)
    assert raised.value.reason == "mocra_drained"


@pytest.mark.parametrize(
    ("paused", "dry", "delayed", "leaves"),
    [(False, True, 0, True), (True, True, 0, False), (False, False, 0, False), (False, True, 1, False)],
)
def test_close_idle_leaves_when_nothing_is_there_or_will_be(
    paused: bool, dry: bool, delayed: int, leaves: bool
) -> None:
    stage = Stage(close="idle")
    stage.worker_state.paused, stage.status.dry, stage.status.size = paused, dry, QueueSize(delayed=delayed)
    if leaves:
        stage.handler.on_idle(False)
    else:
        with pytest.raises(DontCloseSpider):
            stage.handler.on_idle(False)
    assert not stage.status.wants_end


@pytest.mark.parametrize(
    ("close", "unfinished", "over"), [("finished", 0, 1), ("finished", 1, 0), ("idle", 0, 1), ("never", 0, 0)]
)
def test_what_prepares_work_ends_when_nothing_is_left(close: str, unfinished: int, over: int) -> None:
    """The engine is not idle while somebody logs in, and so nobody would ask for the end."""
    stage = Stage(close)
    stage.status.size = QueueSize(pending=unfinished)
    stage()
    assert stage.worker_state.over.call_count == over


def test_the_end_is_asked_for_once_when_all_may_be_over() -> None:
    stage = Stage()
    stage.status.kick = kick = Mock()  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(DontCloseSpider):
            stage.handler.on_idle(False)
    assert stage.status.wants_end
    kick.assert_called_once()


@pytest.mark.parametrize("close", ["finished", "never"])
def test_the_end_is_not_asked_for_while_there_is_work_or_never(close: str) -> None:
    stage = Stage(close)
    stage.status.size = QueueSize(pending=close == "finished")
    with pytest.raises(DontCloseSpider):
        stage.handler.on_idle(False)
    assert not stage.status.wants_end


@pytest.mark.parametrize(
    ("close", "left", "closes"), [("finished", 0, True), ("finished", 1, False), ("never", 0, False)]
)
def test_a_start_that_broke_off_closes_when_nothing_is_left(close: str, left: int, closes: bool) -> None:
    stage = Stage(close)
    stage.status.start_failed, stage.status.size = True, QueueSize(leased=left)
    with pytest.raises(CloseSpider if closes else DontCloseSpider) as raised:
        stage.handler.on_idle(False)
    assert getattr(raised.value, "reason", "start_error") == "start_error"


@pytest.mark.parametrize("idle", [True, False])
async def test_who_ends_the_run_says_so_and_closes_when_idle(idle: bool) -> None:
    stage = Stage()
    stage.engine.idle = idle
    await stage.handler.on_finished(True)
    assert stage.status.finished
    assert stage.stat("mocra/crawl/finished_here") is True
    stage.crawler.signals.send_catch_log_async.assert_awaited_once_with(  # type: ignore[attr-defined]
        signals.crawl_finished, spider=stage.crawler.spider, crawl="c", run=1
    )
    assert stage.engine.close_spider.called is idle
    assert stage.engine.wake.called is not idle
    assert stage.engine.close_spider.call_args_list == ([(("finished",),)] if idle else [])


async def test_who_hears_of_the_end_says_nothing() -> None:
    stage = Stage()
    await stage.handler.on_finished(False)
    assert stage.status.finished
    assert stage.stat("mocra/crawl/finished_here") is None
    stage.crawler.signals.send_catch_log_async.assert_not_awaited()  # type: ignore[attr-defined]


def test_a_step_of_the_clock_is_told_from_half_a_lease_on() -> None:
    stage = Stage()
    stage(silence=29.0)
    assert stage.stat("mocra/backend/clock_steps") is None
    stage(silence=1_000_000.0)
    assert stage.stat("mocra/backend/clock_steps") == 1
