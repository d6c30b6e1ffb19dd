"""When a worker compresses, trains and looks: over a queue that keeps what it is given, and one that
refuses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.settings import Settings

from mocra_scrapy.codec import dictionaries as _packing
from mocra_scrapy.codec.compression import Dictionary, PayloadReader, train, wanted
from mocra_scrapy.codec.dictionaries import FIRST, NEXT, CompressingCodec
from mocra_scrapy.exceptions import NotReadableYet
from mocra_scrapy.models import StoredDictionaries
from mocra_scrapy.settings.crawl import read_options

ANY = Request("http://site.test/")


def payloads(count: int, site: str = "http://site.test/books") -> list[bytes]:
    return [f"\x01{site}/{n % 97}/{n % 89}.html parse Referer {site}/{n % 83}/".encode() for n in range(count)]


def a_dictionary(site: str = "http://site.test/books") -> Dictionary:
    made = train(payloads(400, site), None)
    assert made is not None
    return made


class Queue:
    """Keeps dictionaries as the rules say, but for those that it *refuses*."""

    def __init__(self) -> None:
        self.contents: dict[int, bytes] = {}
        self.current: int | None = None
        self.refuses = False
        self.offered: list[int] = []

    async def dictionaries(self) -> StoredDictionaries:
        return StoredDictionaries(self.current, dict(self.contents))

    async def add_dictionary(self, identity: int, content: bytes, *, instead_of: int | None) -> int | None:
        self.offered.append(identity)
        if not self.refuses and instead_of == self.current:
            self.contents[identity] = content
            self.current = identity
        return self.current


async def insist(call: Callable[[bool], Awaitable[Any]]) -> Any:
    return await call(False)


def codec_over(queue: Any, compression: str = "on", *, shared: bool = True) -> CompressingCodec:
    options = read_options(Settings({"MOCRA_COMPRESSION": compression}), "packing")
    stats: Any = SimpleNamespace(inc_value=lambda name: None, set_value=lambda name, value: None)
    return CompressingCodec(options, queue, Spider(name="packing"), stats, shared=shared)


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
async def codec(queue: Queue) -> AsyncIterator[CompressingCodec]:
    made = codec_over(queue)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("compression", "shared", "writes"),
    [("on", True, True), ("on", False, True), ("auto", True, True), ("auto", False, False), ("off", True, False)],
)
def test_who_compresses_is_asked_to_look_between_two_calls(compression: str, shared: bool, writes: bool) -> None:
    """A queue in this process answers at once; who has nothing to train or to fetch needs no loop."""
    asked = codec_over(None, compression, shared=shared)
    plain, packed = (SimpleNamespace(body=body) for body in (b"\x01x", b"\x02\xab\xcdx"))
    leases: Any = [plain]
    assert asked.is_ready(leases) is not writes
    assert not asked.is_ready([*leases, packed])


async def test_the_next_look_comes_after_four_times_as_many(
    codec: CompressingCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    packed = 0

    def looked(samples: list[bytes], current: Dictionary | None) -> None:
        looks.append(packed)

    monkeypatch.setattr(_packing, "train", looked)
    for payload in payloads(NEXT * FIRST + 2):
        codec.pack(payload, ANY)
        packed += 1
        await codec.arrived([], insist)
        if codec._task is not None:
            await codec._task
    assert looks == [FIRST, NEXT * FIRST]


async def test_what_is_too_long_to_train_with_counts_for_the_next_look(
    codec: CompressingCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three are long: FIRST samples are there after three times as many payloads."""
    looks: list[int] = []
    monkeypatch.setattr(_packing, "train", lambda samples, current: looks.append(len(samples)))
    for n, payload in enumerate(payloads(3 * FIRST)):
        codec.pack(payload if n % 3 == 0 else payload + bytes(_packing.LONGEST), ANY)
        await codec.arrived([], insist)
    if codec._task is not None:
        await codec._task
    assert looks == [FIRST]
    assert codec._due == NEXT * (3 * FIRST - 2)


async def test_one_that_was_refused_is_not_offered_at_every_look(codec: CompressingCodec, queue: Queue) -> None:
    mine = a_dictionary()
    queue.contents, queue.current = {mine.identity: mine.content}, mine.identity
    await codec.arrived([], insist)
    assert wanted(codec.pack(payloads(1)[0], ANY)) == mine.identity
    queue.contents, queue.current, queue.refuses = {}, None, True
    for _ in range(3):
        codec.doubt()
        await codec.arrived([], insist)
    assert queue.offered == [mine.identity]
    payload = payloads(1)[0]
    assert codec.pack(payload, ANY) == payload
    with pytest.raises(NotReadableYet):
        codec.decode(mine.compress(payload))


def test_who_only_looks_says_what_it_lacks() -> None:
    one, other = a_dictionary(), a_dictionary("https://shop.test/fr/produits")
    payload = payloads(1)[0]
    stored = [payload, one.compress(payload)]
    reader = PayloadReader(1 << 20)
    assert not reader.lacks([])
    assert not reader.lacks([payload])
    assert reader.lacks(stored)
    reader.load({one.identity: one.content})
    assert not reader.lacks(stored)
    assert [reader.payload(body) for body in stored] == [payload, payload]
    foreign = other.compress(payloads(1, "https://shop.test/fr/produits")[0])
    assert reader.lacks([*stored, foreign])
    assert reader.payload(foreign) == foreign
