"""An event loop whose clock jumps to the next thing to do, and on which processes can be frozen and
killed: what they would do is what their callbacks do.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any


class Process:
    """Everything that runs in its context. ``frozen_until``: virtual seconds; ``dead``: SIGKILL."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen_until = 0.0
        self.wall_step = 0.0  #: s that its wall clock is wrong


CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only when there is nothing to do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self._selector.select = self._jump  # type: ignore[attr-defined, method-assign]
        self.set_exception_handler(lambda *_: None)
        self.parked: list[tuple[Any, Any]] = []  # what killed processes would do next
        self.tasks: list[asyncio.Task[Any]] = []  # kept: nobody else holds those of a killed process

    def time(self) -> float:
        return self.now

    def _jump(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        if timeout > 0:
            self.now += timeout + 1e-9
        return []

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        return super().call_soon(*self._mine(callback, args, context), context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:  # type: ignore[override]
        return super().call_at(when, *self._mine(callback, args, context), context=context)

    def _mine(self, callback: Any, args: Any, context: Any) -> tuple[Any, ...]:
        process = CURRENT.get() if context is None else context.get(CURRENT)
        if process is None:
            return (callback, *args)

        def run() -> None:
            if process.dead:
                self.parked.append((run, context))
                return
            if process.frozen_until > self.now:
                asyncio.SelectorEventLoop.call_at(self, process.frozen_until, run, context=context)
                return
            callback(*args)

        return (run,)

    def create_task(self, coro: Any, **more: Any) -> asyncio.Task[Any]:
        task = super().create_task(coro, **more)
        self.tasks.append(task)
        return task

    async def end(self) -> None:
        """End everything that is left, of the killed, too: call it when none is dead any more."""
        for run, context in self.parked:
            asyncio.SelectorEventLoop.call_soon(self, run, context=context)
        mine = asyncio.current_task()
        while left := [task for task in self.tasks if not task.done() and task is not mine]:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=1.0)

    def spawn(self, process: Process, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine as the main task of *process*."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, process)
        return context.run(self.create_task, work)
