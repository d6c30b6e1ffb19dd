"""Ending tasks for sure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


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
