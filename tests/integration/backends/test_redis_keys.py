"""What is left on the server: for how long, and by whom it is cleaned up."""

from __future__ import annotations

import pytest

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import (
    Binding,
    Burial,
    Entry,
    Finish,
    Lease,
    LimitChange,
    ProxyRules,
    ProxyTurn,
    QueueOptions,
    Reservation,
    RuleSet,
    SlotLimit,
)
from tests.integration.backends.redis_crawls import backend, started
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("nothing_stays_open")]


async def test_what_a_worker_killed_at_the_end_leaves_goes_by_itself(redis_url: str, redis_single: RedisServer) -> None:
    async with backend(redis_url) as on:
        queue, _ = await started(on)
        await queue.join("killed")
        killed = QueueSession(queue, "killed")
        assert not await killed.lease(1)  # it held nothing, but its last call is remembered
        await queue.claim_seeding("w")
        await queue.complete_seeding("w")
        assert await queue.finish("w") is Finish.WON
        await queue.close_worker("w")
        with redis_single.client() as client:
            left = {key: client.pttl(key) for key in client.scan_iter()}
            names = (b"crawl", b"workers", b"ruled", b"w:killed")
            assert left.keys() == {b"mocra:{c:0}:" + name for name in names}
            assert left.pop(b"mocra:{c:0}:crawl") == -1
            assert all(0 < ttl <= 3_600_000 for ttl in left.values())
            # Whoever begins the next run must not vanish from the list of the living in the middle
            # of a long start().
            await queue.join("next")
            assert client.pttl("mocra:{c:0}:workers") == client.pttl("mocra:{c:0}:ruled") == -1
            assert client.pttl("mocra:{c:0}:w:killed") > 0
            # It was only slow: as soon as it has work again it is remembered without a limit.
            await killed.push([Entry(b"1", "s")])
            assert client.pttl("mocra:{c:0}:workers") == client.pttl("mocra:{c:0}:w:killed") == -1
        await queue.close()


DAYS = 24 * 3_600_000


async def test_what_is_told_between_two_runs_waits_for_the_next_one_and_not_for_ever(
    redis_url: str, redis_single: RedisServer
) -> None:
    names = {b"mocra:{c:0}:" + name for name in (b"hold", b"tat", b"origins", b"live")}
    async with backend(redis_url) as on:
        limiter = on.rate_limiter("c", QueueOptions(rules=RuleSet(SlotLimit(interval=50))))
        await limiter.reserve([Reservation(("a",), 100.0)])
        await limiter.hold("a", 3600)
        await limiter.pause("b")
        await limiter.change("a", LimitChange(interval=5))
        await limiter.slow_down("b", floor=1, recovery=0.1, most=60, calm=0)
        with redis_single.client() as client:
            left = {key: client.pttl(key) for key in client.scan_iter()}
            assert left.keys() == names
            assert all(6 * DAYS < ttl <= 7 * DAYS for ttl in left.values())
            queue, _ = await started(on)
            there = set(client.scan_iter()) & names
            assert len(there) >= 4
            assert {client.pttl(key) for key in there} == {-1}
            assert 3500 < (await limiter.look("a")).wait <= 3600
            await limiter.hold("a", 7200)
            assert {client.pttl(key) for key in there} == {-1}
        await queue.close()


@pytest.mark.parametrize("verb", ["change", "hold", "slow_down", "reserve"])
async def test_each_verb_between_two_runs_ends_by_itself(redis_url: str, redis_single: RedisServer, verb: str) -> None:
    async with backend(redis_url) as on:
        limiter = on.rate_limiter("c", QueueOptions(rules=RuleSet(SlotLimit(interval=50, burst=2))))
        if verb == "change":
            await limiter.change("a", LimitChange(interval=5))
        elif verb == "hold":
            await limiter.hold("a", 3600)
        elif verb == "slow_down":
            await limiter.slow_down("a", floor=1, recovery=0.1, most=60, calm=0)
        else:
            await limiter.reserve([Reservation(("a",), 100.0)])
        with redis_single.client() as client:
            left = {key: client.pttl(key) for key in client.scan_iter()}
            assert left
            assert all(6 * DAYS < ttl <= 7 * DAYS for ttl in left.values()), left


async def test_the_end_of_a_run_does_not_cut_short_what_is_told_later(
    redis_url: str, redis_single: RedisServer
) -> None:
    """Also of a crawl that keeps what it has seen, whose record stays."""
    async with backend(redis_url) as on:
        queue = on.request_queue("c", QueueOptions(keep_seen=True))
        limiter = on.rate_limiter("c", QueueOptions(keep_seen=True))
        await queue.join("w")
        await limiter.hold("a", 5)
        await queue.claim_seeding("w")
        await queue.complete_seeding("w")
        assert await queue.finish("w") is Finish.WON
        await queue.close_worker("w")
        await queue.close()
        with redis_single.client() as client:
            assert 0 < client.pttl("mocra:{c:0}:hold") <= 5000
            await limiter.hold("b", 3600)
            assert 6 * DAYS < client.pttl("mocra:{c:0}:hold") <= 7 * DAYS


async def test_foreign_keys_under_our_names_are_told(redis_url: str, redis_single: RedisServer) -> None:
    from mocra_scrapy.exceptions import BackendCorrupted

    with redis_single.client() as client:
        client.set("mocra:{c:0}:meta", "somebody else's")
    async with backend(redis_url) as on:
        queue = on.request_queue("c", QueueOptions())
        with pytest.raises(BackendCorrupted, match="WRONGTYPE"):
            await queue.join("w")
        await queue.close()


async def test_responses_beside_letters_go_by_themselves_and_are_as_many_over_shards(
    redis_url: str, redis_single: RedisServer
) -> None:
    options = QueueOptions(shards=3, dead_bodies=2, dead_ttl=1000)
    async with backend(redis_url) as on:
        queue = on.request_queue("c", options)
        worker = QueueSession(queue, "w")
        await worker.join()
        await worker.push([Entry(b"", f"s{n}") for n in range(12)])
        leases: list[Lease] = []
        while len(leases) < 12:
            leases += await worker.lease(12)
        assert len({lease.shard for lease in leases}) == 3
        for lease in leases:
            await worker.bury([Burial(lease, "item", kind="k", response=b"page")])
        letters = await queue.dead()
        sizes = await queue.response_sizes([letter.id for letter in letters])
        assert len(letters) == 12
        assert sum(size > 0 for size in sizes) == 2, "of all shards together"
        with redis_single.client() as client:
            keys = list(client.scan_iter(match="*:dead:*"))
            assert {key.rpartition(b":")[2] for key in keys} == {b"at", b"bodies", b"kinds"}
            assert all(0 < client.pttl(key) <= 1_000_000 for key in keys)
        await queue.close()


async def test_sticky_keys_that_ended_are_deleted(redis_url: str, redis_single: RedisServer) -> None:
    """And not only passed over: there may be one for each session that ever was."""
    async with backend(redis_url) as on:
        proxies = on.proxies("pool", ProxyRules(sticky=0.01))
        with redis_single.client() as client:
            for number in range(1, 1000):
                await proxies.turn(ProxyTurn("w", number, 30.0, bindings=[Binding(f"k{number}", "p")]))
                (key,) = client.scan_iter(match="*:bound")
                if client.hlen(key) < number:
                    break
            assert not client.hexists(key, "k1")
