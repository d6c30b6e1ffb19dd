"""Dead letters as JSON: everything that helps, no secrets, whatever the bytes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import date

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy import FormRequest, Request, Spider
from scrapy.utils.request import fingerprint

from mocra_scrapy.backends.redis.dead_letters import open_letter
from mocra_scrapy.codec.dead_letter_view import as_json, as_line, as_text, fingerprint_of, request_of
from mocra_scrapy.codec.requests import META, RequestCodec
from mocra_scrapy.codec.spider_objects import CLASS, ITEM, METHOD, PAGE_METHOD
from mocra_scrapy.exceptions import BackendCorrupted
from mocra_scrapy.models import DeadLetter


class ShopSpider(Spider):
    name = "shop"

    def page(self, response: object) -> None: ...


SPIDER = ShopSpider()
CODEC = RequestCodec(SPIDER, max_bytes=100_000)
REQUEST = Request(
    "http://user:hunter2@s.test/p?q=ü",
    callback=SPIDER.page,
    method="POST",
    body=b"\xff\x00form",
    headers={"Authorization": "Basic hunter2", "X-Api-Key": "hunter2", "Accept": ["a", "b"], "Cookie": "c=hunter2"},
    cookies={"session": "hunter2"},
    meta={
        "day": date(2026, 1, 31),
        "set": {1},
        "tuple": (1, b"\xff"),
        "auth_token": "hunter2",
        "proxy": "http://a:hunter2@p",
    },
    cb_kwargs={"password": "hunter2", "page": 3},
    priority=4,
)


def test_a_request_is_shown_without_secrets() -> None:
    shown = request_of(CODEC.encode(REQUEST))
    assert shown is not None
    assert "hunter2" not in json.dumps(shown)
    assert base64.b64decode(shown["body"]) == REQUEST.body
    assert shown["url"] == "http://***@s.test/p?q=%C3%BC"
    assert (shown["method"], shown["callback"], shown["priority"]) == ("POST", "page", 4)
    assert shown["headers"]["Accept"] == ["a", "b"]
    assert shown["headers"]["Authorization"] == shown["headers"]["X-Api-Key"] == shown["headers"]["Cookie"] == "***"
    assert shown["meta"]["day"] == "2026-01-31"
    assert shown["meta"]["set"] == [1]
    assert shown["meta"]["tuple"] == [1, {"base64": "/w=="}]
    assert shown["cb_kwargs"] == {"password": "***", "page": 3}
    assert shown["cookies"] == "***"


def test_what_only_the_spiders_process_has_is_shown_by_name() -> None:
    def meta(code: int, plain: object) -> object:
        body = b"\x01" + msgpack.packb(
            [0, "http://s.test/", {META: {"v": msgpack.ExtType(code, msgpack.packb(plain))}}]
        )
        shown = request_of(body)
        return None if shown is None else shown["meta"]["v"]

    assert meta(ITEM, ["shop.Book", {"title": "t"}]) == {"shop.Book": {"title": "t"}}
    assert meta(METHOD, "parse") == "parse"
    assert meta(METHOD, ["parse", [1], {}]) == {"method": ["parse", [1], {}]}
    assert meta(CLASS, "shop.Book") == "shop.Book"
    assert meta(PAGE_METHOD, ["click", ["a"], {}]) == {"scrapy_playwright.page.PageMethod": ["click", ["a"], {}]}
    assert meta(PAGE_METHOD + 1, ["click", ["a"], {}]) is None


def test_a_plain_request_is_short() -> None:
    assert request_of(CODEC.encode(Request("http://s.test/"))) == {"url": "http://s.test/", "method": "GET"}


@given(st.binary(max_size=300))
def test_whatever_the_bytes(body: bytes) -> None:
    for data in (body, b"\x01" + body):
        letter = DeadLetter("1", "unreadable", "why", data, first_failed_at=1.5e9, died_at=1.6e9)
        shown = json.loads(as_line(letter))
        assert (shown["request"] is None) == ("payload" in shown)
        assert "unreadable" in as_text(letter)
        fingerprint_of(data)


def test_a_letter_is_shown_whole() -> None:
    letter = DeadLetter(
        "7-1", "retry", "line 1\nline 2\n", CODEC.encode(REQUEST), "s.test", 4, worker="w", retries=2, deliveries=1,
        first_failed_at=1_767_225_600.0, died_at=1_767_225_661.25, url="http://u:hunter2@s.test/", fingerprint=b"\x01" * 20,
    )  # fmt: skip
    shown = as_json(letter)
    assert (shown["died_at"], shown["first_failed_at"]) == (
        "2026-01-01T00:01:01.250+00:00",
        "2026-01-01T00:00:00.000+00:00",
    )
    assert (shown["url"], shown["fingerprint"]) == ("http://***@s.test/", "01" * 20)
    assert as_json(replace(letter, url=""))["url"] == "http://***@s.test/p?q=%C3%BC"
    text = as_text(letter)
    assert text.endswith("\nline 1\nline 2")
    assert 'request method: "POST"' in text
    assert "hunter2" not in text + as_line(letter)


@pytest.mark.parametrize(
    "request_", [Request("http://s.test/b?z=1&a=2"), FormRequest("http://s.test/", formdata={"a": "b"}), REQUEST]
)
def test_the_fingerprint_is_scrapys(request_: Request) -> None:
    assert fingerprint_of(CODEC.encode(request_)) == fingerprint(request_)
    assert fingerprint_of(b"") is None
    assert fingerprint_of(b"\x80x") is None


def test_letters_of_version_0_1_are_read() -> None:
    old = msgpack.packb([b"s", 9, 1, -1, b"body", b"unreadable", b"why", b"w", 1_700_000_000_500], use_bin_type=False)
    letter = open_letter("1-0", old)
    assert letter == DeadLetter(
        "1-0", "unreadable", "why", b"body", "s", 4, False, 1, "w", 1_700_000_000.5, None, first_failed_at=1_700_000_000.5,
        delivery="1-0",
    )  # fmt: skip
    for foreign in (b"", b"\xc1", msgpack.packb(3), msgpack.packb([1] * 9), msgpack.packb([b"s", 1, 1])):
        with pytest.raises(BackendCorrupted, match="dead letter '1-0' can't be read"):
            open_letter("1-0", foreign)
