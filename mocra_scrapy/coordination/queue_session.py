"""One worker's numbered calls to an :class:`~mocra_scrapy.interfaces.IRequestQueue`, and the single
verbs spelled in terms of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mocra_scrapy.interfaces import IImmediateQueue, IRequestQueue
from mocra_scrapy.models import NOWHERE, UNBOUNDED, Bounds, Burial, CrawlState, Entry, Exchange, Job, Lease


class QueueSession:
    """Numbers the exchanges of one worker.

    The scheduler, the tests and the commands all speak through it, so that the number of a call is
    chosen in one place.

    Args:
        queue: an opened queue.
        worker: unique for this run of this process.
        job: what it works on; ``None``: nothing is compared.

    Attributes:
        immediate: *queue*, if it answers without waiting.
    """

    def __init__(self, queue: IRequestQueue, worker: str, job: Job | None = None) -> None:
        self.queue = queue
        self.worker = worker
        self.job = job
        self.call = 0
        self.immediate: IImmediateQueue | None = queue if IImmediateQueue.providedBy(queue) else None

    async def join(self) -> CrawlState:
        """Announce the worker, see :meth:`~mocra_scrapy.interfaces.IRequestQueue.join`."""
        return await self.queue.join(self.worker, self.job)

    async def stay(self, crawl: str) -> None:
        """Another run of *crawl* has begun without this worker.

        Raises:
            OtherJob: it is another job's.
        """
        stored = (await self.queue.record()).job
        if self.job is not None and stored is not None and stored.digest != self.job.digest:
            raise self.job.refused_by(stored, crawl)

    async def exchange(
        self,
        *,
        push: Sequence[Entry] = (),
        ack: Sequence[Lease] = (),
        release: Sequence[Lease] = (),
        bury: Sequence[Burial] = (),
        want: int = 0,
        bounds: Bounds = UNBOUNDED,
        positions: Mapping[str, bytes] = NOWHERE,
        repeat: bool = False,
    ) -> Exchange:
        """The next call, or (``repeat``) the last one once more, for which all arguments must be
        the same.
        """
        if not repeat:
            self.call += 1
        return await self.queue.exchange(
            self.worker,
            self.call,
            push=push,
            ack=ack,
            release=release,
            bury=bury,
            want=want,
            bounds=bounds,
            positions=positions,
        )

    def exchange_now(
        self,
        *,
        push: Sequence[Entry] = (),
        ack: Sequence[Lease] = (),
        release: Sequence[Lease] = (),
        bury: Sequence[Burial] = (),
        want: int = 0,
        bounds: Bounds = UNBOUNDED,
        positions: Mapping[str, bytes] = NOWHERE,
    ) -> Exchange:
        """The next call, without waiting, where the queue is :attr:`immediate`."""
        assert self.immediate is not None
        self.call += 1
        return self.immediate.exchange_now(
            self.worker,
            self.call,
            push=push,
            ack=ack,
            release=release,
            bury=bury,
            want=want,
            bounds=bounds,
            positions=positions,
        )

    async def push(self, entries: Sequence[Entry]) -> Sequence[bool]:
        """Store *entries*; for each whether it was new."""
        return (await self.exchange(push=entries)).stored

    async def lease(self, want: int) -> Sequence[Lease]:
        """Up to *want* entries that may be fetched now."""
        return (await self.exchange(want=want)).leases

    async def ack(self, leases: Sequence[Lease]) -> Sequence[bool]:
        """Remove finished entries; for each whether it was still ours."""
        return (await self.exchange(ack=leases)).acked

    async def release(self, leases: Sequence[Lease]) -> Sequence[bool]:
        """Give entries back undelivered; for each whether it was still ours."""
        return (await self.exchange(release=leases)).released

    async def bury(self, burials: Sequence[Burial]) -> Sequence[bool]:
        """Give entries up; for each whether it was still ours."""
        return (await self.exchange(bury=burials)).buried
