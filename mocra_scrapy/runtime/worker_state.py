"""What a worker was told to do from outside: run, pause, drain, stop. And what the inside of a
worker is given of the runtime.

The state exists before the scheduler is open and outlives it; obeying is the worker's part
(:class:`mocra_scrapy.worker.running.Running`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocra_scrapy.runtime.slot_gate import SlotGate

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.coordination.queue_session import QueueSession
    from mocra_scrapy.interfaces import IRateLimiter
    from mocra_scrapy.models import CrawlState, QueueSize
    from mocra_scrapy.runtime.feeding import Feeder, Sources
    from mocra_scrapy.runtime.running_worker import Budgets, RunningWorker
    from mocra_scrapy.settings.crawl import Options

#: Reasons with which a spider closes that was told to.
DRAINED, STOPPED = "mocra_drained", "mocra_stopped"


def _nobody(reason: str, slot: str, url: str, number: int) -> None:
    """Nobody lists what is not crawled."""


class WorkerState:
    """Of one worker. Before it is attached it only remembers, so that a worker that starts paused
    never takes anything.

    =========  ===================================================================================
    running    takes work
    paused     starts nothing; what was leased ahead went back; what is in flight is finished; stays
    draining   takes nothing new, finishes what it holds, then closes with ``mocra_drained``
    stopping   closes with the reason ``mocra_stopped``, as after SIGTERM
    =========  ===================================================================================

    Attributes:
        wire_watched: whether a middleware tells of what is about to leave; else nobody knows which
            departures were used.
        budgets: of a worker that is open.
        skipped: called with a reason, a slot, a URL or nothing, and how many requests were not crawled.
        gate: slots of which one request goes out before the others.
        names_entries: whether each stored entry gets a name, see :mod:`mocra_scrapy.worker.entry_names`.
        on_intake: called with each request that a callback yielded, before it is stored; ``None``: nobody is.
        sources: what feeds the crawl beside ``start()``; ``None``: nothing does.
    """

    def __init__(self) -> None:
        self.paused = self.draining = self.stopping = False
        self.wire_watched = self.names_entries = False
        self.budgets: Budgets | None = None
        self.skipped: Callable[[str, str, str, int], None] = _nobody
        self.on_intake: Callable[[Request], None] | None = None
        self.gate = SlotGate()
        self.sources: Sources | None = None
        self._worker: RunningWorker | None = None
        self._when_attached: list[Callable[[], None]] = []
        self._when_rejoined: list[Callable[[CrawlState], None]] = []
        self._when_changed: list[Callable[[str], None]] = []
        self._when_over: list[Callable[[], None]] = []
        self._told = ""

    @property
    def state(self) -> str:
        if self.stopping or self._worker is None:
            return "stopping" if self.stopping else "starting"
        return "draining" if self.draining else "paused" if self.paused else "running"

    @property
    def holding(self) -> bool:
        """Whether nothing more may be started."""
        return self.paused and not self.draining

    def attach(self, worker: RunningWorker) -> None:
        """*worker* is whole, and has not taken anything yet."""
        self._worker = worker
        for call in self._when_attached:
            call()
        self._obey()

    def detach(self) -> None:
        """The worker is closed: let go of it, and with it of the crawler."""
        self._worker = self.budgets = None
        self._when_attached.clear()
        self._when_rejoined.clear()
        self._when_changed.clear()
        self._when_over.clear()

    def when_attached(self, call: Callable[[], None]) -> None:
        """Call when the worker is whole."""
        self._when_attached.append(call)

    def when_rejoined(self, call: Callable[[CrawlState], None]) -> None:
        """Call when the crawl's record was lost and this worker has joined another one."""
        self._when_rejoined.append(call)

    def when_changed(self, call: Callable[[str], None]) -> None:
        """Call with the state of the worker, once it is whole, whenever it is another one."""
        self._when_changed.append(call)

    def when_over(self, call: Callable[[], None]) -> None:
        """Call when nothing is left of the run, as far as is known, and whenever that is heard once more; or when the
        spider closes. What only prepares work is in vain then. The run may go on after all, when somebody pushes.
        """
        self._when_over.append(call)

    def over(self) -> None:
        """Nothing is left of the run, or the spider closes."""
        for call in self._when_over:
            call()

    def _changed(self) -> None:
        state = self.state
        if self._worker is not None and state != self._told:
            self._told = state
            for call in self._when_changed:
                call(state)

    def rejoined(self, state: CrawlState) -> None:
        """This worker has joined *state*, in place of what it had joined before."""
        for call in self._when_rejoined:
            call(state)

    def close(self, reason: str) -> None:
        """This worker can't go on: close its spider with *reason*. What it held goes to others."""
        if self._worker is not None and not self.stopping:
            self.stopping = True
            self._worker.close_spider(reason)

    def pause(self, paused: bool) -> None:
        if paused != self.paused:
            self.paused = paused
            self._obey()

    def drain(self) -> None:
        if not self.draining:
            self.draining = True
            self._obey()

    def stop(self) -> None:
        if not self.stopping:
            self.stopping = True
            self._obey()

    def on_closing(self) -> None:
        """The engine closes the spider, whoever wanted it."""
        self.stopping = True
        self._changed()
        self.over()

    def _obey(self) -> None:
        worker = self._worker
        if worker is None:
            return
        self._changed()
        if self.stopping:
            worker.close_spider(STOPPED)
        elif self.draining:
            worker.take_no_more()
        elif self.paused:
            worker.give_back()
        else:
            worker.take_work()

    def look_again(self) -> None:
        """Something changed that the worker may act on."""
        if self._worker is not None:
            self._worker.look_again()

    def set_concurrency(self, number: int) -> None:
        """``CONCURRENT_REQUESTS`` of a worker that is open."""
        if self._worker is not None:
            self._worker.set_concurrency(number)

    def leaves(self, request: Request) -> Coroutine[Any, Any, Request | None] | None:
        """See :meth:`~mocra_scrapy.runtime.running_worker.RunningWorker.leaves`."""
        return None if self._worker is None else self._worker.leaves(request)

    def not_sent(self, request: Request) -> None:
        """See :meth:`~mocra_scrapy.runtime.running_worker.RunningWorker.not_sent`."""
        if self._worker is not None:
            self._worker.not_sent(request)

    def waited(self, request: Request) -> bool:
        """See :meth:`~mocra_scrapy.runtime.running_worker.RunningWorker.waited`."""
        return self.wire_watched and self._worker is not None and self._worker.waited(request)

    def has_interval(self, slot: str, *, longer: bool) -> None:
        """See :meth:`~mocra_scrapy.runtime.running_worker.RunningWorker.has_interval`."""
        if self._worker is not None:
            self._worker.has_interval(slot, longer=longer)

    def send_back(self, request: Request) -> bool:
        """See :meth:`~mocra_scrapy.runtime.running_worker.RunningWorker.send_back`."""
        return self._worker is not None and self._worker.send_back(request)

    @property
    def held(self) -> dict[str, int]:
        """See :attr:`~mocra_scrapy.runtime.running_worker.RunningWorker.held`."""
        if self._worker is None:
            return {"in_flight": 0, "inbox": 0, "outbox": 0, "downloading": 0}
        return self._worker.held

    def leave_when_drained(self) -> bool:
        """Close, if it is draining and holds nothing any more."""
        if not self.draining or self.stopping or self._worker is None or any(self.held.values()):
            return False
        self._worker.close_spider(DRAINED)
        return True

    @property
    def feeder(self) -> Feeder | None:
        """See :attr:`~mocra_scrapy.runtime.running_worker.RunningWorker.feeder`; ``None`` while there is no worker."""
        return None if self._worker is None else self._worker.feeder

    @property
    def away(self) -> bool:
        """Whether the backend does not answer."""
        return self._worker is not None and self._worker.away

    @property
    def run(self) -> int:
        return 0 if self._worker is None else self._worker.run

    @property
    def crawl_state(self) -> CrawlState | None:
        """See :attr:`~mocra_scrapy.runtime.running_worker.RunningWorker.state`; ``None`` while there is no worker."""
        return None if self._worker is None else self._worker.state

    @property
    def size(self) -> QueueSize | None:
        """See :attr:`~mocra_scrapy.runtime.running_worker.RunningWorker.size`; ``None`` while there is no worker."""
        return None if self._worker is None else self._worker.size


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What the inside of a worker is given, and all that it knows of the runtime.

    Attributes:
        session: the queue, the worker's name, and the numbers of its calls.
        crawl: the crawl's name.
        backend_url: without password, for messages.
        shared: whether other processes can see the queue.
        one_off: whether this is a command that fetches a page for a person.
        options: the checked settings, as they were at the start.
        live_options: the same as they are now.
        limiter: books departures beside the queue.
        state: what the worker was told.
        connected: connects, joins the crawl, opens the components; leaves them in reverse.
    """

    session: QueueSession
    crawl: str
    backend_url: str
    shared: bool
    one_off: bool
    options: Options
    live_options: Callable[[], Options]
    limiter: IRateLimiter
    state: WorkerState
    connected: Callable[[], AbstractAsyncContextManager[CrawlState]]

    @property
    def immediate(self) -> bool:
        """Whether the queue is asked for each request when the engine asks, and nothing is leased
        ahead: where that needs no waiting, unless ``MOCRA_PREFETCH`` is set.
        """
        return self.options.at_once and self.session.immediate is not None
