"""Two who change the same entry: nobody brings back what another one replaced or deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mocra_scrapy.cache.httpcache import flights, page_dictionary
from mocra_scrapy.cache.httpcache.listing import BATCH, entries_of, purge
from mocra_scrapy.cache.httpcache.machine import Serve
from tests.integration.httpcache.conftest import MakeWorker
from tests.integration.httpcache.test_entries import pages_of_a_site, trained
from tests.unit.cache.httpcache.exchanges import URL, answer, ask, stored


@pytest.mark.parametrize("newer", [b"a newer page", None])
async def test_a_purge_does_not_bring_back_what_was_replaced_meanwhile(
    newer: bytes | None, worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads what needs the dictionary, and writes it anew without: a worker may store, or another purge delete,
    in between.
    """
    monkeypatch.setattr(page_dictionary, "SAMPLES", 20)
    monkeypatch.setattr(page_dictionary, "SIZE", 4096)
    one, other = await worker("a"), await worker("b")
    await trained(one, pages_of_a_site(20))
    get_many, late = other.cache.get_many, "page:b.test/q7"

    async def slowly(names: Sequence[str]) -> Any:
        found = await get_many(names)
        if late in names:
            if newer is None:
                await one.cache.delete([late])
            else:
                await one.pages.write(late, [stored(body=newer)])
        return found

    monkeypatch.setattr(other.cache, "get_many", slowly)
    await purge(other.cache, other.pages, site="a.test")
    assert [got.answer.body for got in await one.pages.read(late)] == ([] if newer is None else [newer])
    assert await one.pages.read("page:b.test/q6"), "others were written anew"


@pytest.mark.parametrize("closes", [False, True])
async def test_who_lost_its_claim_does_not_take_away_another_ones(
    closes: bool, worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood still for longer than a claim lasts, and another one asks by now."""
    monkeypatch.setattr(flights, "RENEW", 300.0)
    one, other = await worker("a", wait=0.0), await worker("b", wait=0.0)
    lost = await one.web.begin(ask())
    name = lost.name
    await one.claims.delete([name])  # as if its time were over
    asks = await other.web.begin(ask())
    assert (lost.leads, asks.leads) == (True, True)
    if closes:
        lost.leads = False
    one.web.given_up(lost)
    await one.flights.close()
    claim = await one.claims.get(name)
    assert claim is not None
    assert claim.value == b"b"
    assert claim.expires_in > flights.LINGER, "nor shortens it"
    other.web.given_up(asks)
    await other.flights.close()
    assert await one.claims.get(name) is None, "its own it gives back"


async def test_variants_that_come_at_the_same_time_are_all_kept(worker: MakeWorker) -> None:
    one, other = await worker("a", wait=0.0), await worker("b", wait=0.0)
    asked = [ask(foo="1"), ask(foo="2"), ask(foo="3")]
    said = answer(cache_control="max-age=60", vary="Foo")
    await one.web.answered(await one.web.begin(asked[0]), said)
    passages = [await who.web.begin(one_ask) for who, one_ask in zip((one, other), asked[1:], strict=True)]
    for who, passage in zip((one, other), passages, strict=True):
        await who.web.answered(passage, said)
    for one_ask in asked:
        assert isinstance((await one.web.begin(one_ask)).decision, Serve)


async def test_who_waited_for_another_variant_keeps_it(worker: MakeWorker) -> None:
    """It was not the one that it wanted."""
    one, other = await worker("a"), await worker("b")
    said = answer(cache_control="max-age=60", vary="Foo")
    ahead = await one.web.begin(ask(foo="1"))
    enter = other.flights.enter

    async def late(name: str, look: Any, *rest: Any) -> Any:
        await one.web.answered(ahead, said)
        await look()
        return await enter(name, look, 0.0, *rest[1:])

    other.flights.enter = late  # type: ignore[method-assign]
    await other.web.answered(await other.web.begin(ask(foo="2")), said)
    for foo in "12":
        assert isinstance((await one.web.begin(ask(foo=foo))).decision, Serve)


async def test_an_invalidated_variant_does_not_come_back(worker: MakeWorker) -> None:
    one, other = await worker("a", wait=0.0), await worker("b", wait=0.0)
    said = answer(cache_control="max-age=60", vary="Foo")
    await one.web.answered(await one.web.begin(ask(foo="1")), said)
    passage = await one.web.begin(ask(foo="2"))
    await other.web.answered(await other.web.begin(ask("POST")), answer())
    await one.web.answered(passage, said)
    assert not isinstance((await one.web.begin(ask(foo="1"))).decision, Serve)
    assert passage.ask.url == URL


async def test_what_looks_at_all_entries_asks_for_many_at_once(
    worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million of them one by one, ten milliseconds away, would take three hours."""
    one = await worker()
    for n in range(50):
        await one.pages.write(f"page:a.test/{n:02}", [stored(body=b"%d" % n)])
    get_many, read, asked, under_way = one.cache.get_many, one.pages.read, [0], [0, 0]

    async def counted(names: Sequence[str]) -> Any:
        asked[0] += 1
        return await get_many(names)

    async def watched(name: str) -> Any:
        under_way[:] = under_way[0] + 1, max(under_way[1], under_way[0] + 1)
        found = await read(name)
        under_way[0] -= 1
        return found

    monkeypatch.setattr(one.cache, "get_many", counted)
    await purge(one.cache, one.pages, names=["page:a.test/none"])
    assert asked == [3]
    monkeypatch.setattr(one.cache, "get_many", get_many)
    monkeypatch.setattr(one.pages, "read", watched)
    bodies = [stored.answer.body async for _, (stored,) in entries_of(one.cache, one.pages)]
    assert bodies == [b"%d" % n for n in range(50)]
    assert under_way[1] == BATCH
