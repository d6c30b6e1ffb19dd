"""``Control``: what a person or a script tells the workers of a crawl. For any asyncio program; the
workers' side is :class:`mocra_scrapy.extensions.control.WorkerControl`.

What is told stands in the shared values of namespace ``control:<crawl>``:

=====================  =======================================================  ============================================
name                   holds                                                    gone when
=====================  =======================================================  ============================================
``paused``             when and by whom the crawl was paused                    it is resumed
``order``              the last drain or stop: verb, when, by whom              the next one
``paused:<worker>``,   the same for one worker                                  it is resumed, or leaves
``order:<worker>``
``setting:<name>``     a live setting; ``setting:<name>:<worker>``: of one      it is reset, or leaves
=====================  =======================================================  ============================================
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mocra_scrapy.control.live_settings import checked
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import QueueOptions, control_namespace

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IBackend
    from mocra_scrapy.models import WorkerReport

PAUSED, COMMAND, SETTING = "paused", "order", "setting:"


def of_worker(name: str, worker: str | None) -> str:
    """The name of a value for the whole crawl, or for one worker."""
    return name if worker is None else f"{name}:{worker}"


class Control:
    """Tells one worker, or all of a crawl. Workers obey within a second, while they reach the
    backend; else when they reach it again.

    Args:
        backend: open.
        crawl: the crawl's name (``MOCRA_CRAWL``, by default ``project:spider``).
        by: who tells it, for people.

    Raises:
        ConfigurationError: no such worker; a setting that can't change, or not to that.
        BackendUnavailable: no answer; whether it was stored is unknown, say it again.
    """

    def __init__(self, backend: IBackend, crawl: str, by: str = "") -> None:
        self.crawl = crawl
        self._by, self.backend = by, backend
        self._values = backend.shared_values(control_namespace(crawl))
        self._registry = backend.worker_registry()

    async def pause(self, worker: str | None = None) -> None:
        """Start nothing new, until :meth:`resume`, also over restarts. What is in flight is
        finished; workers stay.

        A worker's own pause ends with it: the next process has another name.
        """
        await self._known(worker)
        await self._put(of_worker(PAUSED, worker), {})

    async def resume(self, worker: str | None = None) -> None:
        """Go on. For a whole crawl: also the workers that were paused one by one."""
        await self._known(worker)
        names = [of_worker(PAUSED, worker)]
        if worker is None:
            names += await self._values.everything(f"{PAUSED}:")
        await asyncio.gather(*(self._values.put(name, None) for name in names))

    async def drain(self, worker: str | None = None) -> None:
        """Finish what the workers that are there now hold, and leave (reason ``mocra_drained``).
        The crawl can be resumed.
        """
        await self._known(worker)
        await self._put(of_worker(COMMAND, worker), {"verb": "drain"})

    async def stop(self, worker: str | None = None) -> None:
        """Close the spiders of the workers that are there now (reason ``mocra_stopped``). The crawl
        can be resumed.
        """
        await self._known(worker)
        await self._put(of_worker(COMMAND, worker), {"verb": "stop"})

    async def set(self, name: str, value: Any, worker: str | None = None) -> None:
        """Change a live setting on all workers, those that start later included, until
        :meth:`reset`; or on one, where it wins over that of the crawl.
        """
        await self._known(worker)
        await self._values.put(of_worker(SETTING + name, worker), json.dumps(checked(name, value)).encode())

    async def reset(self, name: str, worker: str | None = None) -> bool:
        """Back to what the project says (of one worker: what the crawl says). ``False``: it was not
        set.
        """
        await self._known(worker)
        full = of_worker(SETTING + name, worker)
        was_set = (await self._values.get(full)).value is not None
        await self._values.put(full, None)
        return was_set

    async def exists(self) -> bool:
        """Whether the crawl was ever begun, somebody works on it, or something was told to it."""
        state = await self.backend.request_queue(self.crawl, QueueOptions()).state()
        return bool(state.run or await self.workers() or await self._values.versions())

    async def settings(self) -> Mapping[str, Any]:
        """Live settings that are set, by name (of one worker: ``NAME:WORKER``); what can't be read is
        left out.
        """
        found = {}
        for name, stored in (await self._values.everything(SETTING)).items():
            try:
                found[name.removeprefix(SETTING)] = json.loads(stored.value or b"")
            except ValueError:
                continue
        return found

    async def paused(self) -> Sequence[str]:
        """What is paused: ``"*"`` for the whole crawl, else names of workers."""
        names = await self._values.everything(PAUSED)
        return sorted("*" if name == PAUSED else name.partition(":")[2] for name in names)

    async def workers(self) -> Sequence[WorkerReport]:
        """Who works on the crawl."""
        return await self._registry.workers(self.crawl)

    async def close(self) -> None:
        """Let go. The backend is the caller's."""
        await self._values.close()

    async def _put(self, name: str, facts: dict[str, str]) -> None:
        told = {**facts, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "by": self._by}
        await self._values.put(name, json.dumps(told).encode())

    async def _known(self, worker: str | None) -> None:
        if worker is None:
            return
        names = [report.worker for report in await self.workers()]
        if worker not in names:
            there = f"There are: {', '.join(names)}" if names else "There is none"
            raise ConfigurationError(f"worker {worker!r}", f"it does not work on crawl {self.crawl!r}", there)
