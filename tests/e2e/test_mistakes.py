"""Thirty mistakes and more that everybody makes, each in a process of its own: the first or last line
of ours names the cause and the fix, and there are few of them.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import need_redis
from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.services.processes import free_port
from tests.services.redis_server import RedisServer, TlsRedis

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

SPIDER = """
    import scrapy
    from scrapy.dupefilters import RFPDupeFilter


    class Mine(RFPDupeFilter):
        pass


    class Shop(scrapy.Spider):
        name = "shop"

        async def start(self):
            yield scrapy.Request("data:,page", callback=CALLBACK, meta={"found": META})

        def parse_page(self, response):
            yield {"page": response.url}
"""
#: As if ``pip install mocra-scrapy`` had been run, without the extra; the interpreter may be warm.
WITHOUT_REDIS = """
import sys

for name in [name for name in sys.modules if name.startswith(("redis", "mocra_scrapy.backends.redis"))]:
    del sys.modules[name]
sys.modules["redis"] = None
"""
MOST_LINES = 15


@dataclass(frozen=True)
class Mistake:
    """Attributes:
    settings: by ``-s``; ``{redis}`` and so on stand for servers, see ``servers``.
    says: what the line has, a pattern.
    crawls: whether the crawl takes place, and the line is a warning.
    """

    name: str
    settings: dict[str, str]
    says: str
    crawls: bool = False
    callback: str = "self.parse_page"
    meta: str = "1"
    more: str = field(default="", repr=False)


B = "MOCRA_BACKEND"
THERE = {B: "{redis}"}
MISTAKES = [
    Mistake("scheme", {B: "reddis://localhost"}, r"reddis://. Did you mean redis://\?"),
    Mistake("no_url", {B: "localhost:6379"}, r"is not the URL of a backend. Write memory:// or redis://host:6379/0"),
    Mistake("no_backend", {B: " "}, r"MOCRA_BACKEND: ' ' is not a URL.*Set a text"),
    Mistake("unknown_host", {B: "redis://a..b:6379/0"}, r"there is no host 'a\.\.b'. Write a name"),
    Mistake("closed_port", {B: "redis://127.0.0.1:{closed}", "MOCRA_START_TIMEOUT": "0.3"}, r"is the server running"),
    Mistake(
        "no_redis", {B: "redis://127.0.0.1:{http}"}, r"what answers there is no Redis: it says '.+'. Write the host and"
    ),
    Mistake("needless_tls", {B: "rediss://127.0.0.1:{port}"}, r"speaks no TLS. Write redis:// instead of rediss://"),
    Mistake("missing_tls", {B: "redis://127.0.0.1:{tls}"}, r"speaks TLS only. Write rediss:// instead of redis://"),
    Mistake("certificate", {B: "rediss://127.0.0.1:{tls}"}, r'not trusted .*MOCRA_REDIS_OPTIONS = {"ssl_ca_certs"'),
    Mistake("no_password", {B: "redis://127.0.0.1:{locked}"}, r"asks for a password, .*redis://:PASSWORD@…"),
    Mistake(
        "wrong_password", {B: "redis://:hunter2@127.0.0.1:{locked}"}, r"refuses the user name or password.*Check both"
    ),
    Mistake("database", {B: "redis://127.0.0.1:{port}/99"}, r"Choose a database that the server has, usually 0 to 15"),
    Mistake("database_name", {B: "redis://127.0.0.1:{port}/zero"}, r"Write a number, as in redis://host:6379/0"),
    Mistake(
        "no_cluster", {B: "redis+cluster://127.0.0.1:{port}"}, r"is not a cluster. Write redis://host:port/0 instead"
    ),
    Mistake("no_master", {B: "redis+sentinel://127.0.0.1:{port}"}, r"names no master. Write redis\+sentinel://"),
    Mistake(
        "no_client",
        {B: "redis://localhost"},
        r'not installed. Run: pip install "mocra-scrapy\[redis\]"',
        more=WITHOUT_REDIS,
    ),
    Mistake(
        "redis_option",
        {**THERE, "MOCRA_REDIS_OPTIONS": '{"sll_ca_certs": "x"}'},
        r"'sll_ca_certs' is unknown. Did you mean",
    ),
    Mistake(
        "no_json",
        {**THERE, "MOCRA_REDIS_OPTIONS": "{x"},
        r"MOCRA_REDIS_OPTIONS: it is not valid JSON: .* Write, for example",
    ),
    Mistake("typo", {"MOCRA_LEESE": "30"}, r"no effect: MOCRA_LEESE \(did you mean MOCRA_LEASE\?\)", crawls=True),
    Mistake("no_number", {"MOCRA_LEASE": "soon"}, r"MOCRA_LEASE: 'soon' is not a time in seconds. Set a number"),
    Mistake("negative", {"MOCRA_PREFETCH": "-3"}, r"MOCRA_PREFETCH: '-3' is not .*Set a (whole )?number from"),
    Mistake("zero", {"MOCRA_SHARDS": "0"}, r"MOCRA_SHARDS: '0' is not .*Set a whole number from 1 to"),
    Mistake(
        "no_flag", {"MOCRA_ENABLED": "maybe"}, r"MOCRA_ENABLED: 'maybe' is neither true nor false. Set True or False"
    ),
    Mistake("no_fast_flag", {"MOCRA_FAST": "very"}, r"MOCRA_FAST: 'very' is neither true nor false. Set True or False"),
    Mistake(
        "choice", {"MOCRA_CLOSE": "maybe"}, r"MOCRA_CLOSE: 'maybe' is unknown. Set one of 'finished', 'idle', 'never'"
    ),
    Mistake("long_name", {"MOCRA_CRAWL": "x" * 300}, r"MOCRA_CRAWL: a name of 300 characters. Use 200 at most"),
    Mistake("codec", {"MOCRA_CODEC": "yaml"}, r"MOCRA_CODEC: 'yaml' is unknown. "),
    Mistake(
        "rate",
        {"MOCRA_THROTTLE": '{"a.example": "60/x"}'},
        r"MOCRA_THROTTLE\['a.example'\].*'60/x' is not a rate. Write",
    ),
    Mistake(
        "scope",
        {"MOCRA_THROTTLE_SCOPE": "worker", "MOCRA_THROTTLE": '{"a": "1/s"}'},
        r"Use DOWNLOAD_SLOTS, or set MOCRA_THROTTLE_SCOPE",
    ),
    Mistake("breaker", {"MOCRA_BREAKER": "mokra"}, r"MOCRA_BREAKER\['preset'\]: 'mokra' is unknown. Set one of"),
    Mistake("heartbeat", {"MOCRA_HEARTBEAT": "60"}, r"MOCRA_HEARTBEAT_TTL: 30.* Set three times MOCRA_HEARTBEAT"),
    Mistake("leader", {"MOCRA_LEADER_LEASE": "5"}, r"MOCRA_LEADER_DEADLINE: .* Belief has to end after"),
    Mistake(
        "jobdir", {"JOBDIR": "job"}, r"JOBDIR asks for a crawl that can be resumed. Set MOCRA_BACKEND to a Redis URL"
    ),
    Mistake(
        "reactor",
        {"TWISTED_REACTOR": "twisted.internet.selectreactor.SelectReactor"},
        r"no asyncio loop. Set TWISTED_REACTOR =",
    ),
    Mistake(
        "other_scheduler",
        {"SCHEDULER": "scrapy.core.scheduler.Scheduler"},
        r"Delete that line to use it, or set MOCRA_ENABLED = False",
        crawls=True,
    ),
    Mistake(
        "scrapy_redis",
        {"SCHEDULER": "scrapy_redis.scheduler.Scheduler", "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter"},
        r"-s SCHEDULER=scrapy_redis\S+ on the command line is replaced by mocra_scrapy\S+. Delete that line",
        crawls=True,
    ),
    Mistake(
        "filter",
        {"DUPEFILTER_CLASS": "shop.spiders.first.Mine"},
        r"DUPEFILTER_CLASS.*cluster's filter is off. Delete that line",
        crawls=True,
    ),
    Mistake(
        "lambda",
        THERE,
        r"callback: .*lambda.* is not a method of spider 'shop'",
        crawls=True,
        callback="lambda r: self.parse_page(r)",
    ),
    Mistake(
        "object",
        {**THERE, "MOCRA_REQUIRE_SERIALIZABLE": "1"},
        r"meta\['found'\]: .* can't be stored. Open it in",
        crawls=True,
        meta="open('/dev/null')",
    ),
]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, object]]:
    """What the table's URLs stand for."""
    need_redis()
    web = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        plain, locked, tls = (
            RedisServer(path / "a", appendfsync="everysec"),
            RedisServer(path / "b", password="secret"),
            TlsRedis(path / "c"),
        )
        try:
            for server in (plain, locked, tls):
                server.start()
            yield {
                "redis": plain.url,
                "port": plain.port,
                "locked": locked.port,
                "tls": tls.port,
                "http": web.server_port,
                "closed": free_port(),
            }
        finally:
            for server in (plain, locked, tls):
                server.kill()
            web.shutdown()
            web.server_close()


