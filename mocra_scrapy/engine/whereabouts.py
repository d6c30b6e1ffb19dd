"""Where a callback waits: the frames of a suspended coroutine, down to what it awaits."""

from __future__ import annotations

import asyncio
import gc
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import AsyncGeneratorType, FrameType
from typing import TYPE_CHECKING, Any

import scrapy

import mocra_scrapy

if TYPE_CHECKING:
    from scrapy import Request

#: Steps of one chain, at most: of what awaits itself by a detour there is no end.
DEEP = 1000
#: Scrapy's way of passing on what a middleware gives takes many frames that say nothing.
SILENT = tuple(str(Path(module.__file__ or "").parent) for module in (scrapy, mocra_scrapy))
#: What a suspended thing calls its frame, and what it waits for.
FRAME, INNER = ("cr_frame", "gi_frame", "ag_frame"), ("cr_await", "gi_yieldfrom", "ag_await")


def waiting_at(request: Request, items: Sequence[asyncio.Task[Any]]) -> list[str]:
    """Lines as of a traceback, the outermost first: of the first of *items*, the pipelines' tasks,
    where there are any, else of the task in which *request*'s callback runs. Empty: not found, it
    runs at this moment or waits for a Deferred.
    """
    tasks = items[:1] or tasks_of(request)
    lines: list[str] = []
    for task in tasks[:1]:
        frames = list(_frames(task.get_coro()))
        for frame in [frame for frame in frames if not frame.f_code.co_filename.startswith(SILENT)] or frames:
            summary = traceback.FrameSummary(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
            lines += traceback.format_list([summary])
    return lines


def tasks_of(request: Request) -> list[asyncio.Task[Any]]:
    """In which the callback of *request* runs: one, or none any more."""
    return [task for task in asyncio.all_tasks() if _is_of(task, request)]


def _is_of(task: asyncio.Task[Any], request: Request) -> bool:
    """The scraper has a task for each response, in which *request* is a local name."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and "queue_dfd" in frame.f_locals and frame.f_locals.get("request") is request


def _frames(waiting: Any) -> Iterator[FrameType]:
    for _ in range(DEEP):
        if waiting is None:
            return
        frame = next((f for f in (getattr(waiting, name, None) for name in FRAME) if f is not None), None)
        if frame is not None:
            yield frame
        inner = next((i for i in (getattr(waiting, name, None) for name in INNER) if i is not None), None)
        if inner is None and frame is None:
            # One step of an asynchronous generator: it does not say of which.
            inner = next((one for one in gc.get_referents(waiting) if isinstance(one, AsyncGeneratorType)), None)
        waiting = inner
