"""Seeds: which bytes are which request, what is refused and in which words, envelopes."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from scrapy import Request, Spider

from mocra_scrapy.codec.dead_letter_view import as_json
from mocra_scrapy.codec.seeds_json import ENVELOPE, default_request, request_in, requests_of, shown, unwrapped, wrapped
from mocra_scrapy.exceptions import UnreadableSeed
from mocra_scrapy.models import DeadLetter


class BooksSpider(Spider):
    name = "books"
    limit = 7

    def parse(self, response: Any) -> None: ...

    def other(self, response: Any, page: int = 0) -> None: ...

    def _hidden(self, response: Any) -> None: ...


def spider(hook: Any = None) -> Spider:
    made = BooksSpider()
    if hook is not None:
        made.make_request_from_data = hook  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize(
    "data", [b"https://a.test/x?y=%20", b"  https://a.test/x?y=%20\r\n", b"HTTPS://a.test/x?y=%20"]
)
def test_a_url_is_a_seed(data: bytes) -> None:
    (request,) = requests_of(spider(), data)
    assert request.url.lower() == "https://a.test/x?y=%20"
    assert not request.dont_filter


def test_every_field_becomes_a_part_of_the_request() -> None:
    one = spider()
    seed = {
        "url": "https://a.test/",
        "method": "POST",
        "headers": {"Accept": "text/html", "X-Two": ["a", "b"]},
        "body": "q=tée",
        "cookies": {"session": "1"},
        "callback": "other",
        "errback": "parse",
        "meta": {"depth": 2, "list": [1, None]},
        "cb_kwargs": {"page": 3},
        "priority": -5,
        "delay": 1.5,
        "dont_filter": True,
    }
    request = default_request(one, json.dumps(seed).encode())
    assert (request.method, request.body, request.priority, request.dont_filter) == ("POST", "q=tée".encode(), -5, True)
    assert request.headers.getlist("X-Two") == [b"a", b"b"]
    assert (request.callback, request.errback) == (one.other, one.parse)  # type: ignore[attr-defined]
    assert request.meta == {"depth": 2, "list": [1, None], "mocra_delay": 1.5}
    assert (request.cookies, request.cb_kwargs) == ({"session": "1"}, {"page": 3})
    assert default_request(one, b'{"url": "http://a.test"}').meta == {}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it is empty"),
        (b"not a url", "'not a url' is no http"),
        (b"file:///etc/passwd", "is no http"),
        (b'{"url": "file:///etc/passwd"}', "is no http"),
        (b"http://a.test/\xff\xfe", "is not UTF-8"),
        (b"http://a.test/ b", "has a blank"),
        (b"http://[bad/", "can't be read: Invalid IPv6 URL"),
        (b'{"url": "http://[bad/"}', "can't be read: Invalid IPv6 URL"),
        (b"http://127.0.0.1:99999/", "can't be read: Port out of range"),
        (b"http://a.test:port/", "can't be read: Port could not be cast"),
        (b"http://a.test/" + b"x" * 65536, "its URL has 65550 characters, more than 65536"),
        (b'{"url": "http://a.test/' + b"x" * 65536 + b'"}', "its URL has 65550 characters, more than 65536"),
        (b"{", "it is no seed"),
        (b"{}", "missing required field `url`"),
        (b'{"url": ""}', "at `$.url`"),
        (b'{"url": "http://a.test", "prio": 1}', "unknown field `prio`"),
        (b'{"url": "http://a.test", "priority": "1"}', "at `$.priority`"),
        (b'{"url": "http://a.test", "priority": 9007199254740993}', "at `$.priority`"),
        (b'{"url": "http://a.test", "delay": -1}', "at `$.delay`"),
        (b'{"url": "http://a.test", "headers": {"A": 1}}', "at `$.headers"),
        (b'{"url": "http://a.test", "meta": []}', "at `$.meta`"),
        (b'{"url": "http://a.test", "callback": "nothing"}', "its callback: spider 'books' has no method 'nothing'"),
        (b'{"url": "http://a.test", "errback": "_hidden"}', "its errback: spider 'books' has no method '_hidden'"),
        (b'{"url": "http://a.test", "callback": "limit"}', "has no method 'limit'"),
        (b'{"url": "http://a.test", "callback": "__init__"}', "has no method '__init__'"),
        (b'{"url": "http://a.test", "meta": ' + b"[" * 5000 + b"]" * 5000 + b"}", "it is no seed"),
    ],
)
def test_what_is_no_seed_says_why(data: bytes, problem: str) -> None:
    with pytest.raises(UnreadableSeed) as caught:
        requests_of(spider(), data)
    assert problem in str(caught.value)


def test_a_seed_that_is_too_large_is_not_looked_at() -> None:
    with pytest.raises(UnreadableSeed, match="it has 101 bytes, more than MOCRA_ENTRY_MAX_BYTES"):
        requests_of(spider(_raises), b"x" * 101, 100)
    (request,) = requests_of(spider(), b"http://a.test/".ljust(100, b"x"), 100)
    assert len(request.url) == 100


def test_the_spiders_own_word_counts() -> None:
    def hook(data: bytes) -> Any:
        return [Request(f"http://a.test/{part}") for part in data.decode().split()]

    assert [request.url for request in requests_of(spider(hook), b"x y")] == ["http://a.test/x", "http://a.test/y"]
    assert [request.url for request in requests_of(spider(lambda data: Request("http://b.test")), b"")] == [
        "http://b.test"
    ]
    assert len(requests_of(spider(lambda data: (Request(f"http://{i}.test") for i in range(3))), b"")) == 3


async def _asynchronous(data: bytes) -> Request:
    return Request("http://a.test")


def _raises(data: bytes) -> Request:
    raise KeyError("id")


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        (lambda data: None, "gave NoneType, no request"),
        (lambda data: [], "gave list, no request"),
        (lambda data: ["http://a.test"], "gave list, no request"),
        (lambda data: "http://a.test", "gave str, no request"),
        (_asynchronous, "gave coroutine, no request"),
        (_raises, "raised KeyError: 'id'"),
    ],
)
def test_a_hook_that_gives_no_request_is_told(hook: Any, problem: str) -> None:
    with pytest.raises(UnreadableSeed, match="make_request_from_data") as caught:
        requests_of(spider(hook), b"x")
    assert problem in str(caught.value)


def test_an_envelope_keeps_the_seed_and_where_it_came_from() -> None:
    body = wrapped(b"bad", "stream:books", "5-1", 10_000)
    assert unwrapped(body) == ("stream:books", "5-1", 3, b"bad")
    with pytest.raises(UnreadableSeed, match="Seed 5-1 of stream:books: 'bad' is no http"):
        request_in(spider(), body)
    # Mended meanwhile, a replay finds the request.
    assert request_in(spider(lambda data: Request("http://a.test")), body).url == "http://a.test"
    with pytest.raises(UnreadableSeed, match="makes 2 requests"):
        request_in(spider(lambda data: [Request("http://a.test")] * 2), body)


def test_an_envelope_is_never_larger_than_an_entry_may_be() -> None:
    data = b"x" * 5_000_000
    body = wrapped(data, "redis:books", "", 100_000)
    assert len(body) < 100_000
    with pytest.raises(UnreadableSeed, match="Seed of redis:books has 5000000 bytes, more than MOCRA_ENTRY_MAX_BYTES"):
        request_in(spider(lambda data: Request("http://a.test")), body)
    assert len(wrapped(data, "s" * 5000, "p" * 5000, 2000)) < 2000


@pytest.mark.parametrize(
    "rest", [b"", b"\xc1", b"x" * 40, bytes(msgpack.packb([1, 2])), bytes(msgpack.packb({"a": 1}))]
)
def test_a_damaged_envelope_is_unreadable(rest: bytes) -> None:
    assert unwrapped(ENVELOPE + rest) is None
    with pytest.raises(UnreadableSeed, match="damaged bytes"):
        request_in(spider(), ENVELOPE + rest)


def test_what_is_shown_of_a_seed_has_no_secrets() -> None:
    data = (
        b'{"url": "http://user:hunter2@a.test/", "headers": {"Authorization": "hunter2"}, "cookies": {"s": "hunter2"}}'
    )
    assert "hunter2" not in shown(data)
    assert "a.test" in shown(data)
    letter = as_json(DeadLetter("1", "seed", "why", wrapped(data, "redis:k", "", 10_000)))
    assert letter["seed"]["source"] == "redis:k"
    assert "hunter2" not in json.dumps(letter["seed"])
    assert len(shown(b"x" * 10_000)) < 300
