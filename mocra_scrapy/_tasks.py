"""Ending tasks for sure, and threads that nobody waits for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel *tasks* until all are done; what they raise is dropped.

    Once is not enough: ``asyncio.wait_for`` swallows a cancellation that comes together with its
    result (until Python 3.12), and a task that reads for ever would go on reading.
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        done, waiting = await asyncio.wait(waiting, timeout=0.1)
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at, so that it is not reported as never retrieved


async def in_a_thread(work: Callable[[], T], name: str) -> T:
    """What *work* returns or raises, in a thread that nobody waits for at the end of the process: its
    server may hang. The loop's own threads are those that read states.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(result)

    def do() -> None:
        result, failed = None, None
        try:
            result = work()
        except Exception as error:
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, result, failed)

    threading.Thread(target=do, name=name, daemon=True).start()
    return await done
