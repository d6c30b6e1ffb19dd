"""A value through the store, alone and deep within others."""

from __future__ import annotations

from typing import Any

from scrapy import Request, Spider
from scrapy.http import HtmlResponse
from scrapy.http.cookies import CookieJar

from mocra_scrapy.codec.dead_letter_view import request_of
from mocra_scrapy.codec.requests import RequestCodec

URL = "http://site.test/"
PAGE = "<html><a href='/a' title='t'>text <b>bold</b></a></html>"


class ItemSpider(Spider):
    name = "items"

    def parse_item(self, response: Any, *args: Any, **kwargs: Any) -> None: ...

    @staticmethod
    def static(response: Any) -> None: ...

    @classmethod
    def of_class(cls, response: Any) -> None: ...


def through(codec: RequestCodec, value: Any) -> Any:
    """*value*, alone and deep within others, through the store."""
    request = Request(URL, meta={"v": value}, cb_kwargs={"v": [({"k": value},)]})
    payload = codec.encode(request)
    back = codec.decode(payload)
    assert codec.encode(back) == payload, "the same bytes once more"
    assert type(back.cb_kwargs["v"][0][0]["k"]) is type(back.meta["v"])
    assert request_of(payload), "people can read it"
    return back.meta["v"]


def jar() -> CookieJar:
    found = CookieJar()
    response = HtmlResponse(URL, headers={"Set-Cookie": ["a=b; Path=/; HttpOnly; Max-Age=1000", "c=d"]})
    found.extract_cookies(response, Request(URL))
    return found
