"""Entries on the backend: what comes back, how old it is, and what happens to those that are damaged."""

from __future__ import annotations

import asyncio
import gzip
import logging
import random
import sys
import threading
from typing import Any

import brotli
import pytest

from mocra_scrapy.cache.httpcache import page_dictionary, pages
from mocra_scrapy.cache.httpcache.listing import purge
from mocra_scrapy.cache.httpcache.messages import Answer, Stored
from mocra_scrapy.cache.httpcache.page_dictionary import PageDictionary
from mocra_scrapy.cache.httpcache.pages import SharedPages
from tests.integration.httpcache.conftest import MakeWorker, Worker
from tests.unit.cache.httpcache.exchanges import NOW, URL, answer, ask, fields, stored

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


async def test_entries_come_back_with_their_age_by_the_servers_clock(worker: MakeWorker) -> None:
    """Neither the clock of who stored it nor that of who reads it has to be right."""
    one, other = await worker("a"), await worker("b")
    page = stored(body=b"x" * 5000, cache_control="max-age=60", vary="foo", asked=ask(foo="1"))
    one.now = NOW + 7  # it waited for 7 seconds before it was stored
    name = one.pages.name(URL)
    assert await one.pages.write(name, [page])
    for wrong in (0.0, 3600.0, -3600.0):
        other.now = NOW + wrong
        (got,) = await other.pages.read(name)
        assert (got.answer, got.selecting) == (page.answer, {b"foo": b"1"})
        assert got.received == pytest.approx(other.now - 7, abs=120), "and the time of this test"
        assert got.took == 0.5
        assert got.requested == pytest.approx(got.received - 0.5)


async def test_a_stored_page_is_bytes_of_nobody_else(worker: MakeWorker) -> None:
    one = await worker()
    assert one.pages.name("http://user:pw@a.test/x#y") == one.pages.name("http://user:pw@a.test/x")
    assert one.pages.name("http://user:pw@a.test/x").startswith("page:a.test/")
    assert one.pages.name("http://a.test/x") != one.pages.name("http://a.test/X")


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value[: len(value) // 2],
        lambda value: value[:-1],
        lambda value: value[:1],
        lambda value: b"",
        lambda value: b"\x01" + value[1:],
        lambda value: b"\x02" + value[1:],
        lambda value: bytes([value[0]]) + bytes(len(value) - 1),
        lambda value: b"foreign",
    ],
)
async def test_a_damaged_entry_is_a_miss_and_one_line(
    damage: object, worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    one = await worker()
    name = one.pages.name(URL)
    await one.pages.write(name, [stored(body=b"<p>a page</p>" * 100, cache_control="max-age=60")])
    found = await one.cache.get(name)
    assert found is not None
    await one.cache.set(name, damage(found.value), 60)  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await one.pages.read(name) == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert name in caplog.text
    assert one.stats["mocra/httpcache/unreadable"] == 3


async def test_bounds_of_bytes_and_of_age(worker: MakeWorker) -> None:
    one = await worker(entry_max_bytes=2048)
    name = one.pages.name(URL)
    noise = random.Random(1).randbytes(2048)
    assert not await one.pages.write(name, [stored(body=noise, cache_control="max-age=60")])
    assert one.stats["mocra/httpcache/too_large"] == 1
    assert await one.pages.write(name, [stored(body=b"x" * 20_000, cache_control="max-age=60")]), "as it is stored"
    assert not await one.pages.write(name, [stored(body=b"x" * 2048 * 20, cache_control="max-age=60")]), "no bombs"
    short = await worker(keep=60.0)
    one.now = NOW + 61
    await one.pages.write(name, [stored(cache_control="max-age=600")])
    assert await one.pages.read(name)
    assert await short.pages.read(name) == [], "HTTPCACHE_EXPIRATION_SECS counts for what is there"


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_what_came_coded_is_stored_as_it_is(coding: str, worker: MakeWorker) -> None:
    one, name = await worker(), ""
    body = b"<html>" + b"a line of the page\n" * 500
    packed = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstd.compress}[coding](body)
    coded = Answer(200, fields(content_encoding=coding, content_length=str(len(packed)), etag='"1"'), packed, URL)
    name = one.pages.name(URL)
    await one.pages.write(name, [Stored(coded, {}, NOW, NOW)])
    (got,) = await one.pages.read(name)
    assert got.answer.body == body
    assert got.fields.keys() == {b"etag"}
    for broken in (packed[:-9], b"none", packed + b"more"):
        await one.pages.write(name, [Stored(Answer(200, coded.fields, broken, URL), {}, NOW, NOW)])
        (got,) = await one.pages.read(name)
        assert (got.answer.body, got.fields) == (broken, coded.fields), "what can't be decoded is left alone"
    for other in ({"decoding": False}, {"download_maxsize": len(body) - 1}):  # Scrapy drops it behind the cache
        plain = await worker(**other)
        await plain.pages.write(name, [Stored(coded, {}, NOW, NOW)])
        (got,) = await plain.pages.read(name)
        assert got.answer == coded


