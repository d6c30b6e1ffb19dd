"""What tests of :class:`~mocra_scrapy.interfaces.ILoggedQueue` share: numbered turns with a log, and what a
log's reader does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.interfaces import ILoggedQueue, IRequestQueue
from mocra_scrapy.models import Entry, Exchange, Feed, Lease, LogAnswer, LogTurn, Offsets

from .harness import Harness, bodies

PLAIN, HOLD = LogTurn(), LogTurn(hold=True)
P = "normal:0"


def logged(queue: IRequestQueue) -> ILoggedQueue:
    assert ILoggedQueue.providedBy(queue)
    return cast("ILoggedQueue", queue)


async def turn(
    session: QueueSession, log: LogTurn = PLAIN, *, repeat: bool = False, **more: Any
) -> tuple[Exchange, LogAnswer]:
    """The next call of *session*, or the last one once more."""
    if not repeat:
        session.call += 1
    return await logged(session.queue).exchange_logged(session.worker, session.call, log, **more)


async def hold(session: QueueSession, entries: Sequence[Entry]) -> list[Lease]:
    """Push *entries*, all of which are new; the leases of these in transit."""
    _, answer = await turn(session, HOLD, push=entries)
    assert None not in answer.transit
    return [lease for lease in answer.transit if lease is not None]


async def begin(session: QueueSession, **begins: int) -> None:
    """The crawl's run begins there; nothing said: at 0 in :data:`P`."""
    state = await session.queue.state()
    await logged(session.queue).begin_log(
        state.run, {name.replace("_", ":"): at for name, at in begins.items()} or {P: 0}
    )


def feed(start: int, *entries: Entry, partition: str = P, stop: int | None = None) -> Feed:
    """*entries* at offsets from *start* on."""
    placed = list(enumerate(entries, start))
    return Feed(partition, start, start + len(entries) if stop is None else stop, placed)


async def notes(session: QueueSession, partition: str = P) -> list[Offsets]:
    """What is finished and not confirmed."""
    fed = await logged(session.queue).feed(collect=[partition])
    return list(fed.finished[partition])


async def position(session: QueueSession, partition: str = P) -> int | None:
    fed = await logged(session.queue).feed(collect=[partition])
    return fed.positions[partition]


async def lease(harness: Harness, session: QueueSession, want: int = 100, **more: Any) -> list[Lease]:
    """Lease until no shard has anything."""
    leases: list[Lease] = []
    empty = 0
    while empty <= 2 * harness.shards:
        got = (await turn(session, want=want, **more))[0].leases
        leases += got
        empty = 0 if got else empty + 1
    return leases


async def names(harness: Harness, session: QueueSession) -> list[str]:
    return sorted(bodies(await lease(harness, session)))
