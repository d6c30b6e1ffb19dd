"""The exchange as a function of the server: it is loaded where it is missing, it goes without where there are none, and no
call finds anything of the one before.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

import pytest
import redis

from mocra_scrapy.backends.redis import queue as redis_queue
from mocra_scrapy.backends.redis.connection.scripts import Script
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.interfaces import IBackend
from mocra_scrapy.models import Bounds, Burial, Entry, Lease, QueueOptions, Quota, RuleSet, SlotLimit
from tests.integration.backends.redis_crawls import FAST, backend, started
from tests.services.redis_server import RedisServer, client_of

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("nothing_stays_open")]

#: In front of a script: of its commands the one whose number is stored under the crawl's ``step`` is refused, and its time
#: is what stands under ``clock``, in us.
WORLD = """
local redis = (function()
    local real, of, left = redis, nil, nil

    local function how(run)
        return function(verb, ...)
            local prefix = string.sub(KEYS[1], 1, -5)
            if of ~= KEYS then of, left = KEYS, tonumber(real.call('GET', prefix .. 'step') or 0) end
            left = left - 1
            if left == 0 then return run('REFUSED') end
            if verb == 'TIME' then
                local us = real.call('GET', prefix .. 'clock')
                return {string.sub(us, 1, -7), string.sub(us, -6)}
            end
            return run(verb, ...)
        end
    end

    return setmetatable({call = how(real.call), pcall = how(real.pcall)}, {__index = real})
end)()
"""


@cache
def in_the_world(script: Script) -> Script:
    return script.behind(WORLD)


OPTIONS = {
    "free": QueueOptions(lease=60),
    "limited": QueueOptions(
        lease=60,
        rules=RuleSet(
            SlotLimit(interval=0.01, burst=3, concurrency=4, jitter=0.5),
            {"s1": SlotLimit(concurrency=2, quotas=(Quota(3, 60.0),)), "s2": SlotLimit(interval=2.0)},
        ),
        dead_ttl=600,
        seen_ttl=3600,
    ),
}


def calls(server: RedisServer, *commands: str) -> dict[str, int]:
    """How often each was called."""
    with server.client() as client:
        told = client.info("commandstats")
    return {name: told.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in commands}


def told_once(caplog: pytest.LogCaptureFixture) -> str:
    lines = [one.getMessage() for one in caplog.records if one.name.endswith(".calling")]
    assert len(lines) == 1, lines
    assert caplog.records[0].levelno == logging.INFO
    return lines[0]


async def a_few_calls(on: IBackend, worker: str = "w") -> None:
    queue, session = await started(on, worker)
    await session.push([Entry(b"body", "s") for _ in range(3)])
    leases = await session.lease(2)
    assert list(await session.ack(leases)) == [True, True]
    await queue.close()


# ------------------------------------------------------------ loaded, or done without


async def test_the_exchange_is_a_function_that_is_loaded_where_it_is_missing(own_redis: RedisServer) -> None:
    async with backend(own_redis.url, **FAST) as on:
        await a_few_calls(on)
        assert calls(own_redis, "function|load", "fcall") == {"function|load": 1, "fcall": 4}, "the first one not known"
        with own_redis.client() as client:
            assert redis_queue.EXCHANGE.function is not None
            client.function_flush()
            client.function_load("#!lua name=somebodys\nredis.register_function('theirs', function() return 1 end)")
            queue, session = await started(on, "other")
            assert len(await session.lease(1)) == 1
            names = {one[1].decode() for one in client.function_list()}
            assert names == {"somebodys", redis_queue.EXCHANGE.function.name}, "another library is left alone"
        await queue.close()
    own_redis.kill()
    own_redis.start()
    async with backend(own_redis.url, **FAST) as on:
        await a_few_calls(on, "third")
    assert calls(own_redis, "function|load") == {"function|load": 0}, "the server keeps it on its disk, as its data"


async def test_two_versions_are_two_libraries(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker calls its own, and none takes the other's away."""
    newer = Script("exchange", stays=True, head="-- another version\n")
    async with backend(own_redis.url, **FAST) as on:
        queue, session = await started(on)
        for script in (newer, redis_queue.EXCHANGE, newer, redis_queue.EXCHANGE):
            monkeypatch.setattr(redis_queue, "EXCHANGE", script)
            assert list(await session.push([Entry(b"1", "s")])) == [True]
        await queue.close()
    assert calls(own_redis, "function|load", "fcall") == {"function|load": 2, "fcall": 6}
    assert calls(own_redis, "function|delete", "function|flush") == {"function|delete": 0, "function|flush": 0}


