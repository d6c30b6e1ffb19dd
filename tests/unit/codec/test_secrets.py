"""What is named like a secret is shown to nobody."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy import FormRequest, Request, Spider
from scrapy.http import JsonRequest

from mocra_scrapy.codec.dead_letter_view import as_line
from mocra_scrapy.codec.requests import RequestCodec
from mocra_scrapy.codec.secrets import Secrets
from mocra_scrapy.models import DeadLetter

CODEC = RequestCodec(Spider("shop"), max_bytes=100_000)
SECRET = "Hunter2 &=ü"
REQUESTS = {
    "form": FormRequest("http://s.test/", formdata={"user": "joe", "password": SECRET}),
    "json": JsonRequest("http://s.test/", data={"user": "joe", "login": [{"password": SECRET}]}),
    "url": Request(f"http://s.test/?{urlencode({'user': 'joe', 'password': SECRET})}"),
    "user": Request(f"http://joe:{quote_plus('Hunter2')}@s.test/"),
    "header": Request("http://s.test/", headers={"Authorization": f"Bearer {SECRET}"}),
    "header of theirs": Request("http://s.test/", headers={"X-Key": SECRET}),
    "cookie": Request("http://s.test/", cookies={"sid": SECRET}),
    "cookie header": Request("http://s.test/", headers={"Cookie": f"user=joe; sid={SECRET}"}),
    "meta": Request("http://s.test/", meta={"deep": [{"token": {SECRET}}]}),
    "cb_kwargs": Request("http://s.test/", cb_kwargs={"my_key": SECRET}),
}


@pytest.mark.parametrize("where", REQUESTS)
def test_it_is_in_no_part_of_a_letter(where: str) -> None:
    request = REQUESTS[where]
    detail = f"failed with {SECRET!r} of joe, {request.headers} {request.url} {request.body.decode()} {request.cookies}"
    assert "Hunter2" in detail or quote_plus(SECRET) in detail
    line = as_line(DeadLetter("1", "callback", detail, CODEC.encode(request), url=request.url), ["*key*"])
    shown = json.loads(line)
    body = base64.b64decode(shown["request"].get("body", "")).decode()
    assert "Hunter2" not in line + body
    assert "***" in line + body
    if where in ("form", "json"):
        assert "joe" in body


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"user=joe&password=a%20b&password=&x", b"user=joe&password=a%20b&password=&x"),  # no form
        (b"user=joe+b&password=a%20b&password=", b"user=joe+b&password=***&password=***"),
        (b"user=joe%20b&page=2", b"user=joe%20b&page=2"),
        (b'{"password": 1, "a": [{"token": null}]}', b'{"password": "***", "a": [{"token": "***"}]}'),
        (b"[1", b"[1"),
        (b"\xff=1", b"\xff=1"),
        (b"", b""),
    ],
)
def test_bodies(body: bytes, shown: bytes) -> None:
    assert Secrets().body(body) == shown


def test_patterns_count_in_capitals_or_not() -> None:
    assert [Secrets(["*KEY*", "pin"]).is_secret(name) for name in ("MyKey", "PIN", "pinned", "page")] == [1, 1, 0, 0]
    assert not Secrets().is_secret("key")


def test_short_values_do_not_blot_out_the_text() -> None:
    secrets = Secrets()
    secrets.hide(["a", "abc", 7])
    assert secrets.text("abc is a text of 7") == "abc is a text of 7"


SECRETS = st.text("abXY09 =;", min_size=4, max_size=8)


@given(st.lists(st.text("abXY09 =;", max_size=4) | SECRETS, max_size=5).map("".join), st.lists(SECRETS, max_size=3))
def test_all_that_was_hidden_is_gone(text: str, values: list[str]) -> None:
    secrets = Secrets()
    assert secrets.hide({"any": values}) == "***"
    shown = secrets.text("|".join([text, *values]))
    assert not any(value in shown for value in values)


def test_texts_that_are_no_unicode() -> None:
    secrets = Secrets()
    secrets.hide("abc\udcff\ud800")
    assert secrets.text("<abc\udcff\ud800>") == "<***>"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/a;v=1?token=SECRET&b=2", "/a;v=1?token=***&b=2"),
        ("5; url=/n?access_token=SECRET#there", "5; url=/n?access_token=***#there"),
        ("/a?next=/b?token=SECRET", "/a?next=/b?token=***"),
        ("/a?token=SEC;RET?SECRET&b=2", "/a?token=***&b=2"),
        ("/a" + ";b=1" * 50_000 + "?token=SECRET", "/a" + ";b=1" * 50_000 + "?token=***"),
        ("/a?b=1;c=2", "/a?b=1;c=2"),
    ],
)
def test_parameters_wherever_they_stand(url: str, shown: str) -> None:
    assert Secrets().url(url) == shown
