"""The harness of Redis and of its cluster."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from typing import Any

from mocra_scrapy.backends import open_backend
from mocra_scrapy.backends.redis.connection.scripts import Script
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.interfaces import (
    IBackend,
    IRequestQueue,
)
from tests.conformance.harness import CRAWL, Harness
from tests.services.redis_server import client_of

#: In front of a script: of its commands the one whose number is stored under a key is refused, and the
#: key says so. The same text for each number: a server compiles it once.
REFUSING = """
local redis = (function()
    local real, place, left, of = redis, nil, nil, nil

    local function next_one()
        if KEYS ~= of then  -- another call
            of, place = KEYS, string.sub(KEYS[1], 1, -5) .. 'refused'
            left = tonumber(real.call('GET', place) or 0) or 0
        end
        left = left - 1
        if left ~= 0 then return nil end
        real.call('SET', place, 'yes')
        return 'REFUSED'  -- no command is called so
    end

    return setmetatable({
        call = function(...) return real.call(next_one() or ..., select(2, ...)) end,
        pcall = function(...) return real.pcall(next_one() or ..., select(2, ...)) end,
    }, {__index = real})
end)()
"""


#: Whether the exchange is a script, as it is where a server has no functions, also where it has: a part of `make soak`.
#: Redis 6.2 has none.
WITH_SCRIPTS = os.environ.get("TESTS_REDIS_FUNCTIONS") == "0"

#: In front of a script: the server's clock says this.
STANDING = """
local redis = (function()
    local real = redis
    local function call(command, ...)
        if command == 'TIME' then return {'SECONDS', 'MICROS'} end
        return real.call(command, ...)
    end
    return setmetatable({call = call}, {__index = real})
end)()
"""


@cache
def refused_at_a_step(script: Script) -> Script:
    return script.behind(REFUSING)


class RedisHarness(Harness):
    """A real server, which is emptied before each test. Time moves by the field ``skew`` of each shard's
    meta hash: ms that every script adds to the clock.

    Attributes:
        in_background: names of scripts that no call of a worker runs.
    """

    in_background: frozenset[str] = frozenset()

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.prefix = f"t{secrets.token_hex(6)}"
        self.skew = 0
        self.tags: set[str] = set()
        self.client = client_of(url)

    def stream_name(self, name: str) -> str:
        return f"{self.prefix}:{name}"

    def make_backend(self) -> IBackend:
        opened = open_backend(self.url, prefix=self.prefix)
        if WITH_SCRIPTS:
            opened._client._calls.has_functions = False  # type: ignore[attr-defined]
        return opened

    second_backend = make_backend

    def key(self, shard: int, name: str, crawl: str = CRAWL) -> str:
        return f"{self.prefix}:{{{crawl}:{shard}}}:{name}"

    async def advance(self, seconds: float) -> None:
        await self.turn_clock(seconds)
        for crawl in self.crawls:
            for shard in range(self.shards):
                meta = self.key(shard, "meta", crawl)
                if self.client.hexists(meta, "heard"):
                    self.client.hincrby(meta, "heard", int(seconds * 1000))

    async def turn_clock(self, seconds: float) -> None:
        self.skew += int(seconds * 1000)  # a total, for a drained shard's meta is deleted
        for crawl in self.crawls:
            for shard in range(self.shards):
                self.client.hset(self.key(shard, "meta", crawl), "skew", self.skew)
        for tag in self.tags:
            self.coordinates(tag)

    def coordinates(self, tag: str) -> None:
        self.tags.add(tag)
        if self.skew:
            self.client.set(f"{self.prefix}:{{{tag}}}:skew", self.skew)

    async def wipe(self) -> None:
        for key in self.keys():
            if not key.endswith(":skew"):
                self.client.delete(key)

    async def lose_part(self, name: str) -> bool:
        for shard in range(self.shards):
            for key in list(self.client.scan_iter(match=self.key(shard, name), count=1000)):
                self.client.delete(key)
        return True

    async def lose_record(self) -> None:
        self.client.delete(self.key(0, "crawl"))

    def clients(self) -> list[Any]:
        """What asks the server, of both backends."""
        return [backend._client for backend in self.backends]  # type: ignore[attr-defined]

    def on_server(self, queue: IRequestQueue) -> Any:
        """The part of *queue* that asks the server."""
        return queue

    async def leave_reset(self, queue: IRequestQueue, by: str) -> bool:
        shards = self.on_server(queue)._shards
        kept = shards._client.delete

        async def dies(names: list[bytes]) -> None:
            await kept(names[: len(names) // 2])
            raise BackendUnavailable("it died")

        shards._client.delete = dies
        try:
            with contextlib.suppress(BackendUnavailable):
                await queue.reset(by)
        finally:
            shards._client.delete = kept
        return True

    @contextlib.contextmanager
    def standing_clock(self) -> Iterator[Callable[[int], None]]:
        now = time.time_ns() // 1_000_000
        clients = self.clients()
        kept = [client.run for client in clients]

        def standing(run: Any) -> Any:
            async def stand(script: Script, *args: Any) -> Any:
                text = STANDING.replace("SECONDS", str(now // 1000)).replace("MICROS", str(now % 1000 * 1000))
                return await run(Script(script.name, text + script.text), *args)

            return stand

        def move(ms: int) -> None:
            nonlocal now
            now += ms

        for client, run in zip(clients, kept, strict=True):
            client.run = standing(run)
        try:
            yield move
        finally:
            for client, run in zip(clients, kept, strict=True):
                client.run = run

    async def cut_off(self) -> None:
        self.client.client_kill_filter(_type="pubsub")

    async def damage(self, name: str, namespace: str = "place") -> bool:
        self.client.hset(f"{self.prefix}:{{+shared:{namespace}}}:values", name, b"\xc1rubbish")
        return True

    def keys(self) -> list[str]:
        return [key.decode() for key in self.client.scan_iter(match=f"{self.prefix}:*", count=1000)]

    async def residue(self, *, keep_seen: bool = False) -> set[str]:
        left = set()
        for key in self.keys():
            name = key.partition("}:")[2] or key
            kept = {"crawl", "dead", "dead:at", "dead:bodies", "dead:kinds", "dictionaries"}
            allowed = name in kept or name.startswith("last:")
            if keep_seen:
                allowed = allowed or name == "meta" or name.startswith("f:")
            if not allowed:
                left.add(name)
        return left

    @contextlib.contextmanager
    def answers_lost(self, queue: IRequestQueue) -> Iterator[None]:
        shards = self.on_server(queue)._shards
        kept = shards.run

        async def lossy(*args: Any, **kwargs: Any) -> None:
            await kept(*args, **kwargs)
            raise BackendUnavailable("the answer got lost")

        shards.run = lossy
        try:
            yield
        finally:
            shards.run = kept

    @contextlib.contextmanager
    def refusing(self, queue: IRequestQueue, step: int) -> Iterator[list[int]]:
        shards = self.on_server(queue)._shards
        kept, refused = shards.run, []

        async def run(script: Script, shard: int, *args: Any) -> Any:
            if script.name in self.in_background:
                return await kept(script, shard, *args)
            key = self.key(shard, "refused", shards._name)
            self.client.set(key, step)
            try:
                return await kept(refused_at_a_step(script), shard, *args)
            finally:
                if self.client.getdel(key) == b"yes":
                    refused.append(step)

        shards.run = run
        try:
            yield refused
        finally:
            shards.run = kept

    def keep(self, crawl: str) -> Callable[[], None]:
        names, skew = self._keys_of(crawl), self.skew
        asking = self.client.pipeline(transaction=False)
        for name in names:
            asking.dump(name)
            asking.pttl(name)
        answers = asking.execute()
        stored = list(zip(names, answers[::2], answers[1::2], strict=True))
        kept_at = time.monotonic()

        def bring_back() -> None:
            # Leases and delays are of real seconds: none of those that the test took since have passed.
            self.skew = skew - int((time.monotonic() - kept_at) * 1000)
            telling = self.client.pipeline(transaction=False)
            for name in self._keys_of(crawl):
                telling.delete(name)
            for name, value, ttl in stored:
                telling.restore(name, max(0, ttl), value)
                if name.endswith(b":meta"):
                    telling.hset(name, "skew", self.skew)
            telling.execute()

        return bring_back

    def _keys_of(self, crawl: str) -> list[bytes]:
        return list(self.client.scan_iter(match=f"{self.prefix}:{{{crawl}:*", count=1000))

    @contextlib.contextmanager
    def late_clean_up(self, queue: IRequestQueue) -> Iterator[list[Callable[[], Awaitable[None]]]]:
        late: list[Callable[[], Awaitable[None]]] = []
        asking = self.on_server(queue)
        tidy = asking._tidy

        async def later(*args: Any) -> None:
            late.append(lambda: tidy(*args))

        asking._tidy = later
        try:
            yield late
        finally:
            asking._tidy = tidy

    def another(self) -> Harness:
        return type(self)(self.url)

    async def refuse(self, slot: str) -> bool:
        if self.shards == 1:
            return False
        # A string where a list is expected, on whichever shard the slot lives.
        for shard in range(self.shards):
            self.client.set(self.key(shard, f"q:1:{slot}"), b"foreign")
        return True


class ClusterHarness(RedisHarness):
    shards = 3
    cache_parts = 16
    stride = 9

    async def cut_off(self) -> None:
        for node in self.client.get_nodes():
            node.redis_connection.client_kill_filter(_type="pubsub")
