"""Credentials of a proxy are not stored, and whoever fetches the request next has his own."""

from __future__ import annotations

import pytest
from scrapy import Request, Spider
from scrapy.downloadermiddlewares.httpproxy import HttpProxyMiddleware

from mocra_scrapy.codec.requests import IRequestCodec, PickleCodec, RequestCodec


class OneSpider(Spider):
    name = "one"


@pytest.fixture(params=[RequestCodec, PickleCodec])
def codec(request: pytest.FixtureRequest) -> IRequestCodec:
    made: IRequestCodec = request.param(OneSpider(), max_bytes=10**6)
    return made


@pytest.fixture
def of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://user:hunter2@proxy.test:8080")


def proxied(request: Request) -> Request:
    """As it leaves the downloader middleware."""
    HttpProxyMiddleware().process_request(request)
    return request


@pytest.mark.usefixtures("of_the_environment")
def test_the_next_worker_asks_its_own_environment(codec: IRequestCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry is a copy of what was proxied already. It must not name a proxy without its password,
    which would answer 407.
    """
    request = proxied(Request("http://s.test/", meta={"mine": 1}))
    assert request.headers["Proxy-Authorization"]
    payload = codec.encode(request.copy())
    assert b"proxy.test" not in payload
    assert b"hunter2" not in payload
    again = codec.decode(payload)
    assert again.meta == {"mine": 1}
    assert proxied(again).meta == request.meta
    assert again.headers == request.headers
    monkeypatch.setenv("http_proxy", "http://other:name@elsewhere.test:3128")
    assert proxied(codec.decode(payload)).meta["proxy"] == "http://elsewhere.test:3128"


@pytest.mark.usefixtures("of_the_environment")
def test_a_proxy_of_the_spiders_own_is_kept(codec: IRequestCodec) -> None:
    """Also where it takes the place of the environment's, in meta that was copied from a response."""
    first = proxied(Request("http://s.test/"))
    for meta in ({"proxy": "http://a:b@mine.test:1"}, {**first.meta, "proxy": "http://a:b@mine.test:1"}):
        again = codec.decode(codec.encode(Request("http://s.test/", meta=meta)))
        assert again.meta["proxy"] == "http://mine.test:1"
        assert proxied(again).meta["proxy"] == "http://mine.test:1"


@pytest.mark.usefixtures("of_the_environment")
def test_no_proxy_on_purpose_stays_so(codec: IRequestCodec) -> None:
    again = codec.decode(codec.encode(proxied(Request("http://s.test/", meta={"proxy": None}))))
    assert again.meta["proxy"] is None
    assert proxied(again).meta["proxy"] is None
