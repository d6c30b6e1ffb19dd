"""IProxies: permits, bindings, and what a pool keeps."""

from __future__ import annotations

from typing import Any

import pytest

from mocra_scrapy.models import Binding, PermitWish, ProxyReport, ProxyTurn
from mocra_scrapy.models.proxies import REMEMBER, SHORT

from .harness import Harness
from .proxy_worker import RULES, Worker, worker


async def permits(of: Worker, *wishes: tuple[str, int, int], **more: Any) -> list[int]:
    answer = await of.turn(permits=[PermitWish(*wish) for wish in wishes], **more)
    return [answer.granted[proxy] for proxy, _, _ in wishes]


async def test_a_cap_holds_over_all_workers(harness: Harness) -> None:
    one, two, three = (worker(harness, f"w{i}", second=bool(i % 2)) for i in range(3))
    assert await permits(one, ("p", 3, 4), ("q", 1, 1)) == [3, 1]
    assert await permits(two, ("p", 3, 4), ("q", 1, 1)) == [1, 0]
    assert await permits(three, ("p", 1, 4)) == [0]
    assert await permits(one, ("p", 1, 4)) == [1]  # gives back two, and q
    assert await permits(three, ("p", 5, 4), ("q", 2, 1)) == [2, 1]
    use = await one.proxies.use()
    assert use.permits == {"p": {"w0": 1, "w1": 1, "w2": 2}, "q": {"w2": 1}}
    assert await permits(three, ("p", 5, 1)) == [0]  # the cap is less now


async def test_permits_are_told_as_a_whole(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    for _ in range(3):
        assert await permits(one, ("p", 2, 3)) == [2]
    assert await permits(two, ("p", 3, 3)) == [1]


async def test_a_dead_workers_permits_are_free(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    assert await permits(one, ("p", 3, 3), lease=10.0) == [3]
    await harness.advance(9)
    assert await permits(two, ("p", 3, 3)) == [0]
    await harness.advance(2)
    assert await permits(two, ("p", 3, 3)) == [3]
    assert (await two.proxies.use()).permits == {"p": {"w2": 3}}
    assert await permits(one, ("p", 3, 3)) == [0]  # it was only asleep


async def test_an_overtaken_turn_changes_nothing(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    await permits(one, ("p", 1, 3))
    await permits(one, ("p", 2, 3))
    late = ProxyTurn("w1", 1, 30.0, [ProxyReport("p", "a", bad=9, kind="proxy")], [PermitWish("p", 3, 3)])
    assert (await one.proxies.turn(late)).stale
    assert await permits(two, ("p", 3, 3)) == [1]
    assert not two.is_out("p", "")


async def test_everybody_hears_of_a_shortage(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    assert not (await one.turn(permits=[PermitWish("p", 2, 2)])).is_short
    assert (await two.turn(permits=[PermitWish("p", 1, 2)])).is_short
    assert (await one.turn(permits=[PermitWish("p", 2, 2)])).is_short
    await harness.advance(SHORT + 1)
    assert not (await one.turn(permits=[PermitWish("p", 2, 2)])).is_short
    assert not (await one.turn(permits=[PermitWish("q", 5, 2)])).is_short  # more than its cap: nobody is short


async def bound(of: Worker, key: str, proxy: str, instead: str = "") -> str:
    return (await of.turn(bindings=[Binding(key, proxy, instead)])).bound[key]


async def test_a_sticky_key_has_one_proxy(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    assert await bound(one, "k", "p") == "p"
    assert await bound(two, "k", "q") == "p"
    assert await bound(two, "other", "q") == "q"


async def test_a_lost_proxy_is_replaced_once(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    await bound(one, "k", "p")
    assert await bound(one, "k", "q", "p") == "q"
    assert await bound(two, "k", "r", "p") == "q"
    assert await bound(one, "k", "q", "p") == "q"


async def test_unused_bindings_end(harness: Harness) -> None:
    one = worker(harness)
    await bound(one, "k", "p")
    await harness.advance(RULES.sticky - 10)
    assert await bound(one, "k", "q") == "p"
    await harness.advance(RULES.sticky - 10)
    assert await bound(one, "k", "q") == "p"
    await harness.advance(RULES.sticky + 1)
    assert await bound(one, "k", "q") == "q"


async def test_who_leaves_holds_nothing(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    await permits(one, ("p", 2, 2))
    await one.proxies.leave("w1")
    await one.proxies.leave("w1")
    assert await permits(two, ("p", 2, 2)) == [2]
    assert (await two.proxies.use()).permits == {"p": {"w2": 2}}


async def test_permits_are_listed(harness: Harness) -> None:
    one = worker(harness)
    await permits(one, ("p", 2, 2), lease=10.0)
    assert (await one.proxies.use()).permits == {"p": {"w1": 2}}
    await harness.advance(11)
    assert (await one.proxies.use()).permits == {}


async def test_a_worker_that_left_has_no_probe(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    await one.fails("p", "a", 3)
    await harness.advance(31)
    assert list((await one.turn(probes=[("p", "a")], lease=1000.0)).probes) == [True]
    await one.proxies.leave("w1")
    assert list((await two.turn(probes=[("p", "a")])).probes) == [True]


async def test_a_pool_keeps_no_more_than_it_may(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records go that changed longest ago, and bindings that end first."""
    for name in ("embedded.proxies", "embedded.proxy_permits", "redis.proxies"):
        for bound_of in ("MOST_RECORDS", "MOST_BINDINGS"):
            monkeypatch.setattr(f"mocra_scrapy.backends.{name}.{bound_of}", 6, raising=False)
    one = worker(harness)
    for n in range(8):
        await one.works(f"p{n}", "a")  # two records each
        await bound(one, f"k{n}", "p")
        await harness.advance(1)
    await one.turn()
    records, _ = await one.proxies.look(0)
    assert {record.proxy for record in records} == {"p5", "p6", "p7"}
    assert await bound(one, "k7", "q") == "p"
    assert await bound(one, "k0", "q") == "q", "it was forgotten"


async def test_what_did_not_change_for_long_is_forgotten(harness: Harness) -> None:
    one = worker(harness)
    await one.works("old", "a")
    await bound(one, "k", "p")
    await harness.advance(RULES.sticky + 1)
    await one.turn()  # what has ended is deleted, not only passed over
    await harness.advance(REMEMBER - RULES.sticky - 100)
    await one.works("new", "a")
    await harness.advance(200)
    await one.turn()
    records, _ = await one.proxies.look(0)
    assert {record.proxy for record in records} == {"new"}
