"""``scrapy mocra dead`` reads what was compressed with a dictionary of the crawl."""

from __future__ import annotations

import argparse

import pytest
from scrapy import Request, Spider
from scrapy.settings import Settings

from mocra_scrapy.backends import open_backend
from mocra_scrapy.codec.compression import Dictionary, train, wanted
from mocra_scrapy.codec.dead_letter_view import as_json, fingerprint_of
from mocra_scrapy.codec.requests import load_codec
from mocra_scrapy.commands.verbs.dead import Action
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Burial, Entry, QueueOptions
from mocra_scrapy.settings.crawl import read_options

pytestmark = pytest.mark.redis


class OneSpider(Spider):
    name = "one"


def a_dictionary(payloads: list[bytes]) -> Dictionary:
    made = train(payloads, None)
    assert made is not None
    return made


async def test_letters_of_compressed_requests_are_read(redis_url: str) -> None:
    codec = load_codec("msgpack", OneSpider(), 1 << 20)
    urls = [f"http://shop.test/products/{n}?colour={n % 7}&size={n % 5}" for n in range(400)]
    payloads = [codec.encode(Request(url, headers={"Referer": "http://shop.test/products"})) for url in urls]
    dictionary = a_dictionary(payloads)
    backend = open_backend(redis_url)
    await backend.open()
    queue = backend.request_queue("one", QueueOptions())
    try:
        await queue.join("w")
        await queue.add_dictionary(dictionary.identity, dictionary.content, instead_of=None)
        session = QueueSession(queue, "w")
        stored = dictionary.compress(payloads[7])
        assert wanted(stored) == dictionary.identity
        foreign = b"\x02\xff\xff" + stored[3:] if dictionary.identity != 0xFFFF else b"\x02\x00\x00" + stored[3:]
        await session.push([Entry(stored), Entry(foreign), Entry(payloads[8])])
        await session.bury([Burial(lease, "deliveries") for lease in await session.lease(3)])
        options = argparse.Namespace(
            action="list", records=None, reason=None, slot=None, since=None, until=None, limit=None, all=False
        )
        settings = Settings({"MOCRA_BACKEND": redis_url, "MOCRA_CRAWL": "one"})
        action = Action(options, settings, read_options(settings, "one"), [])
        letters = [letter async for page in action._letters(queue, None) for letter in page]
        assert [as_json(letter)["url"] for letter in letters] == [urls[7], None, urls[8]]
        assert fingerprint_of(letters[0].body) is not None
        assert letters[1].body == foreign
        named = Action(options, settings, action.chosen, [letters[0].id])
        (only,) = [letter async for page in named._letters(queue, None) for letter in page]
        assert only.body == payloads[7]
    finally:
        await queue.close()
        await backend.close()
