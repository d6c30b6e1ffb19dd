"""An event loop whose clock jumps to the next thing to do, and on which processes can be frozen and
killed: what they would do is what their callbacks do.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any


class Process:
    """Everything that runs in its context. ``frozen_until``: virtual seconds; ``dead``: SIGKILL."""

    def __init__(self, name: str, number: int = 0) -> None:
        self.name, self.number = name, number
        self.dead = False
        self.frozen_until = 0.0
        self.wall_step = 0.0  #: s that its wall clock is wrong
        self.handlers: dict[int, Callable[[], object]] = {}  #: of signals
        self.told = False  #: to stop, by a signal
        self.left = False  #: it was told to leave, and has
        self.asked = 0.0  #: when it last asked how things stand
        self.crawl: Any = None  #: of a launcher that has started one


CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class _Handle:
    """A callback to come. What asyncio asks of a handle is to be cancelled."""

    __slots__ = ("args", "callback", "context")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: contextvars.Context) -> None:
        self.callback: Callable[..., Any] | None = callback
        self.args, self.context = args, context

    def cancel(self) -> None:
        self.callback, self.args = None, ()

    def cancelled(self) -> bool:
        return self.callback is None


class VirtualLoop(asyncio.AbstractEventLoop):
    """Time passes only when there is nothing to do.

    No selector, no files, no threads, no debugging: what tasks, futures and timeouts need of a loop,
    at a third of the price. A hundred million callbacks go through it in a long soak.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self._ready: deque[_Handle] = deque()
        self._coming: list[tuple[float, int, _Handle]] = []
        self._numbers = count()
        self._generators: weakref.WeakSet[Any] = weakref.WeakSet()
        self.parked: list[_Handle] = []  # what killed processes would do next
        self.tasks: set[asyncio.Task[Any]] = set()  # kept: nobody else holds those of a killed process

    # ------------------------------------------------------------------ what asyncio asks for

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tasks of the dead are destroyed while they wait; nothing else of it is news."""

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> _Handle:  # type: ignore[override]
        handle = _Handle(callback, args, contextvars.copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> _Handle:  # type: ignore[override]
        handle = _Handle(callback, args, contextvars.copy_context() if context is None else context)
        heappush(self._coming, (when, next(self._numbers), handle))
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> _Handle:  # type: ignore[override]
        return self.call_at(self.now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, **more)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        process = CURRENT.get()
        assert process is not None
        process.handlers[sig] = partial(callback, *args)

    def signal(self, process: Process, which: int) -> bool:
        """Send one to *process*; ``False``: it has no handler (yet), this signal kills it."""
        if which in process.handlers:
            context = contextvars.copy_context()
            context.run(CURRENT.set, process)
            self.call_soon(process.handlers[which], context=context)
        return which in process.handlers

    # ------------------------------------------------------------------ running

    def run_until_complete(self, future: Any) -> Any:
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._generators.add, finalizer=self._close_generator)
        asyncio._set_running_loop(self)
        try:
            main = self.create_task(future)
            while not main.done():
                self._step()
            return main.result()
        finally:
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def _close_generator(self, generator: Any) -> None:
        self.call_soon(self.create_task, generator.aclose())

    def _step(self) -> None:
        ready, coming = self._ready, self._coming
        if not ready:
            while coming and coming[0][2].callback is None:
                heappop(coming)
            if not coming:
                raise RuntimeError("nothing will ever happen again")
            self.now = max(self.now, coming[0][0]) + 1e-9  # past it: sleeping for less than a float has must end
            while coming and coming[0][0] <= self.now:
                ready.append(heappop(coming)[2])
        now, current = self.now, CURRENT
        while ready:
            handle = ready.popleft()
            if handle.callback is None:
                continue
            process = handle.context.get(current)
            if process is not None and (process.dead or process.frozen_until > now):
                if process.dead:
                    self.parked.append(handle)
                else:
                    heappush(coming, (process.frozen_until, next(self._numbers), handle))
                continue
            try:  # noqa: SIM105 - a third of the price, a thousand times a schedule
                handle.context.run(handle.callback, *handle.args)
            except Exception:
                pass  # as a loop whose exception handler says nothing

    async def end(self) -> None:
        """End everything that is left, of the killed, too: call it when none is dead any more."""
        self._ready.extend(self.parked)
        self.parked.clear()
        mine = asyncio.current_task()
        while left := [task for task in self.tasks if not task.done() and task is not mine]:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1.0)
        for generator in list(self._generators):
            await generator.aclose()

    def close(self) -> None:
        self._ready.clear()
        self._coming.clear()

    def spawn(self, process: Process, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine as the main task of *process*."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, process)
        return context.run(self.create_task, work)