def pages_of_a_site(n: int) -> list[bytes]:
    menu = "".join(f"<li><a href=/{random.Random(i).getrandbits(40)}>entry {i}</a>" for i in range(60))
    return [f"<html><title>{i}</title>{menu}<p>{random.Random(-i).getrandbits(800)}".encode() for i in range(n)]


async def test_a_dictionary_is_trained_once_for_the_scope(worker: MakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_dictionary, "SAMPLES", 60)
    monkeypatch.setattr(page_dictionary, "SIZE", 4096)
    one, other = await worker("a"), await worker("b")
    bodies = pages_of_a_site(80)
    for n, body in enumerate(bodies):
        await one.pages.write(f"p{n}", [stored(body=body)], personal=n < 10)
    while one.pages.dictionary.current is None:
        await asyncio.sleep(0.01)
    before = one.stats["mocra/httpcache/stored_bytes"]
    for n, body in enumerate(bodies):
        await one.pages.write(f"q{n}", [stored(body=body)])
    assert one.stats["mocra/httpcache/stored_bytes"] - before < before / 2
    (got,) = await other.pages.read("q7")
    assert got.answer.body == bodies[7], "another worker finds it"
    (got,) = await other.pages.read("p7")
    assert got.answer.body == bodies[7]
    for n, body in enumerate(bodies):
        await other.pages.write(f"r{n}", [stored(body=body)])
    assert one.pages.dictionary.current is not None
    assert other.pages.dictionary.known.keys() == one.pages.dictionary.known.keys(), "who comes second takes it"
    await one.cache.delete([page_dictionary.NAME])
    third = await worker("c")
    assert await third.pages.read("q7") == [], "without it, a miss"
    assert third.stats["mocra/httpcache/unreadable"] == 1
    monkeypatch.setattr(page_dictionary, "CHECK", 0.0)
    monkeypatch.setattr(page_dictionary, "SAMPLES", 1000)
    while one.pages.dictionary.current is not None:
        await one.pages.write("q8", [stored(body=bodies[8])])
        await asyncio.sleep(0.001)
    assert await one.cache.get(page_dictionary.NAME) is None, "nobody brings it back"
    await one.pages.write("q8", [stored(body=bodies[8])])
    assert await third.pages.read("q8"), "what is written from now on can be read"


async def trained(one: Worker, bodies: list[bytes]) -> None:
    """Store *bodies*, twice; the second time with a dictionary."""
    for n, body in enumerate(bodies):
        await one.pages.write(f"page:a.test/p{n}", [stored(body=body)])
    while one.pages.dictionary.current is None:
        await asyncio.sleep(0.01)
    for n, body in enumerate(bodies):
        await one.pages.write(f"page:b.test/q{n}", [stored(body=body)])
    assert await one.cache.get(page_dictionary.NAME)


@pytest.mark.parametrize("what", [{}, {"site": "a.test"}, {"names": ["page:a.test/p7"]}])
async def test_no_piece_of_a_deleted_page_stays_in_the_dictionary(
    what: dict[str, Any], worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_dictionary, "SAMPLES", 60)
    monkeypatch.setattr(page_dictionary, "SIZE", 4096)
    one, other = await worker("a"), await worker("b")
    bodies = pages_of_a_site(60)
    await trained(one, bodies)
    gone = await purge(other.cache, other.pages, **what)
    assert gone == (60 if what.get("site") else 1 if what else 120)
    third = await worker("c")
    assert await third.cache.get(page_dictionary.NAME) is None
    assert await third.pages.read("page:a.test/p7") == []
    for n, body in enumerate(bodies if what else []):
        (got,) = await third.pages.read(f"page:b.test/q{n}")
        assert got.answer.body == body, "what needed it was written without"
        assert got.received == pytest.approx(NOW, abs=120), "and is as old as before"
    assert third.stats["mocra/httpcache/unreadable"] == 0
    monkeypatch.setattr(page_dictionary, "CHECK", 0.0)
    while one.pages.dictionary.current is not None:
        await one.pages.write("page:c.test/r", [stored(body=bodies[7])])
        await asyncio.sleep(0.001)
    assert await one.cache.get(page_dictionary.NAME) is None


