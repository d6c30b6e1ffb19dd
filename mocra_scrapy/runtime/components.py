"""The components of one crawler's :class:`~mocra_scrapy.runtime.Mocra` that live between its opening and
its closing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.coordination.shared_values import SharedSpace

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IBackend, ILocks

logger = logging.getLogger(__name__)


class Component(Protocol):
    """What wants to know when the backend is there."""

    async def open(self) -> None:
        """The backend answers, this worker has joined the crawl and not taken anything yet. Not
        called in one-off commands.
        """

    async def close(self) -> None:
        """The backend is still there. Only called after :meth:`open`."""


P = TypeVar("P", bound=Component)


class Sharing:
    """The component behind ``mocra.lock`` and ``mocra.shared``."""

    def __init__(self, backend: IBackend) -> None:
        self._backend = backend
        self._spaces: dict[str, SharedSpace] = {}
        self._locks: ILocks | None = None
        self._opened = False

    @property
    def locks(self) -> ILocks:
        if self._locks is None:
            self._locks = self._backend.locks()
        return self._locks

    def space(self, namespace: str) -> SharedSpace:
        known = self._spaces.get(namespace)
        if known is None:
            # A namespace of the suite's own ("control:…") can't be hit by accident.
            known = SharedSpace(self._backend.shared_values(f"user:{namespace}"))
            self._spaces[namespace] = known
            if self._opened:
                known.start()
        return known

    async def open(self) -> None:
        self._opened = True
        for space in self._spaces.values():
            await space.open()

    async def close(self) -> None:
        for space in self._spaces.values():
            await space.close()
        if self._locks is not None:
            await self._locks.close()


class Components:
    """Opened in the order in which they were made, closed the other way round."""

    def __init__(self) -> None:
        self._made: dict[type[Any], Component] = {}
        self._opened: list[Component] = []
        self._late: set[asyncio.Task[None]] = set()
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether the crawl runs, as far as they know."""
        return self._open

    def get(self, cls: type[P], make: Callable[[], P]) -> P:
        """The one of class *cls*, made when first asked for; opened at once if the others are."""
        known = self._made.get(cls)
        if known is None:
            known = self._made[cls] = make()
            if self._open:
                task = asyncio.ensure_future(self._open_late(known))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
        return known  # type: ignore[return-value]

    async def _open_one(self, part: Component) -> None:
        self._opened.append(part)
        await part.open()

    async def _open_late(self, part: Component) -> None:
        try:
            await self._open_one(part)
        except Exception:
            logger.exception("%s failed to open", type(part).__name__)

    async def open(self) -> None:
        self._open = True
        for part in list(self._made.values()):
            await self._open_one(part)

    async def close(self, timeout: float) -> None:
        """Never raises, and takes *timeout* seconds at most."""
        self._open = False
        await end_tasks(self._late)
        opened, self._opened = self._opened, []

        async def close_all() -> None:
            for part in reversed(opened):
                try:
                    await part.close()
                except Exception:
                    logger.exception("%s failed to close", type(part).__name__)

        try:
            await asyncio.wait_for(close_all(), timeout)
        except asyncio.TimeoutError:
            logger.error(
                "Coordination did not close within MOCRA_STOP_TIMEOUT = %g s; leases lapse by themselves", timeout
            )
