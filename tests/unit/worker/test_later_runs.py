"""A worker that hears of a later run of its crawl goes on in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

from mocra_scrapy.models import CrawlState, Seeding
from mocra_scrapy.worker.lost_state import LostState
from mocra_scrapy.worker.queue_status import QueueStatus


async def insist(call: Callable[[bool], Awaitable[Any]]) -> Any:
    return await call(False)


async def test_a_later_run_is_seeded_where_nobody_has() -> None:
    first = CrawlState(1, born=7, seeding=Seeding.DONE)
    session = SimpleNamespace(stay=AsyncMock(), join=AsyncMock())
    engine, stats = Mock(start_again=AsyncMock(return_value=True)), Mock()
    lost = LostState(
        SimpleNamespace(session=session, crawl="c", state=Mock()),  # type: ignore[arg-type]
        QueueStatus(first),
        engine,
        inbox=Mock(),
        filter=Mock(),
        policy=Mock(),
        codec=Mock(),
        seeder=Mock(),
        stats=stats,
        insist=insist,  # type: ignore[arg-type]
    )
    assert await lost.look(first) is first
    for later in (
        replace(first, run=2, finished=False, seeding=Seeding.DONE),
        replace(first, run=3, finished=True, seeding=Seeding.OPEN),
    ):
        assert await lost.look(later) is later
        assert lost._seeding is None, "there is nothing to seed"
    later = replace(first, run=4, finished=False, seeding=Seeding.OPEN)
    assert await lost.look(later) is later
    assert lost._seeding is not None
    await lost._seeding
    engine.start_again.assert_awaited_once()
    assert session.stay.await_count == 3
    session.join.assert_not_awaited()
    stats.inc_value.assert_not_called()
    await lost.close()
