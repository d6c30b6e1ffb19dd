"""Sessions over real processes, with kills; and where what they hold is, and where it is not."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from mocra_scrapy.backends.redis.shards import quote_name
from tests.e2e.workers import Workers
from tests.mocksite.members import PASSWORD, Members
from tests.services.processes import eventually
from tests.services.proxy_farm import ProxyFarm
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

PROXY_PASSWORDS = [f"s3cret-proxy-{n}" for n in range(4)]
PAGES = 5


@pytest.fixture
def members() -> Iterator[Members]:
    with Members() as site:
        yield site


def contents(client: Any) -> dict[bytes, bytes]:
    """All that a Redis holds, by key."""
    read = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    return {key: repr(read[client.type(key)](key)).encode() for key in client.keys("*")}


def test_planted_secrets_are_nowhere_else(members: Members, workers: Workers, redis_single: RedisServer) -> None:
    """Two workers, two sessions of one request at a time, each bound to one of four proxies, a kill in the middle: no
    session is mixed, none changes its proxy, each page is fetched; and the cookies, tokens and passwords are in the
    sessions' values and nowhere else.
    """
    settings: dict[str, Any] = {
        "MOCRA_SESSIONS": json.dumps(
            {"127.0.0.1": {"policy": "crawling.visiting.Visitors", "size": 2, "concurrency": 1, "proxy": True}}
        ),
        "MOCRA_PROXY_POOL": "visitors",
        "MOCRA_COMPRESSION": "off",
        "MOCRA_EVENTS": '{"redis": {}, "log": {}}',
        "MOCRA_EVENTS_SAMPLE": 1.0,
        "MOCRA_RETRY_BASE": 0.01,
        "MOCRA_CRAWL": "visitors",
        "LOG_LEVEL": "DEBUG",
        "FEEDS": json.dumps({f"{workers.folder}/%(mocra_worker)s.jsonl": {"format": "jsonlines"}}),
    }
    environment = {"VISITOR_PASSWORD": PASSWORD}
    with ProxyFarm(4, PROXY_PASSWORDS) as farm:
        settings["MOCRA_PROXIES"] = json.dumps([proxy.url for proxy in farm.proxies])

        def start() -> Any:
            return workers.start("visitors", environment, site=members.url, pages=PAGES, **settings)

        first, _ = start(), start()
        eventually(lambda: len(members.pages) >= 8, 180, "eight pages")
        first.kill()
        start()
        workers.wait(240)
    fetched = {page for page in members.pages if "/broken/" not in page and "/failing/" not in page}
    assert fetched == {f"/page/{chain}/{at}" for chain in range(4) for at in range(PAGES)}
    assert members.mixed == 0
    assert 2 <= members.logins <= 2 + 2, "one more for each session that the killed worker was using"
    ports = {str(proxy.port) for proxy in farm.proxies}
    assert all(len(through) == 1 and through <= ports for through in members.through.values()), members.through
    planted = [*members.planted, *PROXY_PASSWORDS]
    assert len(planted) >= 30
    with redis_single.client() as client:
        held = contents(client)
    found = {name for name, text in held.items() if any(secret.encode() in text for secret in planted)}
    assert found == {f"mocra:{{+shared:{quote_name('sessions:visitors')}}}:values".encode()}
    assert not any(secret.encode() in text for text in held.values() for secret in [PASSWORD, *PROXY_PASSWORDS])
    assert sum(name.endswith(b":dead") for name in held) >= 1, "there are letters"
    written = {path: path.read_text(errors="replace") for path in workers.folder.iterdir() if path.is_file()}
    assert not [(path, secret) for secret in planted for path, text in written.items() if secret in text]
    assert any("page/broken" in text for text in written.values())
    exported = "".join(text for path, text in written.items() if path.suffix == ".jsonl")
    assert "User-Agent" in exported, "there are exports, and they have headers in them"


@pytest.mark.parametrize("end", ["finished", "stopped"])
def test_a_log_in_that_hangs_keeps_no_worker(members: Members, workers: Workers, end: str) -> None:
    """Neither when there is nothing left to crawl, nor when the worker is told to stop while requests wait for that
    session; these are in the queue for the next one.
    """
    members.answered_log_ins = 1 if end == "finished" else 0
    options = {"policy": "crawling.visiting.Visitors", "size": 2, "concurrency": 1, "init_timeout": 3600}
    options["wait"] = 3600
    settings = {"MOCRA_SESSIONS": json.dumps({"127.0.0.1": options}), "MOCRA_CRAWL": "visitors"}
    environment = {"VISITOR_PASSWORD": PASSWORD}
    worker = workers.start("visitors", environment, site=members.url, pages=1, chains=2, **settings)
    if end == "stopped":
        eventually(lambda: members.hanging == 2, 180, "both log-ins")
        eventually(lambda: "Crawled 0 pages" in workers.log(), 180, "it is open")
        worker.send_signal(signal.SIGTERM)
        assert workers.wait(240) == [0]
        assert not members.pages
        members.answered_log_ins = 1
        workers.start("visitors", environment, site=members.url, pages=1, chains=2, **settings)
    assert set(workers.wait(240)) == {0}
    assert {"/page/0/0", "/page/1/0", "/page/broken/0", "/page/failing/0"} == set(members.pages)
    assert members.hanging >= 1
    logs = "".join(workers.log(n) for n in range(len(workers.all)))
    assert logs.count("Traceback") == 1, "of the page that is broken"
