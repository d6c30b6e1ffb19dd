"""What is kept of a response, and the response that is made of it again."""

from __future__ import annotations

import sys

import msgpack
import pytest
from scrapy import Request
from scrapy.http import HtmlResponse, JsonResponse, Response, TextResponse, XmlResponse

from mocra_scrapy.codec import responses
from mocra_scrapy.codec.responses import StoredResponse
from mocra_scrapy.exceptions import UnreadablePayload

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

URL = "http://s.test/page?token=topsecret"


def again(response: Response, request: Request, most: int = 1000) -> Response:
    stored = StoredResponse.of(response, request, most, ["*token*"])
    return StoredResponse.unpack(stored.pack()).answering(request)


@pytest.mark.parametrize(
    ("cls", "content_type", "body"),
    [
        (HtmlResponse, b"text/html; charset=cp1251", "<p>жизнь</p>".encode("cp1251")),
        (HtmlResponse, b"text/html", '<meta charset="latin-1"><p>é</p>'.encode("latin-1")),
        (XmlResponse, b"application/xml", b"<a>x</a>"),
        (JsonResponse, b"application/json", b'{"a": 1}'),
        (TextResponse, b"text/plain", b""),
        (Response, b"image/png", b"\x89PNG\x00\x01\x02"),
    ],
)
def test_it_is_the_same_for_a_callback(cls: type[Response], content_type: bytes, body: bytes) -> None:
    def callback(response: Response) -> None: ...

    request = Request(URL, callback, meta={"depth": 2}, cb_kwargs={"n": 1})
    headers = {"Content-Type": content_type, "X-Twice": ["1", "2"]}
    response = cls(URL, 503, headers, body, ["cached"], request, protocol="HTTP/1.1")
    found = again(response, request)
    assert type(found) is cls
    for name in ("url", "status", "headers", "body", "flags", "protocol", "meta", "cb_kwargs"):
        assert getattr(found, name) == getattr(response, name), name
    if isinstance(response, TextResponse) and isinstance(found, TextResponse):
        assert found.text == response.text
    assert found.request is request, "with the callback, and all that its meta holds"


def test_secrets_are_not_stored() -> None:
    request = Request(URL, headers={"Authorization": "Basic hunter2"})
    answered = Request("http://t.test/?access_token=hunter2", meta={"redirect_urls": [URL, "http://u:hunter2@s.test/"]})
    headers = {
        "Set-Cookie": ["sid=hunter2", "b=hunter2"],
        "WWW-Authenticate": "hunter2",
        "X-Api-Key": "hunter2",
        "Location": "/next?token=hunter2",
        "Refresh": "5; url=/next?token=hunter2",
        "Link": '</a?token=hunter2>; rel="next", <http://u:hunter2@t.test/>; rel=last',
        "X-Next": "/a?token=hunter2",
        "Content-Type": "text/html; charset=utf-8",
        "Date": "today",
    }
    stored = StoredResponse.of(Response(answered.url, 302, headers, b"", [], answered), request, 1000, ["*token*"])
    packed = zstd.decompress(stored.pack())
    assert b"hunter2" not in packed
    assert b"topsecret" not in packed
    assert stored.head().splitlines() == [
        "HTTP/1.1 302",
        "Set-Cookie: ***",
        "Set-Cookie: ***",
        "Www-Authenticate: ***",
        "X-Api-Key: ***",
        "Location: /next?token=***",
        "Refresh: 5; url=/next?token=***",
        'Link: </a?token=***>; rel="next", <http://***@t.test/>; rel=last',
        "X-Next: /a?token=***",
        "Content-Type: text/html; charset=utf-8",
        "Date: today",
    ]
    # Where the URL is the request's own it is not stored a second time, and is the real one.
    assert again(Response(URL, request=request), request).url == URL


def test_what_a_redirect_made_of_the_request() -> None:
    request = Request("http://s.test/a", method="POST", body=b"x", meta={"page": 1})
    answered = Request("http://s.test/b", meta={"page": 1, "redirect_urls": [request.url], "redirect_reasons": [302]})
    found = again(HtmlResponse("http://s.test/b", body=b"b", request=answered), request)
    assert found.request is not None
    assert (found.url, found.request.url, found.request.method) == ("http://s.test/b", "http://s.test/b", "GET")
    assert found.meta == {"page": 1, "redirect_urls": [request.url], "redirect_reasons": ["302"]}
    assert request.meta == {"page": 1}


def test_of_a_long_body_the_beginning_is_kept() -> None:
    request = Request(URL)
    stored = StoredResponse.of(Response(URL, body=b"0123456789", request=request), request, 4)
    assert (stored.body, stored.size, stored.is_cut) == (b"0123", 10, True)
    assert not StoredResponse.of(Response(URL, body=b"0123", request=request), request, 4).is_cut


def test_foreign_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    good = StoredResponse(URL, 200, body=b"x" * 5000).pack()
    assert StoredResponse.unpack(good).body == b"x" * 5000
    for bad in (
        b"",
        b"rubbish",
        good[:-5],
        zstd.compress(b"\xc1"),
        zstd.compress(msgpack.packb([1])),
        zstd.compress(msgpack.packb({"url": 1})),
    ):
        with pytest.raises(UnreadablePayload, match="a stored response that can't be read"):
            StoredResponse.unpack(bad)
    # A field that a later version added does not disturb.
    assert StoredResponse.unpack(zstd.compress(msgpack.packb({"url": "", "status": 200, "new": 1}))).status == 200
    monkeypatch.setattr(responses, "MOST", 4000)
    with pytest.raises(UnreadablePayload, match="more than 4000"):
        StoredResponse.unpack(good)
