"""Asynchronous generators that hold locks: whoever iterates one has nothing to do with what it
holds, so a loss can't be told by a cancellation. It is raised where the generator goes on.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable
from inspect import CO_ASYNC_GENERATOR
from types import AsyncGeneratorType
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakSet

T = TypeVar("T")


class Held(Protocol):
    """What a generator holds while it is suspended."""

    @property
    def lost(self) -> bool: ...

    def check(self) -> None:
        """Raises what the generator is to get."""


class Interruptible(AsyncGenerator[Any, Any]):
    """*generator*, which gets :class:`~mocra_scrapy.exceptions.LockLost` raised at its ``yield``
    when it is resumed after it lost a lock that it holds there.

    Callbacks, errbacks and ``start()`` of a crawl are wrapped. Elsewhere, spider middlewares
    included, wrap what you iterate: ``async for page in interruptible(pages()): ...``. Generators
    that *generator* iterates itself are covered by it.
    """

    __slots__ = ("__weakref__", "_generator", "_held")

    def __init__(self, generator: AsyncGeneratorType[Any, Any]) -> None:
        self._generator = generator
        self._held: list[Held] = []
        _all.add(self)

    @property
    def frame(self) -> Any:
        return self._generator.ag_frame

    @property
    def running(self) -> bool:
        """Whether somebody waits for its next step: what it awaits is awaited by that task."""
        return bool(self._generator.ag_running)

    def hold(self, held: Held) -> None:
        self._held.append(held)

    def drop(self, held: Held) -> None:
        if held in self._held:
            self._held.remove(held)

    def __anext__(self) -> Awaitable[Any]:  # type: ignore[override]  # no coroutine between it and its caller
        return self._resume(None) if self._held else self._generator.__anext__()

    def asend(self, value: Any) -> Awaitable[Any]:  # type: ignore[override]
        return self._resume(value) if self._held else self._generator.asend(value)

    def athrow(self, *error: Any) -> Awaitable[Any]:  # type: ignore[override]
        return self._generator.athrow(*error)

    def aclose(self) -> Awaitable[None]:  # type: ignore[override]
        return self._generator.aclose()

    async def _resume(self, value: Any) -> Any:
        lost = next((held for held in self._held if held.lost), None)
        if lost is None:
            return await self._generator.asend(value)
        self.drop(lost)  # told once; the end of its block tells whoever swallowed this
        try:
            lost.check()
        except Exception as error:
            return await self._generator.athrow(error)
        return await self._generator.asend(value)


def interruptible(output: T) -> T | Interruptible:
    """*output*, wrapped if it is an asynchronous generator."""
    if type(output) is AsyncGeneratorType:
        return Interruptible(cast("AsyncGeneratorType[Any, Any]", output))
    return output


#: All that there are. Looked through when a lock is acquired, not when a generator is iterated.
_all: WeakSet[Interruptible] = WeakSet()


def surroundings() -> tuple[bool, Interruptible | None]:
    """Whether the ``async with`` of the caller stands in an asynchronous generator (an exit stack
    or the like may be in between), and the interruptible one that is being iterated around it.
    Call it in ``__aenter__``, before anything is awaited there.
    """
    frame = sys._getframe(2) if hasattr(sys, "_getframe") else None
    known = {id(one.frame): one for one in _all}
    direct = around = None
    while frame is not None and (direct is None or (known and around is None)):
        around = around or known.get(id(frame))
        generates = bool(frame.f_code.co_flags & CO_ASYNC_GENERATOR)
        if direct is None and (generates or frame.f_globals.get("__name__") != "contextlib"):
            direct = generates
        frame = frame.f_back
    return bool(direct), around
