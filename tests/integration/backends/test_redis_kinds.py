"""The Redis backend on each kind of real server, and what happens when a server fails, refuses,
restarts, or an answer is lost.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from mocra_scrapy.interfaces import IBackend
from mocra_scrapy.models import Entry, Exchange, Finish, QueueOptions
from tests.integration.backends.redis_crawls import FAST, backend, started
from tests.services import processes
from tests.services.faultproxy import FaultProxy
from tests.services.redis_server import PASSWORD, RedisServer, SentinelGroup, SocketRedis, TlsRedis

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("nothing_stays_open")]


async def a_whole_crawl(on: IBackend, crawl: str = "") -> None:
    """Everything a worker does, from joining to the end."""
    queue = on.request_queue(crawl or secrets.token_hex(4), QueueOptions(lease=60))
    session = QueueSession(queue, "w")
    try:
        await queue.join("w")
        assert await queue.claim_seeding("w")
        await session.push([Entry(b"%d" % i, f"s{i % 5}", fingerprint=sha1(b"%d" % i).digest()) for i in range(50)])
        assert await queue.complete_seeding("w")
        done = 0
        while leases := await session.lease(20):
            assert all(await session.ack(leases))
            done += len(leases)
        assert done == 50
        assert await queue.finish("w") is Finish.WON
        assert await queue.wait("w", 5), "the end wakes everybody"
        assert await queue.close_worker("w") == 0
        await queue.clear()
    finally:
        await queue.close()


async def insist(call: Callable[[bool], Any], seconds: float = 20) -> Any:
    """Repeat as the scheduler does."""
    repeat = False
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await call(repeat)
        except BackendUnavailable:
            if asyncio.get_running_loop().time() > deadline:
                raise
            repeat = True
            await asyncio.sleep(0.05)


async def test_single(redis_url: str) -> None:
    async with backend(redis_url) as on:
        await a_whole_crawl(on)


@pytest.mark.parametrize(("product", "name"), [("redis-6.2", "Redis 6.2"), ("valkey", "Valkey ")])
async def test_the_oldest_redis_and_valkey(other_server: Callable[[str], RedisServer], product: str, name: str) -> None:
    async with backend(other_server(product).url) as on:
        assert (await on.open()).facts["server"].startswith(name)
        await a_whole_crawl(on)


async def test_cluster(redis_cluster: str) -> None:
    async with backend(f"{redis_cluster}?shards=5") as on:
        await a_whole_crawl(on, "spread")
    async with backend(redis_cluster) as on:
        assert (await on.open()).facts["primaries"] == "3"
        await a_whole_crawl(on)


async def test_unix_socket(redis_socket: SocketRedis) -> None:
    async with backend(redis_socket.url) as on:
        await a_whole_crawl(on)


async def test_tls_and_acl_user(redis_tls: TlsRedis) -> None:
    """With no more rights than the docs tell to grant."""
    url = f"rediss://app:{quote(PASSWORD, safe='')}@127.0.0.1:{redis_tls.port}/0?ssl_ca_certs={redis_tls.ca}"
    async with backend(url) as on:
        assert PASSWORD not in on.url
        assert quote(PASSWORD, safe="") not in on.url
        await a_whole_crawl(on)


async def test_credentials_in_the_options(redis_tls: TlsRedis) -> None:
    options = {"username": "app", "password": PASSWORD, "ssl_ca_certs": str(redis_tls.ca)}
    async with backend(f"rediss://127.0.0.1:{redis_tls.port}", **options) as on:
        await a_whole_crawl(on)


async def test_a_certificate_of_a_stranger_is_refused(redis_tls: TlsRedis) -> None:
    opened = open_backend(f"rediss://app:x@127.0.0.1:{redis_tls.port}")
    with pytest.raises(ConfigurationError, match="its certificate is not trusted"):
        await opened.open(600)
    await opened.close()


@pytest.mark.parametrize(("user", "password"), [("app", "wrong"), ("nobody", PASSWORD), ("", "")])
async def test_a_wrong_password_is_told_at_once(redis_tls: TlsRedis, user: str, password: str) -> None:
    at = f"{user}:{quote(password, safe='')}@" if user else ""
    opened = open_backend(f"rediss://{at}127.0.0.1:{redis_tls.port}?ssl_ca_certs={redis_tls.ca}")
    told = "refuses the user name or password" if user else "rediss://:PASSWORD@…"
    with pytest.raises(ConfigurationError, match=told) as raised:
        await opened.open(600)
    for secret in (PASSWORD, quote(PASSWORD, safe=""), ":wrong"):
        assert secret not in str(raised.value)
    await opened.close()


async def test_a_password_is_required(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, password="secret")
    server.start()
    try:
        opened = open_backend(f"redis://127.0.0.1:{server.port}")
        with pytest.raises(ConfigurationError, match="asks for a password, and there is none"):
            await opened.open(600)
        await opened.close()
        async with backend(f"redis://:secret@127.0.0.1:{server.port}") as on:
            await a_whole_crawl(on)
    finally:
        server.kill()


async def test_missing_rights_are_named(redis_tls: TlsRedis) -> None:
    options = {"username": "ro", "password": PASSWORD, "ssl_ca_certs": str(redis_tls.ca)}
    async with backend(f"rediss://127.0.0.1:{redis_tls.port}", **options) as on:
        queue = on.request_queue("c", QueueOptions())
        with pytest.raises(ConfigurationError, match="Grant the user: ~mocra:"):
            await queue.join("w")
        await queue.close()


async def test_a_foreign_prefix_is_refused_by_the_acl(redis_tls: TlsRedis) -> None:
    options = {"username": "app", "password": PASSWORD, "ssl_ca_certs": str(redis_tls.ca)}
    async with backend(f"rediss://127.0.0.1:{redis_tls.port}", prefix="other", **options) as on:
        queue = on.request_queue("c", QueueOptions())
        with pytest.raises(ConfigurationError, match="~other:"):
            await queue.join("w")
        await queue.close()


async def test_nobody_answers() -> None:
    opened = open_backend(f"redis://127.0.0.1:{processes.free_port()}", options=FAST)
    with pytest.raises(BackendUnavailable, match=r"MOCRA_START_TIMEOUT = 0.3 s: is the server running"):
        await opened.open(0.3)
    await opened.close()
    await opened.close()


async def test_the_wrong_kind_of_server_is_told(redis_cluster: str, redis_url: str, sentinels: SentinelGroup) -> None:
    node = redis_cluster.partition("://")[2].partition(",")[0]
    for url, hint in (
        (f"redis://{node}", "redis\\+cluster://"),
        (f"redis://127.0.0.1:{sentinels.ports[0]}", "redis\\+sentinel://"),
        (sentinels.replica.url, "use redis\\+sentinel://"),
        (redis_url.replace("redis://", "redis+cluster://").removesuffix("/0"), "redis://"),
        (redis_url.replace("/0", "/99"), "0 to 15"),
    ):
        opened = open_backend(url, options=FAST)
        with pytest.raises((ConfigurationError, BackendUnavailable), match=hint):
            await opened.open(0.5)
        await opened.close()


async def test_the_check_looks_at_a_real_server(redis_single: RedisServer, tmp_path: Path) -> None:
    async with backend(redis_single.url) as on:
        report = await on.open()
        assert report.facts["server"].startswith(("Redis ", "Valkey "))
        assert report.warnings == []
    careless = RedisServer(tmp_path, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")
    careless.start()
    try:
        async with backend(careless.url) as on:
            told = " ".join((await on.open()).warnings)
            assert "maxmemory-policy is allkeys-lru" in told
            assert "appendonly is off" in told
    finally:
        careless.kill()


async def test_a_restarted_server_has_forgotten_the_scripts(own_redis: RedisServer) -> None:
    async with backend(own_redis.url, **FAST) as on:
        queue, session = await started(on)
        await session.push([Entry(b"1", "s", fingerprint=b"1" * 8)])
        own_redis.kill()
        own_redis.start()
        answer: Exchange = await insist(lambda repeat: session.exchange(want=5, repeat=repeat))
        assert [lease.body for lease in answer.leases] == [b"1"]
        with own_redis.client() as client:
            client.script_flush()
        assert list(await session.ack(answer.leases)) == [True]
        await queue.close()


async def test_a_lost_answer_is_repeated_with_one_effect(own_redis: RedisServer) -> None:
    """The connection is cut while the answer is under way, at every place of an exchange in turn."""
    with FaultProxy(own_redis.port) as proxy:
        async with backend(f"redis://127.0.0.1:{proxy.port}", **FAST) as on:
            queue, session = await started(on)
            held: list[Any] = []
            for turn in range(12):
                proxy.cut_after = turn % 4 * 7
                entries = [
                    Entry(b"%d-%d" % (turn, i), "s", fingerprint=sha1(b"%d-%d" % (turn, i)).digest()) for i in range(3)
                ]
                answer = await insist(
                    lambda repeat, new=entries, old=held: session.exchange(push=new, ack=old, want=3, repeat=repeat)
                )
                assert list(answer.stored) == [True] * 3
                assert all(answer.acked)
                held = list(answer.leases)
                assert len(held) == 3
            proxy.heal()
            size = await queue.size()
            assert (size.pending, size.leased, size.seen) == (0, 3, 36)
            await queue.close()


async def test_a_silent_server_is_given_up_after_the_socket_timeout(own_redis: RedisServer) -> None:
    async with backend(own_redis.url, socket_timeout=1.0) as on:
        queue, session = await started(on)
        own_redis.pause()
        try:
            watch = processes.Stopwatch()
            with pytest.raises(BackendUnavailable):
                await session.push([Entry(b"1")])
            assert watch.seconds() < 4, "no blind retries"
        finally:
            own_redis.resume()
        again = await insist(lambda _: session.exchange(push=[Entry(b"1")], repeat=True))
        assert list(again.stored) == [True]
        assert (await queue.size()).pending == 1
        await queue.close()


async def test_sentinel_failover(sentinels: SentinelGroup) -> None:
    async with backend(sentinels.url, **FAST) as on:
        await a_whole_crawl(on)
        queue, session = await started(on)
        await session.push([Entry(b"%d" % i, "s", fingerprint=sha1(b"%d" % i).digest()) for i in range(20)])
        held = list(await session.lease(5))
        with sentinels.replica.client() as replica, sentinels.master.client() as master:
            written = master.info("replication")["master_repl_offset"]
            processes.eventually(lambda: replica.info("replication")["master_repl_offset"] >= written)
        sentinels.fail_over()
        answer = await insist(lambda repeat: session.exchange(ack=held, want=100, repeat=repeat), 60)
        assert list(answer.acked) == [True] * 5
        assert len(answer.leases) == 15
        assert all(await session.ack(answer.leases))
        assert (await queue.size()).unfinished == 0
        await queue.close()


async def test_wake_ups_survive_a_restart(own_redis: RedisServer) -> None:
    async with backend(own_redis.url, **FAST) as one, backend(own_redis.url, **FAST) as two:
        waiting, hungry = await started(one, "hungry")
        queue, pusher = await started(two, "pusher")
        own_redis.kill()
        own_redis.start()
        assert await waiting.wait("hungry", 20), "after each new connection: something may have been missed"
        assert not (await insist(lambda repeat: hungry.exchange(want=5, repeat=repeat))).leases
        await insist(lambda repeat: pusher.exchange(push=[Entry(b"1", "s")], repeat=repeat))
        assert await waiting.wait("hungry", 20)
        await waiting.close()
        await queue.close()