def test_there_are_thirty() -> None:
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 30


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_told(mistake: Mistake, servers: dict[str, object], tmp_path: Path) -> None:
    spider = SPIDER.replace("CALLBACK", mistake.callback).replace("META", mistake.meta)
    project = write_project(tmp_path, spider, ONE_LINE + mistake.more)
    arguments = []
    for name, value in mistake.settings.items():
        for key, known in servers.items():
            value = value.replace(f"{{{key}}}", str(known))
        arguments += ["-s", f"{name}={value}"]
    done = scrapy(project, "crawl", "shop", "-L", "INFO", "-s", f"MOCRA_CRAWL={mistake.name}", *arguments)
    said = done.stderr
    lines = [line for line in said.splitlines() if re.match(r"\S+ \S+ \[", line)]  # of any logger
    told = [line for line in lines if re.search(r" (WARNING|ERROR|CRITICAL): ", line)]
    ours = [line for line in lines if "[mocra_scrapy" in line]
    assert told, said
    assert len(ours) < MOST_LINES, said
    assert "hunter2" not in "\n".join(told)
    if mistake.crawls:
        assert done.returncode == 0, said
        assert re.search(mistake.says, told[0]), said
        assert re.search(r"Spider closed \((finished|start_error|shutdown)\)", said)
    else:
        assert done.returncode == 1, said
        assert re.search(mistake.says, lines[-1]), said
        assert " CRITICAL: " in lines[-1]
        assert "Traceback" not in said
        assert "Closing spider" not in said
        assert len([line for line in told if "[mocra_scrapy" in line]) <= 2, "it waits, at most"
