"""Events of real crawls: what a stream of Redis and a webhook get of them."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mocra_scrapy.events.signature import verify
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

SECRET = "a secret that nobody guesses"


class Hook:
    """A server of somebody who wants to know. It is away at first: what is posted then comes again."""

    def __init__(self) -> None:
        hook = self
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.refused = 0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.refused += 1
                if hook.refused > 1:
                    hook.posts.append((dict(self.headers), body))
                self.send_response(204 if hook.refused > 1 else 503)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/crawls"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for _, body in self.posts for event in json.loads(body)["events"]]


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    hook.thread.start()
    yield hook
    hook.server.shutdown()
    hook.thread.join()
    hook.server.server_close()


def opened(client: Any) -> int:
    """Workers that have told so."""
    return sum(entry[b"event"] == b"worker.opened" for _, entry in client.xrange("news"))


def test_what_happens_in_a_crawl_is_told(workers: Workers, own_redis: RedisServer, hook: Hook) -> None:
    """Two workers, one of which is killed."""
    sinks = {
        "redis": {"url": own_redis.url, "stream": "news"},
        "webhook": {
            "url": hook.url,
            "private": True,
            "secret": SECRET,
            "events": ["crawl.*", "worker.*"],
        },
    }
    settings = {
        "MOCRA_EVENTS": json.dumps(sinks),
        "MOCRA_EVENTS_SAMPLE": 1,
        "DOWNLOAD_DELAY": 0.02,
        "CONCURRENT_REQUESTS": 4,
        "MOCRA_LEASE": 5,
    }
    with MockSite(pages=60) as site:
        workers.together(2, site, "graph", **settings)
        eventually(lambda: workers.events("item", workers.all[0].pid), what="the one that is killed is at work")
        with own_redis.client() as client:  # what waits in a worker's queue dies with it
            eventually(lambda: opened(client) == 2, what="it has told of its beginning")
        workers.all[0].kill()
        assert workers.wait()[1] == 0
        pages = {f"{site.url}/page/{n}" for n in range(site.pages)}
    with own_redis.client() as client:
        entries = client.xrange("news")
    records = [json.loads(entry[b"record"]) for _, entry in entries]
    assert [entry[b"event"].decode() for _, entry in entries] == [record["event"] for record in records]
    names = Counter(record["event"] for record in records)
    assert names["crawl.began"] == names["crawl.finished"] == 1
    assert names["worker.opened"] == 2
    assert {record["data"]["url"] for record in records if record["event"] == "item.scraped"} <= pages
    beginnings = {record["data"]["pid"]: record for record in records if record["event"] == "worker.opened"}
    killed, living = (beginnings[worker.pid]["worker"] for worker in workers.all)
    [died] = [record for record in records if record["event"] == "worker.died"]
    assert (died["worker"], died["data"]["died"]) == (living, killed)
    of_living = [record for record in records if record["worker"] == living]
    assert [record["number"] for record in of_living] == list(range(1, len(of_living) + 1)), "none was dropped"
    closed = of_living[-1]
    assert (closed["event"], closed["data"]["reason"]) == ("worker.closed", "finished")
    fetched = [record["data"]["url"] for record in of_living if record["event"] == "request.fetched"]
    assert closed["data"]["pages"] == len(fetched)
    assert closed["data"]["items"] == sum(record["event"] == "item.scraped" for record in of_living)
    # The webhook was away for a moment.
    assert hook.refused > len(hook.posts) > 0
    for headers, body in hook.posts:
        assert verify(SECRET, headers, body)
    told = [event for event in hook.events if event["worker"] == living]
    assert told == [r for r in of_living if r["event"].startswith(("crawl.", "worker."))], "all, in order"
