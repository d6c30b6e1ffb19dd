"""How a worker comes to a crawl: it starts over where that is wanted, joins, and says to what."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mocra_scrapy.exceptions import ConfigurationError, OtherJob
from mocra_scrapy.models import namespaces_of
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from mocra_scrapy.coordination.queue_session import QueueSession
    from mocra_scrapy.interfaces import IBackend
    from mocra_scrapy.models import CrawlState, QueueSize

logger = logging.getLogger(__name__)


async def join(session: QueueSession, crawl: str, backend: IBackend, *, fresh: bool) -> CrawlState:
    """Join *crawl*; *fresh*: delete first what is stored of it.

    Raises:
        ConfigurationError: *fresh*, but others work on it; other shards than it was begun with.
        OtherJob: it is not finished, and of another project, spider or arguments.
    """
    if fresh:
        await _start_over(session, crawl, backend)
    try:
        state = await session.join()
    except OtherJob as error:
        problem = f"{error.problem}. {left_of(await session.queue.size())}"
        raise OtherJob(error.subject, problem, error.fix) from error
    if not state.resumed:
        logger.info("Worker %s begins run %d of crawl %r", session.worker, state.run, crawl)
    elif state.others:
        others = f"{counted(state.others, 'other worker')} {'is' if state.others == 1 else 'are'} there"
        logger.info("Worker %s joins run %d of crawl %r: %s", session.worker, state.run, crawl, others)
    else:
        left = left_of(await session.queue.size())
        logger.info("Worker %s resumes run %d of crawl %r: %s", session.worker, state.run, crawl, left)
    return state


def left_of(size: QueueSize) -> str:
    """``85 requests are pending, 3 delayed, 16 in flight``."""
    are = "is" if size.pending == 1 else "are"
    return f"{counted(size.pending, 'request')} {are} pending, {size.delayed} delayed, {size.leased} in flight"


async def _start_over(session: QueueSession, crawl: str, backend: IBackend) -> None:
    state, size = await session.queue.state(), await session.queue.size()
    alive = await session.queue.reset(session.worker)
    if alive:
        names = ", ".join(worker.name for worker in alive[:5])
        raise ConfigurationError(
            "MOCRA_FRESH",
            f"crawl {crawl!r} has workers that live: {names}. What they work on is not deleted",
            f"Leave it out to join them, or stop them first (scrapy mocra control stop --crawl {crawl}). One that was"
            f" killed counts as dead in {max(worker.expires_in for worker in alive):.0f} s;"
            f" scrapy mocra reset {crawl} --force doesn't wait for that",
        )
    await forget_values(backend, crawl)
    if state.run or size.unfinished or size.dead:
        logger.warning(
            "MOCRA_FRESH: crawl %r is deleted and begun again. It was in run %d: %s, %s",
            crawl,
            state.run,
            left_of(size),
            counted(size.dead, "dead letter"),
        )


async def forget_values(backend: IBackend, crawl: str) -> None:
    """Delete what stands beside the queue of *crawl*: pauses, orders, live settings, figures,
    robots.txt files, who changed which slot.
    """
    for namespace in namespaces_of(crawl):
        values = backend.shared_values(namespace)
        try:
            for name in await values.versions(""):
                await values.put(name, None)
        finally:
            await values.close()
