"""Workers share compression dictionaries: made of a crawl's first requests, there before anybody
needs them.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from scrapy import Request

from mocra_scrapy.backends import open_backend
from mocra_scrapy.codec import dictionaries as _packing
from mocra_scrapy.codec.compression import wanted
from mocra_scrapy.codec.dictionaries import FIRST
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.interfaces import IRequestQueue
from mocra_scrapy.models import Entry, QueueOptions
from mocra_scrapy.scheduler import Scheduler
from tests.integration.worker.scheduling import CRAWL, dequeue, drained, eventually, opened


@pytest.fixture
def shared() -> dict[str, Any]:
    """Settings of workers that share a backend in this process."""
    return {"MOCRA_BACKEND": f"memory://{secrets.token_hex(4)}", "MOCRA_COMPRESSION": "on", "MOCRA_CLOSE": "never"}


@asynccontextmanager
async def look(settings: dict[str, Any]) -> AsyncIterator[IRequestQueue]:
    backend = open_backend(settings["MOCRA_BACKEND"])
    yield backend.request_queue(CRAWL, QueueOptions())
    await backend.close()


def requests(first: int, count: int) -> list[Request]:
    """As a page's links arrive: with their Referer and depth."""
    return [
        Request(
            f"http://foo.test/library/chapter{n % 17}/page{n}.html",
            headers={"Referer": f"http://foo.test/library/chapter{n % 13}/"},
            meta={"depth": 2},
        )
        for n in range(first, first + count)
    ]


async def trained(scheduler: Scheduler, first: int = 0) -> None:
    """Let *scheduler* store enough for a dictionary and wait for it."""
    for request in requests(first, FIRST):
        assert scheduler.enqueue_request(request)
    await eventually(lambda: scheduler.worker.codec._current)


async def test_first_requests_make_a_dictionary_and_all_come_back(shared: dict[str, Any]) -> None:
    async with opened(**shared) as scheduler, look(shared) as queue:
        await trained(scheduler)
        more = requests(FIRST, 200)
        for request in more:
            assert scheduler.enqueue_request(request)
        await eventually(lambda: not scheduler.worker.outbox)
        stored = await queue.dictionaries()
        assert list(stored.contents) == [stored.current]
        bodies = [entry.body for entry in await queue.peek(1000)]
        packed = [body for body in bodies if wanted(body) == stored.current]
        assert len(packed) >= 150
        assert max(map(len, packed)) < 60
        scheduler.worker.dispatcher._cache._size = 0  # type: ignore[misc]  # nothing is recalled: all is decoded
        urls = {(await dequeue(scheduler)).url for _ in range(FIRST + 200)}
        assert urls == {request.url for request in [*requests(0, FIRST), *more]}
        await drained(scheduler)
    assert scheduler.crawler.stats.get_value("mocra/codec/dictionaries") == 1
    payload, small = (scheduler.crawler.stats.get_value(f"mocra/codec/{x}_bytes") for x in ("payload", "stored"))
    assert 0 < small < payload


async def test_another_worker_reads_what_it_has_no_dictionary_for_yet(shared: dict[str, Any]) -> None:
    async with opened(**shared) as reader, opened(**shared) as writer:
        await eventually(lambda: not reader.worker.codec._doubt)  # it has looked: there was none
        assert not reader.worker.codec._known
        await trained(writer)
        late = {request.url for request in requests(FIRST, 100)}
        for request in requests(FIRST, 100):
            writer.enqueue_request(request)
        await eventually(lambda: not writer.worker.outbox)
        while (await dequeue(reader)).url not in late:
            pass
        assert list(reader.worker.codec._known) == list(writer.worker.codec._known)
        assert reader.crawler.stats.get_value("mocra/scheduler/unreadable") is None


