"""Where a callback waits: the frames of suspended coroutines, down to what they await.

A callback need not run in the task of its response: of a coroutine Scrapy makes a task of its own,
behind a Deferred. So the tasks are found by what they work on: the request, what its callback was
called with, an item of it.
"""

from __future__ import annotations

import asyncio
import gc
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import AsyncGeneratorType, FrameType
from typing import TYPE_CHECKING, Any

import scrapy
from scrapy.core import scraper as scrapys
from scrapy.http import Response

import mocra_scrapy

if TYPE_CHECKING:
    from scrapy import Request

#: Steps of one chain, at most: of what awaits itself by a detour there is no end.
DEEP = 1000
#: What a suspended thing calls its frame, and what it waits for.
FRAME, INNER = ("cr_frame", "gi_frame", "ag_frame"), ("cr_await", "gi_yieldfrom", "ag_await")
#: Scrapy's way of passing on what a middleware gives takes many frames that say nothing.
SILENT = tuple(str(Path(module.__file__ or "").parent) for module in (scrapy, mocra_scrapy))
#: Frames that say what is waited for, but not by whom.
LOOP = str(Path(asyncio.__file__).parent)


def waiting_at(request: Request, result: Any, items: Sequence[asyncio.Task[Any]]) -> list[str]:
    """Lines as of a traceback, the outermost first, of the first task that stands in code of the
    project. Empty: there is none, it runs at this moment or waits for a Deferred.

    Args:
        result: what the callback was called with.
        items: tasks of items of it that are in the pipelines.
    """
    scraped = [_frame(task.get_coro()) for task in items]
    at_work = [frame.f_locals.get("item") for frame in scraped if frame is not None]
    for task in (*items, *tasks_of(*at_work), *tasks_of(result, request)):
        frames = [frame for frame in _frames(task.get_coro()) if not frame.f_code.co_filename.startswith(SILENT)]
        if any(not frame.f_code.co_filename.startswith(LOOP) for frame in frames):
            return traceback.format_list(
                [traceback.FrameSummary(f.f_code.co_filename, f.f_lineno, f.f_code.co_name) for f in frames]
            )
    return []


def tasks_of(*things: Any) -> list[asyncio.Task[Any]]:
    """Those, but for the current one, whose outermost coroutine has one of *things* among its local
    names, or a response or failure to one of them.
    """
    wanted = {id(thing) for thing in things if thing is not None}
    found = []
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        frame = _frame(task.get_coro())
        if frame is not None and any(wanted & _names(value) for value in frame.f_locals.values()):
            found.append(task)
    return found


def _names(value: Any) -> set[int]:
    """*value*, and the request that it answers: an errback has a Failure of its own where a
    middleware has refused the response.
    """
    answers = isinstance(value, (Response, scrapys.Failure))  # type: ignore[attr-defined]
    return {id(value), id(getattr(value, "request", value))} if answers else {id(value)}


def _frame(waiting: Any) -> FrameType | None:
    return next((f for f in (getattr(waiting, name, None) for name in FRAME) if f is not None), None)


def _frames(waiting: Any) -> Iterator[FrameType]:
    for _ in range(DEEP):
        if waiting is None:
            return
        frame = _frame(waiting)
        if frame is not None:
            yield frame
        inner = next((i for i in (getattr(waiting, name, None) for name in INNER) if i is not None), None)
        if inner is None and frame is None:
            # One step of an asynchronous generator: it does not say of which.
            inner = next((one for one in gc.get_referents(waiting) if isinstance(one, AsyncGeneratorType)), None)
        waiting = inner
