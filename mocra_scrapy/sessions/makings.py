"""Sessions that this worker makes or refreshes now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.sessions.pool_state import LEASE, Make

if TYPE_CHECKING:
    from mocra_scrapy.sessions.stored_pool import StoredPool

logger = logging.getLogger(__name__)


class Makings:
    """Args:
    make: makes or refreshes a session; ``True``: it went well, ``False``: it did not, ``None``: neither.
    count: called with the name of a stat.

    Attributes:
        tasks: of each session that is being made.
    """

    def __init__(
        self,
        stored: StoredPool,
        worker: str,
        make: Callable[[Make], Awaitable[bool | None]],
        count: Callable[[str], None],
    ) -> None:
        self._stored, self._worker, self._make, self._count = stored, worker, make, count
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, make: Make) -> None:
        self.tasks[make.id] = asyncio.create_task(self._made(make), name=f"mocra session {make.id}, log-in")

    def give_up(self) -> dict[str, asyncio.Task[None]]:
        """None of them is wanted any more: those that are about to end."""
        given_up, self.tasks = self.tasks, {}
        for task in given_up.values():
            task.cancel()
        return given_up

    async def _made(self, make: Make) -> None:
        stored = self._stored
        work = asyncio.ensure_future(self._make(make))
        try:
            good: bool | None = False
            while not (await asyncio.wait([work], timeout=LEASE / 3))[0]:
                if not await stored.insist(lambda state: state.go_on(stored.now, make, self._worker)):
                    logger.warning("Session %s: another worker makes one in its place", make.id)
                    return
            good = work.result()
            if await stored.insist(lambda state: state.made_it(stored.now, make, self._worker, good=good)) and good:
                self._count("mocra/sessions/refreshed" if make.refresh else "mocra/sessions/made")
        except Exception:
            logger.exception("Making session %s failed: a defect of mocra_scrapy", make.id)
        finally:
            await end_tasks([work])
            self.tasks.pop(make.id, None)
            stored.wake()