@pytest.mark.parametrize("setting", ["off", "auto"])
async def test_what_is_compressed_is_read_whatever_the_setting(shared: dict[str, Any], setting: str) -> None:
    async with look(shared) as queue, opened(**shared) as first:
        await trained(first)
        first.enqueue_request(Request("http://foo.test/library/chapter1/last.html", priority=5))
        await eventually(lambda: not first.worker.outbox)
        await first.mocra.queue.close_worker(first.mocra.worker)
        assert any(wanted(entry.body) is not None for entry in await queue.peek(1000))
        first.worker.status.leasing = False  # type: ignore[union-attr]
        async with opened(**{**shared, "MOCRA_COMPRESSION": setting}) as reader:
            assert (await dequeue(reader)).url == "http://foo.test/library/chapter1/last.html"
            for request in requests(1000, FIRST + 10):
                reader.enqueue_request(request)
            for _ in range(FIRST + 10):
                await dequeue(reader)
            assert reader.crawler.stats.get_value("mocra/codec/dictionaries") is None
            assert len((await queue.dictionaries()).contents) == 1


async def test_of_two_that_train_one_wins(shared: dict[str, Any]) -> None:
    async with opened(**shared) as a, opened(**shared) as b, look(shared) as queue:
        for scheduler, first in ((a, 0), (b, 5000)):
            for request in requests(first, FIRST):
                scheduler.enqueue_request(request)
        await eventually(lambda: a.worker.codec._current and b.worker.codec._current)
        assert a.worker.codec._current is not None
        assert b.worker.codec._current is not None
        assert (
            a.worker.codec._current.identity == b.worker.codec._current.identity == (await queue.dictionaries()).current
        )
        made = [s.crawler.stats.get_value("mocra/codec/dictionaries") for s in (a, b)]
        assert sorted(made, key=str) == [1, None]


