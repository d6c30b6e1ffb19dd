"""Two who change the same entry: nobody brings back what another one replaced or deleted."""

from __future__ import annotations

from typing import Any

import pytest

from mocra_scrapy.cache.httpcache import flights, page_dictionary
from mocra_scrapy.cache.httpcache.listing import purge
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
    get, late = other.cache.get, "page:b.test/q7"

    async def slowly(name: str) -> Any:
        found = await get(name)
        if name == late:
            if newer is None:
                await one.cache.delete([name])
            else:
                await one.pages.write(name, [stored(body=newer)])
        return found

    monkeypatch.setattr(other.cache, "get", slowly)
    await purge(other.cache, other.pages, site="a.test")
    assert [got.answer.body for got in await one.pages.read(late)] == ([] if newer is None else [newer])
    assert await one.pages.read("page:b.test/q6"), "others were written anew"


async def test_who_lost_its_claim_does_not_take_away_another_ones(
    worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood still for longer than a claim lasts, and another one asks by now."""
    monkeypatch.setattr(flights, "RENEW", 300.0)
    one, other = await worker("a", wait=0.0), await worker("b", wait=0.0)
    lost = await one.web.begin(ask())
    name = lost.name
    await one.claims.delete([name])  # as if its time were over
    asks = await other.web.begin(ask())
    assert (lost.leads, asks.leads) == (True, True)
    one.web.given_up(lost)
    await one.flights.close()
    claim = await one.claims.get(name)
    assert claim is not None
    assert claim.value == b"b"
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
