"""The proxy pool with real proxies and with some that misbehave, real workers and a real server."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.models import ProxyRecord, ProxyRules
from mocra_scrapy.proxies.proxy import parse_proxy
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services import policy
from tests.services.faultproxy import FaultProxy
from tests.services.processes import eventually, free_port
from tests.services.proxy_farm import ProxyFarm
from tests.services.real_proxies import HOW, USER, RealProxies, missing
from tests.services.redis_server import RedisServer
from tests.services.tls_pages import TlsPages

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

PASSWORDS = [f"planted{n:02}secret" for n in range(30)]
CAP = 4
#: Those that a busy machine doesn't imitate; proxies that hang or are slow have a test of their own.
SPOILT = ("refuse", "407", "502", "captcha", "401", "cut", "refuse", "502")


def records(url: str) -> dict[tuple[str, str], ProxyRecord]:
    """What all workers know."""

    async def look() -> dict[tuple[str, str], ProxyRecord]:
        backend = open_backend(url)
        await backend.open()
        try:
            found, version = {}, 0
            proxies = backend.proxies("pool", ProxyRules())  # type: ignore[attr-defined]
            while True:
                some, version = await proxies.look(version)
                if not some:
                    return found
                found.update({(one.proxy, one.site): one for one in some})
        finally:
            await backend.close()

    return asyncio.run(look())


def stored(redis: RedisServer) -> bytes:
    """Everything that the server has, uncompressed."""
    readers: dict[bytes, Any] = {
        b"hash": lambda client, key: client.hgetall(key),
        b"string": lambda client, key: client.get(key),
        b"list": lambda client, key: client.lrange(key, 0, -1),
        b"set": lambda client, key: client.smembers(key),
        b"zset": lambda client, key: client.zrange(key, 0, -1),
        b"stream": lambda client, key: client.xrange(key),
    }
    with redis.client() as client:
        return b"\n".join(key + repr(readers[client.type(key)](client, key)).encode() for key in client.scan_iter())


def test_planted_passwords_are_nowhere(workers_on: Any, own_redis: RedisServer, site: MockSite, tmp_path: Path) -> None:
    """Three workers, twenty proxies of which eight go bad and four recover, two sites of which one is
    down, and one worker is killed.
    """
    policy.need("proxies", not missing(), HOW)
    workers: Workers = workers_on(own_redis.url)
    done, folder = tmp_path / "done", tmp_path / "proxies"
    dead = f"http://localhost:{free_port()}"
    with RealProxies(folder, PASSWORDS[18]) as real, ProxyFarm(18, PASSWORDS) as farm:
        urls = [proxy.url for proxy in farm.proxies] + [real.urls["squid"], real.urls["tinyproxy"]]
        unused = [{"url": f"http://{word}:{word}@127.0.0.1:9", "expires": 1} for word in PASSWORDS[19:]]
        settings = {
            "MOCRA_PROXIES": json.dumps([*urls, *unused]),
            "MOCRA_PROXY_POOL": "pool",
            "MOCRA_PROXY_CONCURRENCY": CAP,
            "MOCRA_PROXY_BAN_BODIES": "captcha",
            "MOCRA_PROXY_COOL_DOWN": 0.5,
            "MOCRA_PROXY_BAN_COOL_DOWN": 0.5,
            "MOCRA_PROXY_COOL_DOWN_MAX": 4,
            "MOCRA_PROXY_TRIES": 30,
            "MOCRA_PROXY_FAILURES": 1,
            "RETRY_TIMES": 5,
            "MOCRA_RETRY_BASE": 0,
            "MOCRA_COMPRESSION": "off",
            "MOCRA_LEASE": 5,
            "MOCRA_EVENTS": json.dumps({"redis": {"url": own_redis.url, "stream": "news"}}),
            "LOG_LEVEL": "DEBUG",
            "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
        }
        key = None
        names = [parse_proxy(url).identity(key) for url in urls]
        for _ in range(3):
            workers.start("proxied", site=site.url, dead=dead, until=done, **settings)
        eventually(lambda: sum(bool(proxy.seen) for proxy in farm.proxies) >= 15, 180, "proxies are used")
        for number, fault in enumerate(SPOILT):
            farm.spoil(number, fault)
        workers.all[0].kill()

        def out() -> set[str]:
            return {proxy for (proxy, _), one in records(own_redis.url).items() if one.times}

        eventually(lambda: set(names[:8]) <= out(), 180, f"the bad ones are out: {names[:8]}")
        for number in range(4):
            farm.spoil(number, "")
        eventually(
            lambda: (
                not any(one.is_half_open for (proxy, _), one in records(own_redis.url).items() if proxy in names[:4])
            ),
            180,
            "those that recovered are back",
        )
        known = records(own_redis.url)
        done.touch()
        assert workers.wait()[1:] == [0, 0]
        for (proxy, where), one in known.items():
            assert proxy in names[:8] or not one.is_half_open or where == "localhost", one
        assert max(proxy.most for proxy in farm.proxies) <= CAP
        assert len({place for proxy in farm.proxies for place in proxy.seen}) == 2
        arrived = {path for path in site.arrivals() if re.fullmatch(r"/ok/\d+", path)}
        assert len(arrived) == 40
        stats = workers.stats()
        assert stats["mocra/proxy/refused"] >= 1
        assert stats["mocra/proxy/probes"] >= 4

        everything = stored(own_redis) + b"".join(
            file.read_bytes() for file in workers.folder.rglob("*") if file.is_file()
        )
        assert b"proxy.out" in everything
        assert any(name.encode() in everything for name in names[8:18]), "none of those that were well was used"
        for password in PASSWORDS:
            assert password.encode() not in everything, password
    shutil.rmtree(folder, ignore_errors=True)


def test_one_that_hangs_is_out_and_one_that_is_slow_is_told(workers: Workers, site: MockSite) -> None:
    """Pages that one of them would keep for ever come through the others."""
    with ProxyFarm(3) as farm:
        urls = [proxy.url for proxy in farm.proxies]
        farm.spoil(0, "hang")
        farm.spoil(1, "slow")
        workers.start(
            "list",
            site=site.url,
            paths=",".join(f"ok/{n}" for n in range(30)),
            MOCRA_PROXIES=json.dumps(urls),
            MOCRA_PROXY_POOL="pool",
            MOCRA_PROXY_FAILURES=1,
            MOCRA_PROXY_TRIES=30,
            MOCRA_PROXY_COOL_DOWN=1,
            MOCRA_RETRY_BASE=0,
            DOWNLOAD_TIMEOUT=2,
        )
        workers.wait()
        hanging, slow, _ = (parse_proxy(url).identity(None) for url in urls)
        known = {one.proxy: one for one in records(workers.backend).values() if one.proxy and one.site}
        assert known[hanging].times >= 1
        assert known[hanging].success < 1
        assert known[slow].latency >= farm.proxies[1].slow
    assert all(site.count(f"/ok/{n}") for n in range(30))
    assert workers.stats()["item_scraped_count"] == 30


HTTPX = "scrapy.core.downloader.handlers._httpx.HttpxDownloadHandler"


def knows_socks() -> bool:
    """Whether there is a download handler that does; Scrapy has one from 2.16 on."""
    return all(find_spec(name) for name in ("scrapy.core.downloader.handlers._httpx", "httpx", "socksio"))


def test_https_and_socks_through_real_proxies(workers_on: Any, site: MockSite, tmp_path: Path) -> None:
    """Pages of http and https: through squid and tinyproxy with the usual handler, https in a tunnel of CONNECT; through
    these, microsocks and dante with one that knows SOCKS. In front of each proxy stands one that counts.
    """
    policy.need("proxies", not missing(), HOW)
    ways = {"usual": ["squid", "tinyproxy"]}
    if knows_socks():
        ways["socks"] = ["squid", "tinyproxy", "microsocks", "dante"]
    folder = tmp_path / "proxies"
    with ExitStack() as stack:
        tls = stack.enter_context(TlsPages(tmp_path / "tls"))
        real = stack.enter_context(RealProxies(folder, PASSWORDS[0]))
        crawls: dict[str, tuple[Workers, dict[str, FaultProxy]]] = {}
        for way, names in ways.items():
            counted = {name: stack.enter_context(FaultProxy(real.ports[name])) for name in names}
            proxies = [
                {"url": real.urls[name].replace(str(real.ports[name]), str(counted[name].port)), "tags": [name]}
                for name in names
            ]
            # Of nobody: squid gives one answer to requests of one user that come together.
            wrong = str(proxies[-2]["url"]).replace(f"{USER}:{PASSWORDS[0]}", f"nobody:{PASSWORDS[1]}")
            settings = {
                "MOCRA_PROXIES": json.dumps([*proxies, {"url": wrong, "tags": ["wrong"]}]),
                "MOCRA_PROXY_TRIES": 0,
                "MOCRA_PROXY_COOL_DOWN": 0.5,  # a second page may have to wait for a probe
                "MOCRA_PROXY_COOL_DOWN_MAX": 1,
                "RETRY_ENABLED": False,
                "LOG_LEVEL": "DEBUG",
                "FEEDS": json.dumps({f"{tmp_path}/{way}.jsonl": {"format": "jsonlines"}}),
            }
            if way == "socks":
                settings["DOWNLOAD_HANDLERS"] = json.dumps({"http": HTTPX, "https": HTTPX})
            workers: Workers = workers_on("memory://")
            sites = f"{site.url},{tls.url}"
            workers.start("through", tags=",".join([*names, "wrong"]), sites=sites, **settings)
            crawls[way] = workers, counted
        for way, (workers, counted) in crawls.items():
            assert workers.wait() == [0]
            items = [json.loads(line) for line in (tmp_path / f"{way}.jsonl").read_text().splitlines()]
            pages = {item["page"] for item in items if "page" in item}
            assert pages == {f"{url}/ok/{name}" for url in (site.url, tls.url) for name in counted}, workers.log()
            assert {item["failed"] for item in items if "failed" in item} <= {
                f"{site.url}/ok/wrong",
                f"{tls.url}/ok/wrong",
            }
            assert workers.stats()["mocra/proxy/refused"] >= 1
            assert all(proxy.connections >= 2 for proxy in counted.values())
            everything = workers.log() + json.dumps(items) + json.dumps(workers.events())
            assert not [word for word in PASSWORDS[:2] if word in everything]
        assert "proxy-authorization" not in tls.headers
        assert len(tls.paths) == sum(len(counted) for _, counted in crawls.values())
    shutil.rmtree(folder, ignore_errors=True)
