"""IProxies: what all workers know together of the proxies of one pool."""

from __future__ import annotations

import pytest

from mocra_scrapy.models import ProxyReport
from mocra_scrapy.models.proxies import OF_PROXY, OF_SITE

from .harness import Harness
from .proxy_worker import RULES, worker


async def test_a_proxy_that_fails_in_a_row_is_out(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    await one.fails("p", "a", 2)
    await two.works("p", "a")
    answer = await one.fails("p", "a", 2)
    assert list(answer.out) == []
    assert not one.is_out("p", "a")
    answer = await two.fails("p", "a")
    assert list(answer.out) == [("p", "a")]
    await one.turn()
    assert one.is_out("p", "a")
    assert two.is_out("p", "a")
    record = one.known["p", "a"]
    assert 29 < record.wait <= 30
    assert record.times == 1
    assert record.why == "doubt"
    assert 0 <= record.success < 0.6
    assert record.latency == pytest.approx(0.5)
    # Within one report: what came before its last success does not count.
    await one.turn(ProxyReport("q", "a", good=5, bad=5, row=2, kind="doubt", latency=0.1))
    assert not one.is_out("q", "a")
    assert one.known["q", "a"].row == 2


async def test_own_failures_count_for_all_sites(harness: Harness) -> None:
    one = worker(harness)
    assert list((await one.fails("p", "a", 3, "proxy")).out) == [("p", "")]
    assert one.is_out("p", "")
    assert not one.is_out("p", "a")


async def test_failures_at_several_sites_count_for_all(harness: Harness) -> None:
    one = worker(harness)
    await one.fails("p", "a", 2)
    assert list((await one.fails("p", "b")).out) == [("p", "")]
    await one.fails("q", "c", 3)  # at one site only
    assert one.is_out("q", "c")
    assert not one.is_out("q", "")


async def test_refused_credentials_count_at_once(harness: Harness) -> None:
    one = worker(harness)
    assert list((await one.fails("p", "a", 1, "credentials")).out) == [("p", "")]
    assert 3599 < one.known["p", ""].wait <= 3600


async def test_a_ban_counts_for_its_site(harness: Harness) -> None:
    one = worker(harness)
    assert list((await one.fails("p", "a", 3, "ban")).out) == [("p", "a")]
    await one.fails("p", "b", 2, "ban")
    assert not one.is_out("p", "")
    assert 299 < one.known["p", "a"].wait <= 300


async def test_one_worker_probes(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    await one.fails("p", "a", 3)
    assert list((await one.turn(probes=[("p", "a"), ("p", ""), ("q", "a")])).probes) == [False, False, False]
    await harness.advance(31)
    assert list((await two.turn(probes=[("p", "a")], lease=1000.0)).probes) == [True]
    assert list((await one.turn(probes=[("p", "a")])).probes) == [False]
    assert list((await two.turn(probes=[("p", "a")], lease=1000.0)).probes) == [True]  # its own
    await harness.advance(RULES.probe + 1)  # nobody told
    assert list((await one.turn(probes=[("p", "a")])).probes) == [True]


async def test_a_dead_workers_probe_is_anothers(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    await one.fails("p", "a", 3)
    await harness.advance(31)
    assert list((await one.turn(probes=[("p", "a")], lease=10.0)).probes) == [True]
    await harness.advance(9)
    assert list((await two.turn(probes=[("p", "a")])).probes) == [False]
    await harness.advance(2)
    assert list((await two.turn(probes=[("p", "a")])).probes) == [True]
    await two.turn(ProxyReport("p", "a", probe=OF_SITE))  # it was not used
    assert list((await one.turn(probes=[("p", "a")])).probes) == [True]


async def test_a_probe_decides(harness: Harness) -> None:
    one = worker(harness)
    await one.fails("p", "a", 3)
    await one.works("p", "a")
    assert one.is_out("p", "a")  # sent before it was out
    await harness.advance(31)
    assert list((await one.turn(probes=[("p", "a")])).probes) == [True]
    await one.fails("p", "a", 1, probe=OF_SITE)
    assert one.is_out("p", "a")
    assert 59 < one.known["p", "a"].wait <= 60
    await one.fails("p", "a", 5)
    assert one.known["p", "a"].wait <= 60
    await harness.advance(61)
    assert list((await one.turn(probes=[("p", "a")])).probes) == [True]
    assert list((await one.works("p", "a", OF_SITE)).back) == [("p", "a")]
    assert not one.is_out("p", "a")
    await one.fails("p", "a", 3)
    assert 59 < one.known["p", "a"].wait <= 60, "half of what it had is forgiven"
    # Of a site: it says nothing of the proxy, which went out meanwhile.
    await one.fails("r", "a", 3)
    await harness.advance(31)
    assert list((await one.turn(probes=[("r", "a")])).probes) == [True]
    await one.fails("r", "b", 3, "proxy")
    assert list((await one.works("r", "a", OF_SITE)).back) == [("r", "a")]
    assert one.is_out("r", "")
    # As a whole: a site that refuses it was reached.
    await one.fails("q", "a", 3, "proxy")
    await harness.advance(31)
    assert list((await one.turn(probes=[("q", "")])).probes) == [True]
    assert list((await one.fails("q", "a", 1, "ban", OF_PROXY)).back) == [("q", "")]
    assert 0 <= one.known["q", ""].success <= 1


async def test_a_site_that_is_down_punishes_nobody(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    answer = await one.fails("p", "a", 3)
    assert list(answer.out) == [("p", "a")]
    await two.fails("q", "a")
    await two.fails("r", "a")
    await harness.advance(1)
    for proxy in "pqr":
        await one.works(proxy, "b")
    answer = await one.fails("q", "a")
    assert list(answer.down) == ["a"]
    assert list(answer.back) == [("p", "a")]
    assert 59 < one.known["", "a"].wait <= 60
    await two.turn()
    assert not two.is_out("p", "a")
    assert two.known["p", "a"].times == 0, "it never was"
    assert two.known["", "a"].wait > 0
    for proxy in "pqrst":
        answer = await two.fails(proxy, "a", 5)
        assert list(answer.out) == []
        assert list(answer.down) == []
    # What it did before the outage was its own fault.
    await one.fails("x", "c", 3)
    await one.works("y", "c")
    await harness.advance(1)
    for proxy in "xyzw":
        await one.fails(proxy, "c")
    await harness.advance(1)
    for proxy in "xyzw":
        await one.works(proxy, "b")
    await one.fails("y", "c")
    assert one.known["", "c"].wait > 0
    assert one.is_out("x", "c")


async def test_a_probe_at_a_site_that_is_down_waits(harness: Harness) -> None:
    """It said nothing of the proxy, and the next one would say no more."""
    one = worker(harness)
    await one.fails("p", "b", 3, "proxy")
    for i in range(9):
        await one.fails(f"p{i}", "a")
    await harness.advance(31)
    assert list((await one.turn(probes=[("p", "")])).probes) == [True]
    await one.fails("p", "a", 1, probe=OF_PROXY)
    assert 29 < one.known["p", ""].wait <= 30
    assert one.known["p", ""].times == 1


async def test_what_succeeded_before_proves_nothing(harness: Harness) -> None:
    """A worker tells of its successes later than of its failures."""
    one, two = worker(harness), worker(harness, "w2", second=True)
    for proxy in "pqr":
        await one.fails(proxy, "a")
    await harness.advance(1)
    for proxy in "pqr":
        await two.turn(ProxyReport(proxy, "b", good=1, age=10.0))
    assert list((await one.fails("p", "a")).down) == []


async def test_without_proof_it_takes_more_proxies(harness: Harness) -> None:
    one = worker(harness)
    for i in range(8):
        assert list((await one.fails(f"p{i}", "a", 1)).down) == []
    assert list((await one.fails("p8", "a", 1)).down) == ["a"]
    for i in range(8):
        assert list((await one.fails(f"p{i}", "c", 1, "ban")).down) == []
        await harness.advance(1)
        await one.works(f"p{i}", "b")  # a site that refuses is there: no proof
    assert list((await one.fails("p8", "c", 1, "ban")).down) == ["c"]


async def test_a_success_ends_a_sites_outage(harness: Harness) -> None:
    one = worker(harness)
    for i in range(9):
        await one.fails(f"p{i}", "a")
    assert one.known["", "a"].wait > 0
    await one.works("p0", "a")
    assert one.known["", "a"].wait == 0
    assert list((await one.fails("p1", "a", 3)).out) == [("p1", "a")]
    # It also ends when nobody hears of failures any more.
    for i in range(9):
        await one.fails(f"p{i}", "e")
    await harness.advance(RULES.site_down + 1)
    assert list((await one.fails("p1", "e")).down) == ["e"]  # still nothing succeeded


async def test_changes_are_told_once(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    await one.works("p", "a")
    answer = await two.turn()
    assert {(one.proxy, one.site) for one in answer.records} == {("p", "a"), ("p", "")}
    assert list((await two.turn()).records) == []
    await one.works("q", "a")
    assert {one.proxy for one in (await two.turn()).records} == {"q"}


async def test_records_are_read_in_pages(harness: Harness) -> None:
    one = worker(harness)
    await one.turn(*(ProxyReport(f"p{i}", "a", good=1) for i in range(1100)))
    seen: set[tuple[str, str]] = set()
    version, calls = 0, 0
    while True:
        records, version = await one.proxies.look(version)
        if not records:
            break
        seen |= {(one.proxy, one.site) for one in records}
        calls += 1
    assert len(seen) == 2200
    assert calls == 2
    late = worker(harness, "w2", second=True)
    assert (await late.turn()).more
    assert not (await late.turn()).more
    assert set(late.known) == seen


async def test_a_person_takes_a_proxy_out(harness: Harness) -> None:
    one = worker(harness)
    await one.proxies.take_out("p", 100.0)
    await one.turn()
    assert one.is_out("p", "")
    assert one.known["p", ""].why == "hand"
    assert 99 < one.known["p", ""].wait <= 100
    await one.works("p", "a")
    assert one.is_out("p", "")


async def test_a_person_brings_a_proxy_back(harness: Harness) -> None:
    one = worker(harness)
    await one.fails("p", "a", 3)
    assert not await one.proxies.bring_back("p")
    assert await one.proxies.bring_back("p", "a")
    await one.turn()
    assert not one.is_out("p", "a")
    assert one.known["p", "a"].times == 0


async def test_everybody_hears_of_a_refresh(harness: Harness) -> None:
    one, two = worker(harness), worker(harness, "w2", second=True)
    before = (await one.turn()).refresh
    number = await two.proxies.refresh()
    assert number > before
    assert (await one.turn()).refresh == (await two.turn()).refresh == number