async def test_a_library_that_another_worker_has_loaded_meanwhile_is_taken(own_redis: RedisServer) -> None:
    async with backend(own_redis.url, **FAST) as on, backend(own_redis.url, **FAST) as other:
        calling, function = on._client._calls, redis_queue.EXCHANGE.function  # type: ignore[attr-defined]
        await other._client._calls._load(other._client.raw, function)  # type: ignore[attr-defined]
        await calling._load(on._client.raw, function)  # type: ignore[attr-defined]
        await a_few_calls(on)
        assert calling.has_functions


@pytest.mark.parametrize("lacks", ["-fcall", "-function|load"])
async def test_who_may_not_call_functions_sends_scripts(
    own_redis: RedisServer, lacks: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(own_redis.client()) as admin:
        admin.execute_command(f"ACL SETUSER crawler on >pw ~mocra:* resetchannels &mocra:* +@all {lacks}")
    url = f"redis://crawler:pw@127.0.0.1:{own_redis.port}/0"
    with caplog.at_level(logging.INFO, "mocra_scrapy.backends.redis.connection.calling"):
        async with backend(url, **FAST) as on:
            await a_few_calls(on)
    told = told_once(caplog)
    assert lacks.removeprefix("-").partition("|")[0].upper() in told
    assert "pw" not in told, "a password is not told"


@pytest.mark.other_server
async def test_a_server_without_functions_is_sent_scripts(
    other_server: Callable[[str], RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mocra_scrapy.backends.redis.connection.calling"):
        async with backend(other_server("redis-6.2").url, **FAST) as on:
            await a_few_calls(on)
    assert "no functions" in told_once(caplog)


async def test_each_primary_of_a_cluster_is_given_what_it_lacks(redis_cluster: str) -> None:
    async with backend(redis_cluster) as on:
        for crawl in ("one", "two", "three", "four"):  # on several nodes
            queue = on.request_queue(crawl, QueueOptions(lease=60))
            await queue.join("w")
            session = QueueSession(queue, "w")
            await session.push([Entry(b"1", "s")])
            for node in on._client.raw.get_primaries():  # type: ignore[attr-defined]
                await on._client.raw.execute_command("FUNCTION FLUSH", target_nodes=node)  # type: ignore[attr-defined]
            assert len(await session.lease(1)) == 1
            await queue.close()
        assert on._client._calls.has_functions  # type: ignore[attr-defined]


# ------------------------------------------------------------ nothing is left for the next call


class Crawler:
    """A worker whose calls are drawn: it acknowledges, gives back and buries what it got. It notes what it heard."""

    def __init__(self, on: IBackend, crawl: str, seed: int, client: redis.Redis) -> None:
        self.client, self.crawl, self.prefix = client, crawl, f"mocra:{{{crawl}:0}}:"
        self.draw = random.Random(f"{crawl} {seed}")
        self.queue = on.request_queue(crawl, OPTIONS[crawl])
        self.session = QueueSession(self.queue, "w")
        self.clock, self.held, self.heard = 1_800_000_000_000_000, list[Lease](), list[Any]()

    def move(self, us: int, step: int = 0) -> None:
        """Time passes; the command *step* of the next call is refused, with 0 none."""
        self.clock += us
        self.client.mset({f"{self.prefix}clock": self.clock, f"{self.prefix}step": step})

    async def turn(self) -> None:
        draw, held = self.draw, self.held
        self.move(draw.choice((0, 10_000, 900_000, 70_000_000)), draw.choice((0, 0, draw.randrange(2, 40))))
        push = [
            Entry(b"%d" % draw.randrange(9), f"s{draw.randrange(3)}", draw.choice((0, 0, 5)), b"%d" % draw.randrange(400),
                  delay=draw.choice((0, 0, 3)))
            for _ in range(draw.choice((0, 1, 12)))
        ]  # fmt: skip
        draw.shuffle(held)
        ack, release, rest = held[:2], held[2:3], held[3:]
        bury = [Burial(one, "failed", "why") for one in rest[:1]]
        self.held = []
        loads = {slot: sum(one.slot == slot for one in rest[1:]) for slot in {one.slot for one in rest[1:]}}
        bounds = Bounds(loads=loads) if OPTIONS[self.crawl].rules is not None else Bounds()
        try:
            answer = await self.session.exchange(
                push=push, ack=ack, release=release, bury=bury, want=draw.choice((0, 1, 9)), bounds=bounds
            )
        except MocraError as error:
            self.heard.append(type(error))
            self.held = held
        else:
            self.held = [*rest[1:], *answer.leases]

    def state(self) -> dict[bytes, Any]:
        """What is stored of it."""
        read = {
            b"hash": lambda key: self.client.hgetall(key),
            b"zset": lambda key: self.client.zrange(key, 0, -1, withscores=True),
            b"list": lambda key: self.client.lrange(key, 0, -1),
            b"set": lambda key: self.client.smembers(key),
            b"string": lambda key: self.client.get(key),
        }
        return {key: read[self.client.type(key)](key) for key in self.client.scan_iter(f"{self.prefix}*")}


@contextmanager
def noted(on: Any, crawlers: list[Crawler], *, functions: bool) -> Iterator[None]:
    """Each exchange is one of the world that stands still but when it is moved; what the server answers is noted."""
    client = on._client
    client._calls.has_functions = functions
    kept = client.run

    async def run(script: Script, keys: Any, args: Any) -> Any:
        answer = await kept(in_the_world(script), keys, args)
        next(one for one in crawlers if keys[0].startswith(one.prefix)).heard.append(answer)
        return answer

    client.run = run
    yield
    client.run = kept
    assert client._calls.has_functions == functions


async def lived(url: str, crawls: list[str], seed: int, *, functions: bool, turns: int) -> dict[str, Any]:
    """What the workers of *crawls* heard, and what was stored in the end; the calls of several are mixed."""
    client = client_of(url)
    client.flushall()
    order, left = random.Random(seed), dict.fromkeys(crawls, turns)
    async with backend(url) as on:
        crawlers = {crawl: Crawler(on, crawl, seed, client) for crawl in crawls}
        with noted(on, list(crawlers.values()), functions=functions):
            for one in crawlers.values():
                one.move(0)
                await one.queue.join("w")
            while left:
                crawl = order.choice(list(left))
                await crawlers[crawl].turn()
                left[crawl] -= 1
                if not left[crawl]:
                    del left[crawl]
        told = {crawl: (one.heard, one.state()) for crawl, one in crawlers.items()}
        for one in crawlers.values():
            await one.queue.close()
    return told


@pytest.mark.parametrize("seed", range(int(os.environ.get("MIXED_CRAWLS", "3"))))
async def test_mixed_calls_of_two_crawls_give_what_each_gives_alone(redis_url: str, seed: int) -> None:
    """Some calls fail in their middle. A script begins with nothing: so what scripts give, for each crawl alone, is
    what the function has to give that was called for both.
    """
    mixed = await lived(redis_url, ["free", "limited"], seed, functions=True, turns=60)
    for crawl in ("free", "limited"):
        alone = await lived(redis_url, [crawl], seed, functions=False, turns=60)
        heard, state = mixed[crawl]
        assert heard == alone[crawl][0]
        assert state == alone[crawl][1]
        assert any(isinstance(one, type) for one in heard), "some failed"
        assert sum(isinstance(one, bytes) for one in heard) > 20