async def test_no_dictionary_is_made_of_deleted_pages(worker: MakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_dictionary, "SAMPLES", 61)
    monkeypatch.setattr(page_dictionary, "SIZE", 4096)
    seen: list[int] = []

    def train(samples: list[bytes], *_: object) -> None:
        seen.append(len(samples))

    monkeypatch.setattr(page_dictionary, "train", train)
    one = await worker()
    bodies = pages_of_a_site(60)
    for n, body in enumerate(bodies):
        await one.pages.write(f"page:a.test/p{n}", [stored(body=body)])
    await one.cache.delete([f"page:a.test/p{n}" for n in range(50)])
    while not seen:
        await one.pages.write("page:a.test/p59", [stored(body=bodies[59])])
        await asyncio.sleep(0.001)
    assert 10 <= seen[0] <= 20, "of those that are still there"


async def test_a_page_is_deleted_for_all_users(worker: MakeWorker) -> None:
    one = await worker()
    for user in ("", "me", "you"):
        await one.pages.write(one.pages.name(URL, user), [stored()])
    await one.pages.write(one.pages.name(f"{URL}2"), [stored()])
    assert await purge(one.cache, one.pages, names=[one.pages.name(URL)]) == 3
    assert await one.pages.read(one.pages.name(f"{URL}2"))


async def test_what_is_of_somebody_is_no_sample() -> None:
    learned: list[bytes] = []

    class Silent(PageDictionary):
        def __init__(self) -> None:
            self.current = None

        def learn(self, name: str, payload: bytes) -> None:
            learned.append(payload)

    class Nowhere:
        async def set(self, name: str, value: bytes, ttl: float) -> None: ...

    from scrapy.settings import Settings

    from mocra_scrapy.settings.httpcache import read_httpcache
    from tests.integration.httpcache.conftest import Counted

    pages = SharedPages(Nowhere(), read_httpcache(Settings()), Counted(), lambda: NOW)  # type: ignore[arg-type]
    pages.dictionary = Silent()
    await pages.write("a", [stored()], personal=True)
    assert not learned
    await pages.write("a", [stored()])
    assert len(learned) == 1


async def passed(one: Worker, said: Answer) -> Answer:
    """What the client gets through this worker."""
    passage = await one.web.begin(ask())
    if hasattr(passage.decision, "answer"):
        found: Answer = passage.decision.answer
        return found
    outcome, _ = await one.web.answered(passage, said)
    return outcome.answer or said


async def test_a_page_goes_through_the_cache(worker: MakeWorker) -> None:
    one, other = await worker("a"), await worker("b")
    assert (await passed(one, answer(body=b"1", cache_control="max-age=60"))).body == b"1"
    assert (await passed(other, answer(body=b"2"))).body == b"1"
    passage = await other.web.begin(ask("POST"))
    await other.web.answered(passage, answer(201))
    assert (await passed(one, answer(body=b"3"))).body == b"3", "gone for all"
    assert (await other.web.offline(ask())) is None


async def test_large_pages_are_packed_and_read_in_a_thread(worker: MakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    here = threading.get_ident()
    on_the_loop: list[str] = []
    for name in ("pack", "compressed", "decompressed", "unpack"):
        true = getattr(pages, name)

        def watched(*args: Any, true: Any = true, name: str = name) -> Any:
            if threading.get_ident() == here:
                on_the_loop.append(name)
            return true(*args)

        monkeypatch.setattr(pages, name, watched)
    one = await worker()
    zipped = gzip.compress(b"x" * 4_000_000)
    for body, more in (
        (random.Random(1).randbytes(400_000), {}),
        (b"x" * 400_000, {}),  # small as it is stored
        (zipped, {"content_encoding": "gzip"}),  # small as it came
    ):
        assert await one.pages.write("page:a/b", [stored(body=body, cache_control="max-age=60", **more)])
        assert len((await one.pages.read("page:a/b"))[0].answer.body) >= 400_000
    assert not on_the_loop
    assert await one.pages.write("page:a/c", [stored(body=b"x" * 5000, cache_control="max-age=60")])
    assert await one.pages.read("page:a/c")
    assert on_the_loop == ["pack", "compressed", "decompressed", "unpack"], "a thread costs more"
