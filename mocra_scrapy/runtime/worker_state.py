"""What a worker was told to do from outside, and how its scheduler obeys: run, pause, drain, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.worker.exchange_loop import ExchangeLoop
    from mocra_scrapy.worker.inbox import Inbox
    from mocra_scrapy.worker.outbox import Outbox
    from mocra_scrapy.worker.seeding import Seeder

#: Reasons with which a spider closes that was told to.
DRAINED, STOPPED = "mocra_drained", "mocra_stopped"


class Holder(Protocol):
    """The scheduler, as far as it is looked at here."""

    inbox: Inbox
    outbox: Outbox


class WorkerState:
    """Exists before the scheduler is open, so that a worker that starts paused never takes
    anything.

    =========  ====================================================================================================
    running    takes work
    paused     starts nothing; what was leased ahead went back; what is in flight is finished; stays
    draining   takes nothing new, finishes what it holds, then closes with the reason ``mocra_drained``
    stopping   closes with the reason ``mocra_stopped``, as after SIGTERM
    =========  ====================================================================================================
    """

    def __init__(self) -> None:
        self.paused = self.draining = self.stopping = False
        self.engine: EngineHooks | None = None
        self._turns: ExchangeLoop | None = None
        self._opened = False  # before that there is nothing in the engine that could be woken
        self._attached: list[Callable[[], None]] = []

    @property
    def state(self) -> str:
        if self.stopping or self._turns is None:
            return "stopping" if self.stopping else "starting"
        return "draining" if self.draining else "paused" if self.paused else "running"

    @property
    def holding(self) -> bool:
        """Whether nothing more may be started."""
        return self.paused and not self.draining

    def attach(self, holder: Holder, turns: ExchangeLoop, engine: EngineHooks, seeder: Seeder, out: Sized) -> None:
        """The scheduler is ready, and has not taken anything yet. *out*: requests that the engine
        has.
        """
        self._turns, self.engine, self._seeder, self._holder, self._out = turns, engine, seeder, holder, out
        engine.on_closing(self._closing)
        for call in self._attached:
            call()
        self._obey()
        self._opened = True

    def detach(self) -> None:
        """The worker is closed: let go of its parts, and with them of the crawler, which would
        never be collected otherwise.
        """
        self._turns = self.engine = None
        for name in ("_seeder", "_holder", "_out"):
            self.__dict__.pop(name, None)
        self._attached.clear()

    def when_attached(self, call: Callable[[], None]) -> None:
        """Call when the scheduler is ready."""
        self._attached.append(call)

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

    def _closing(self) -> None:
        self.stopping = True

    def _obey(self) -> None:
        turns, engine = self._turns, self.engine
        if turns is None or engine is None:
            return
        if self.stopping:
            # An engine that is just being opened can't be closed.
            asyncio.get_running_loop().call_later(0 if self._opened else 1, engine.close_spider, STOPPED)
            return
        turns.leasing = not (self.paused or self.draining)
        if self.draining:
            self._seeder.stop()
        elif self.paused:
            self._holder.outbox.release(self._holder.inbox.drain())
        else:
            turns.dry = False
        self.look_again()

    def look_again(self) -> None:
        """Something changed: the worker may want more, or the engine may start more."""
        if self._turns is not None and self.engine is not None and self._opened:
            self._turns.kick()
            self.engine.wake()

    @property
    def held(self) -> dict[str, int]:
        """What this worker has, by where: handed to the engine, leased ahead, not confirmed by the
        queue, in the downloader.
        """
        if self._turns is None or self.engine is None:
            return {"out": 0, "inbox": 0, "outbox": 0, "downloading": 0}
        return {
            "out": len(self._out),
            "inbox": len(self._holder.inbox),
            "outbox": len(self._holder.outbox),
            "downloading": self.engine.downloading,
        }

    def leave_when_drained(self) -> bool:
        """Close, if it is draining and holds nothing any more."""
        if not self.draining or self.stopping or self.engine is None or any(self.held.values()):
            return False
        self.engine.close_spider(DRAINED)
        return True

    @property
    def away(self) -> bool:
        """Whether the backend does not answer."""
        return self._turns is not None and self._turns.unanswered is not None

    @property
    def run(self) -> int:
        return 0 if self._turns is None else self._turns.state.run