async def test_a_dictionary_that_nobody_has_makes_dead_letters_and_holds_up_little(
    shared: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_packing, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(_packing, "PATIENCE", 1.0)
    monkeypatch.setattr("mocra_scrapy.worker.dispatcher.PUT_OFF", 0.2)
    async with opened(**shared) as scheduler, look(shared) as queue:
        for n in range(3):
            scheduler.worker.outbox.push(Entry(b"\x02\xab\xcd foreign %d" % n, "foo.test"), Request("http://foo.test/"))
        scheduler.enqueue_request(Request("http://foo.test/good"))
        assert (await dequeue(scheduler)).url == "http://foo.test/good"
        await eventually(
            lambda: scheduler.next_request() or scheduler.crawler.stats.get_value("mocra/queue/buried") == 3
        )
        assert {letter.reason for letter in await queue.dead()} == {"unreadable"}
        assert "dictionary abcd, which is not stored" in (await queue.dead())[0].detail
        assert caplog.text.count("Compression dictionary abcd is not stored") == 1, "looked for once, not for each"


async def test_a_missing_dictionary_is_looked_for_in_one_exchange_only(
    shared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next leases that want it hold up nobody."""
    monkeypatch.setattr(_packing, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(_packing, "PATIENCE", 0.0)  # nobody will store it again
    monkeypatch.setattr(_packing, "MISSING", 3600.0)
    async with opened(**shared) as scheduler, look(shared) as queue:
        dictionaries, looks = scheduler.mocra.queue.dictionaries, []

        async def counted() -> Any:
            looks.append(1)
            return await dictionaries()

        monkeypatch.setattr(scheduler.mocra.queue, "dictionaries", counted)
        stats, seen = scheduler.crawler.stats, []
        for n in range(3):
            scheduler.worker.outbox.push(Entry(b"\x02\xab\xcd foreign %d" % n, "foo.test"), Request("http://foo.test/"))
            scheduler.worker.status.kick()
            await eventually(lambda n=n: scheduler.next_request() or stats.get_value("mocra/queue/buried") == n + 1)
            seen.append(len(looks))
        assert seen[0] >= 3
        assert seen[0] == seen[1] == seen[2]
        assert len(await queue.dead()) == 3


async def test_a_dictionary_that_comes_late_is_waited_for(
    shared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a fail-over that lost it, the worker that writes with it stores it again; who reads
    meanwhile looks again.
    """
    async with opened(**shared) as writer:
        await trained(writer)
        made = writer.worker.codec._current
        assert made is not None
    async with opened(**shared) as reader, look(shared) as queue:
        await eventually(lambda: not reader.worker.codec._doubt)
        reader.worker.codec._known.clear()
        looks = 0
        kept = reader.mocra.queue.dictionaries

        async def dictionaries() -> Any:
            nonlocal looks
            looks += 1
            if looks == 1:
                raise BackendUnavailable("away")
            return await kept() if looks > 2 else type(await kept())()

        monkeypatch.setattr(reader.mocra.queue, "dictionaries", dictionaries)
        request = Request("http://foo.test/library/chapter1/late.html", priority=9)
        body = made.compress(reader.worker.codec.encode(request))
        reader.worker.outbox.push(Entry(body, "foo.test", 9), request)
        found = {(await dequeue(reader)).url for _ in range(40)}
        assert request.url in found
        assert looks >= 3
        assert not list(await queue.dead())


async def test_what_we_write_with_is_stored_again(shared: dict[str, Any]) -> None:
    async with opened(**shared) as scheduler, look(shared) as queue:
        await trained(scheduler)
        assert scheduler.worker.codec._current is not None
        identity = scheduler.worker.codec._current.identity
        stored = scheduler.mocra.queue._crawl.dictionaries  # type: ignore[attr-defined]
        stored.current = None
        stored.contents.clear()  # as a fail-over that lost the last writes
        scheduler.worker.codec.doubt()
        scheduler.enqueue_request(Request("http://foo.test/library/chapter1/again.html"))
        await eventually(lambda: not scheduler.worker.outbox)
        await eventually(lambda: stored.current == identity)
        # A crawl that was cleared by hand begins again, in run 0.
        await queue.clear()
        scheduler.enqueue_request(Request("http://foo.test/library/chapter1/cleared.html"))
        await eventually(lambda: scheduler.mocra.queue._crawl.dictionaries.current == identity)  # type: ignore[attr-defined]


async def test_one_that_can_not_be_stored_again_is_not_written_with(shared: dict[str, Any]) -> None:
    async with opened(**shared) as scheduler:
        await trained(scheduler)
        stored = scheduler.mocra.queue._crawl.dictionaries  # type: ignore[attr-defined]
        full = {n: b"other" for n in range(100) if n != scheduler.worker.codec._current.identity}  # type: ignore[union-attr]
        full[200] = b"other"
        stored.contents, stored.current = full, 1
        scheduler.worker.codec.doubt()
        scheduler.enqueue_request(Request("http://foo.test/x"))
        await eventually(lambda: scheduler.worker.codec._current is None)
        payload = scheduler.worker.codec.encode(Request("http://foo.test/library/chapter1/plain.html"))
        assert scheduler.worker.codec.pack(payload, Request("http://foo.test/")) == payload


async def test_credentials_do_not_become_part_of_a_dictionary(shared: dict[str, Any]) -> None:
    async with opened(**shared) as scheduler, look(shared) as queue:
        for request in requests(0, FIRST):
            scheduler.enqueue_request(request.replace(cookies={"session": "c00kie-secret"}))
        for request in requests(1000, FIRST):
            scheduler.enqueue_request(request.replace(headers={"Authorization": "Basic aut-secret"}))
        for request in requests(2000, FIRST):
            scheduler.enqueue_request(request.replace(headers={"Cookie": "h=head-secret"}))
        await eventually(lambda: not scheduler.worker.outbox)
        assert (await queue.dictionaries()).contents == {}
        for request in requests(4000, FIRST):
            scheduler.enqueue_request(request)
        await eventually(lambda: scheduler.worker.codec._current)
        (content,) = (await queue.dictionaries()).contents.values()
        assert b"library/chapter" in content
        assert b"secret" not in content


async def test_a_codec_of_the_users_own_is_left_alone(shared: dict[str, Any]) -> None:
    async with (
        opened(**shared, MOCRA_CODEC="tests.integration.codec.test_dictionaries.UrlCodec") as scheduler,
        look(shared) as queue,
    ):
        for request in requests(0, FIRST + 50):
            scheduler.enqueue_request(request)
        await eventually(lambda: not scheduler.worker.outbox)
        scheduler.worker.dispatcher._cache._size = 0  # type: ignore[misc]
        assert {(await dequeue(scheduler)).url for _ in range(FIRST + 50)} == {r.url for r in requests(0, FIRST + 50)}
        assert (await queue.dictionaries()).contents == {}


class UrlCodec:
    """Bytes that begin as compressed ones of ours do."""

    def __init__(self, spider: Any, *, max_bytes: int) -> None: ...

    def encode(self, request: Request) -> bytes:
        return b"\x02" + request.url.encode()

    def decode(self, payload: bytes) -> Request:
        return Request(payload[1:].decode())


async def test_seeds_are_named_by_what_they_are_not_by_how_they_are_stored(shared: dict[str, Any]) -> None:
    async with opened(**shared) as scheduler:
        request = Request("http://foo.test/library/chapter1/seed.html", dont_filter=True)
        before = scheduler.worker.codec.encode(request)
        await trained(scheduler)
        names: list[bytes | None] = []
        assert scheduler.worker.seeder is not None
        scheduler.worker.seeder._seed = request
        kept = scheduler.worker.seeder.fingerprint
        scheduler.worker.seeder.fingerprint = lambda fp, body: names.append(body) or kept(fp, body)  # type: ignore[method-assign, func-returns-value]
        scheduler.enqueue_request(request)
        assert names == [before]


async def test_training_that_fails_is_tried_again(shared: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with opened(**shared) as scheduler:
        kept = scheduler.mocra.queue.add_dictionary

        async def away(*args: Any, **kwargs: Any) -> None:
            scheduler.mocra.queue.add_dictionary = kept  # type: ignore[method-assign]
            raise BackendUnavailable("away")

        scheduler.mocra.queue.add_dictionary = away  # type: ignore[method-assign]
        for request in requests(0, FIRST):
            scheduler.enqueue_request(request)
        await eventually(lambda: "Storing a compression dictionary: away" in caplog.text)
        assert scheduler.worker.codec._current is None
        await trained(scheduler, 5000)


@pytest.mark.parametrize("kind", ["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def test_a_deleted_dictionary_is_stored_again_by_who_holds_it(
    kind: str,
    shared: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    """Requests that need it wait for that, and are no dead letters. From a server it is deleted as
    somebody's hand or ``maxmemory-policy`` would.
    """
    if kind == "redis":
        shared["MOCRA_BACKEND"] = request.getfixturevalue("redis_url")
    monkeypatch.setattr(_packing, "PAUSES", (0.0,))
    monkeypatch.setattr(_packing, "MISSING", 0.1)
    monkeypatch.setattr("mocra_scrapy.worker.dispatcher.PUT_OFF", 0.2)
    shared["MOCRA_IDLE_POLL"] = 0.1
    async with opened(**{**shared, "MOCRA_PREFETCH": 0}) as holder, look(shared) as queue:
        await trained(holder)
        for request in requests(FIRST, 60):
            assert holder.enqueue_request(request)
        await eventually(lambda: not holder.worker.outbox)
        if kind == "redis":
            with redis.Redis.from_url(shared["MOCRA_BACKEND"]) as server:
                assert server.delete(*server.keys("*:dictionaries")) == 1
        else:
            queue._crawl.dictionaries.contents.clear()  # type: ignore[attr-defined]
            queue._crawl.dictionaries.current = None  # type: ignore[attr-defined]
        assert not (await queue.dictionaries()).contents
        async with opened(**shared) as reader:
            stats = reader.worker.crawler.stats

            async def restored() -> None:
                await eventually(lambda: stats.get_value("mocra/scheduler/put_off"))
                monkeypatch.setattr(_packing, "CHECK", 0.2)  # not before: nothing would be missing

            restoring = asyncio.ensure_future(restored())
            urls = {(await dequeue(reader)).url for _ in range(FIRST + 60)}
            assert len(urls) == FIRST + 60
            await restoring
            await drained(reader)
            assert stats.get_value("mocra/scheduler/put_off")
        assert (await queue.size()).dead == 0
        assert "was missing beside the queue and has been stored again" in caplog.text
