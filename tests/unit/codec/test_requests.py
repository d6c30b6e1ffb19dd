"""What a request is made of comes back; what can't be stored is refused with the reason; the rest
is unreadable, never code.
"""

from __future__ import annotations

import datetime as dt
import pickle
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from scrapy import FormRequest, Request, Spider
from scrapy.http import JsonRequest, XmlRpcRequest
from scrapy.http.request import NO_CALLBACK

from mocra_scrapy.codec.requests import PickleCodec, RequestCodec, load_codec
from mocra_scrapy.exceptions import ConfigurationError, UnreadablePayload, UnserializableRequest

URL = "http://site.test/a?b=c"


def _decorated(function: Any) -> Any:
    def wrapper(self: Any, response: Any) -> Any:
        return function(self, response)

    return wrapper


class BookSpider(Spider):
    name = "books"
    counted = 0

    def parse_page(self, response: Any) -> None: ...

    async def parse_async(self, response: Any) -> None: ...

    def failed(self, failure: Any) -> None: ...

    def __private(self, response: Any) -> None: ...

    def private(self) -> Any:
        return self.__private

    @_decorated
    def wrapped(self, response: Any) -> None: ...

    @property
    def costly(self) -> None:
        type(self).counted += 1


@pytest.fixture
def spider() -> BookSpider:
    return BookSpider()


@pytest.fixture
def codec(spider: BookSpider) -> RequestCodec:
    return RequestCodec(spider, max_bytes=100_000)


VALUES = [
    None,
    True,
    0,
    -(2**63),
    2**64 + 1,
    -(2**200),
    0.1,
    float("inf"),
    "text ☃ \ud800",
    b"\x00\xff",
    [],
    [1, [2]],
    (),
    (1, (2, [3])),
    {"a": {1: (2,)}, b"k": None, (1, 2): "tuple key"},
    {1, 2, (3, 4)},
    frozenset({"a"}),
    dt.datetime(2030, 1, 2, 3, 4, 5, 678),
    dt.datetime(2030, 1, 2, tzinfo=dt.timezone.utc),
    dt.datetime(2030, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30), "IST")),
    dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    dt.date(1, 1, 1),
    dt.time(23, 59, 59, 999999, tzinfo=dt.timezone.utc),
    dt.timedelta(days=-1, microseconds=1),
    Decimal("1.10"),
    Decimal("NaN"),
    UUID(int=7),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_keep_their_type(codec: RequestCodec, value: Any) -> None:
    request = Request(URL, meta={"v": value}, cb_kwargs={"v": [value, (value,)]})
    back = codec.decode(codec.encode(request))
    assert repr(back.meta) == repr(request.meta)
    assert repr(back.cb_kwargs) == repr(request.cb_kwargs)
    assert type(back.meta["v"]) is type(value)
    if isinstance(value, dt.datetime) and value.tzinfo:
        assert back.meta["v"].utcoffset() == value.utcoffset()


def test_buffers_come_back_as_bytes(codec: RequestCodec) -> None:
    meta = codec.decode(codec.encode(Request(URL, meta={"a": bytearray(b"ab"), "m": memoryview(b"cd")}))).meta
    assert repr(meta) == repr({"a": b"ab", "m": b"cd"})


def test_every_attribute_comes_back(codec: RequestCodec, spider: BookSpider) -> None:
    request = Request(
        "http://site.test/ü?x=ä",
        callback=spider.parse_page,
        errback=spider.failed,
        method="PUT",
        headers={"X-Many": ["1", "2"], b"\xffodd": b"\xfe", "Empty": ""},
        body="bödy".encode("latin-1"),
        cookies=[{"name": "c", "value": "v", "domain": "site.test", "path": "/"}],
        meta={"depth": 2, "is_start_request": True},
        encoding="latin-1",
        priority=-7,
        dont_filter=True,
        flags=["f", "g"],
        cb_kwargs={"page": 3},
    )
    back = codec.decode(codec.encode(request))
    assert type(back) is Request
    for name in Request.attributes:
        assert getattr(back, name) == getattr(request, name), name
    assert back.headers.getlist("X-Many") == [b"1", b"2"]
    assert codec.encode(back) == codec.encode(request)


def test_defaults_are_not_stored(codec: RequestCodec) -> None:
    assert len(codec.encode(Request(URL))) < len(URL) + 8


@pytest.mark.parametrize(
    "request_",
    [
        FormRequest(URL, formdata={"a": "1", "b": ["2", "3"]}),
        FormRequest(URL, formdata=[("q", "x")], method="GET"),
        JsonRequest(URL, data={"a": [1, None]}, dumps_kwargs={"sort_keys": True}),
        JsonRequest(URL, body=b"{}", dont_filter=False),
        XmlRpcRequest(URL, params=(1, "two"), methodname="add"),
        XmlRpcRequest(URL, params=(1,), methodname="add", dont_filter=False),
    ],
    ids=lambda r: f"{type(r).__name__}-{r.method}",
)
def test_subclasses_come_back(codec: RequestCodec, request_: Request) -> None:
    back = codec.decode(codec.encode(request_))
    assert type(back) is type(request_)
    for name in ("url", "method", "body", "headers", "dont_filter", "encoding"):
        assert getattr(back, name) == getattr(request_, name), name


class TaggedRequest(Request):
    attributes = (*Request.attributes, "tag")

    def __init__(self, url: str, tag: str = "", **kwargs: Any) -> None:
        super().__init__(url, **kwargs)
        self.tag = tag


def test_a_subclass_must_be_registered(codec: RequestCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestCodec, "_registered", {})
    with pytest.raises(UnserializableRequest, match="TaggedRequest is not registered"):
        codec.encode(TaggedRequest(URL, "t"))
    RequestCodec.register(TaggedRequest)
    payload = codec.encode(TaggedRequest(URL, "t", priority=3))
    back = codec.decode(payload)
    assert isinstance(back, TaggedRequest)
    assert (back.tag, back.priority, back.url) == ("t", 3, URL)
    RequestCodec._registered.clear()
    with pytest.raises(UnreadablePayload):
        codec.decode(payload)  # a worker in which the class is not known does not look for it


def test_callbacks_are_methods_of_the_spider(codec: RequestCodec, spider: BookSpider) -> None:
    for callback in (spider.parse_page, spider.parse_async, spider.private(), spider.wrapped, spider.parse):
        assert codec.decode(codec.encode(Request(URL, callback=callback))).callback == callback
    assert codec.decode(codec.encode(Request(URL, callback=NO_CALLBACK))).callback is NO_CALLBACK
    assert codec.decode(codec.encode(Request(URL))).callback is None


def test_looking_for_a_callback_evaluates_no_property(codec: RequestCodec, spider: BookSpider) -> None:
    BookSpider.counted = 0
    codec.decode(codec.encode(Request(URL, callback=spider.wrapped)))
    assert BookSpider.counted == 0


@pytest.mark.parametrize("role", ["callback", "errback"])
def test_other_callbacks_are_refused(codec: RequestCodec, spider: BookSpider, role: str) -> None:
    for function in (
        lambda r: None,
        partial(print, 1),
        partial(BookSpider().parse_page, 1),
        BookSpider().parse_page,
        print,
    ):
        with pytest.raises(UnserializableRequest, match=f"^{role}: .* is not a method of spider 'books'"):
            codec.encode(Request(URL, **{role: function}))


def test_what_cannot_be_stored_is_named(codec: RequestCodec) -> None:
    class Text(str): ...

    text = Text("x")
    text.of = "page"  # type: ignore[attr-defined]

    deep: list[Any] = []
    for _ in range(100):
        deep = [(deep,)]
    itself: list[Any] = []
    itself.append((itself,))
    for meta, named in (
        ({"page": {"soup": object()}}, r"meta\['page'\]\['soup'\]: builtins.object can't be stored"),
        ({"text": text}, r"meta\['text'\]: .*Text is more than a str"),
        ({"spider": [1, BookSpider]}, r"meta\['spider'\]\[1\]: "),
        ({"huge": 1 << 5000}, "4096 bits"),
        ({"deep": deep}, "nested more than 64"),
        ({"self": itself}, "nested more than 64"),
        ({"zone": dt.datetime(2030, 1, 1, tzinfo=type("Zone", (dt.tzinfo,), {})())}, "a time zone of"),
    ):
        with pytest.raises(UnserializableRequest, match=named):
            codec.encode(Request(URL, meta=meta))
    assert codec.encode(Request(URL, meta={"after": (1,)}))  # a refusal leaves nothing behind in the packer


def test_the_size_is_bounded_both_ways(spider: BookSpider) -> None:
    small, large = RequestCodec(spider, max_bytes=300), RequestCodec(spider, max_bytes=3000)
    with pytest.raises(UnserializableRequest, match="MOCRA_ENTRY_MAX_BYTES = 300"):
        small.encode(Request(URL, body=b"x" * 300))
    with pytest.raises(UnreadablePayload, match="MOCRA_ENTRY_MAX_BYTES = 300"):
        small.decode(large.encode(Request(URL, body=b"x" * 300)))


def test_secrets_of_proxies_are_left_out(codec: RequestCodec, spider: BookSpider) -> None:
    request = Request(
        URL,
        headers={"Proxy-Authorization": "Basic c2VjcmV0", "X": "1"},
        meta={"proxy": "http://me:s3cret@proxy.test:8080", "_auth_proxy": "http://me:s3cret@proxy.test:8080", "k": 1},
    )
    for one in (codec, PickleCodec(spider, max_bytes=100_000)):
        payload = one.encode(request)
        assert b"s3cret" not in payload
        assert b"c2VjcmV0" not in payload
        back = one.decode(payload)
        assert back.meta == {"proxy": "http://proxy.test:8080", "k": 1}
        assert dict(back.headers) == {b"X": [b"1"]}
    assert request.headers["Proxy-Authorization"]
    assert request.meta["_auth_proxy"]
    short = codec.decode(codec.encode(Request(URL, meta={"proxy": "me:s3cret@proxy.test:8080"})))
    assert short.meta["proxy"] == "proxy.test:8080"


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_a_pickle_runs_nothing_unless_asked_for(codec: RequestCodec, spider: BookSpider, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    bomb = pickle.dumps(Bomb(mark))
    for payload in (bomb, b"\x80" + bomb, b"\x01" + bomb):
        with pytest.raises(UnreadablePayload):
            codec.decode(payload)
    assert not mark.exists()
    with pytest.raises(UnreadablePayload, match='written with MOCRA_CODEC = "pickle"'):
        codec.decode(b"\x80" + bomb)
    with pytest.raises(UnreadablePayload, match='written with MOCRA_CODEC = "msgpack"'):
        PickleCodec(spider, max_bytes=1000).decode(codec.encode(Request(URL)))
    with pytest.raises(UnreadablePayload):
        PickleCodec(spider, max_bytes=1000).decode(b"\x80" + bomb)
    assert mark.exists(), "the opt-in is one"


def test_a_callback_that_is_gone_is_named(codec: RequestCodec, spider: BookSpider) -> None:
    payload = codec.encode(Request(URL, callback=spider.parse_page, errback=spider.failed))

    class Newer(Spider):
        name = "books"
        parse_page = "no method any more"

    with pytest.raises(UnreadablePayload, match="callback 'parse_page' is no longer a method of spider 'books'"):
        RequestCodec(Newer(), max_bytes=1000).decode(payload)


@pytest.mark.parametrize(
    "name", ["__class__", "__init__", "name", "costly", "nothing", "", 1, None, b"parse", ["parse"]]
)
def test_a_stored_callback_is_only_ever_a_method(codec: RequestCodec, name: Any) -> None:
    import msgpack

    payload = b"\x01" + msgpack.packb([0, URL, {1: name}])
    if name is None:
        assert codec.decode(payload).callback is None
        return
    with pytest.raises(UnreadablePayload):
        codec.decode(payload)


def test_pickle_codec_keeps_what_pickle_can(spider: BookSpider) -> None:
    codec = PickleCodec(spider, max_bytes=10_000)
    request = FormRequest(URL, callback=spider.parse_page, formdata={"a": "1"}, meta={"path": Path("x")})
    back = codec.decode(codec.encode(request))
    assert (type(back), back.callback, back.meta, back.body) == (FormRequest, spider.parse_page, request.meta, b"a=1")
    for bad in (Request(URL, meta={"f": lambda: 0}), Request(URL, callback=print), Request(URL, body=b"x" * 20_000)):
        with pytest.raises(UnserializableRequest):
            codec.encode(bad)


class TheirCodec:
    def __init__(self, spider: Spider, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes

    def encode(self, request: Request) -> bytes:
        return request.url.encode()

    def decode(self, payload: bytes) -> Request:
        return Request(payload.decode())


def test_codecs_by_setting(spider: BookSpider) -> None:
    assert isinstance(load_codec("msgpack", spider, 9), RequestCodec)
    assert isinstance(load_codec("pickle", spider, 9), PickleCodec)
    theirs = load_codec(f"{__name__}.TheirCodec", spider, 9)
    assert isinstance(theirs, TheirCodec)
    assert theirs.max_bytes == 9
    for name, problem in (
        ("json", "is unknown"),
        ("no.such.Codec", "can't be made"),
        (f"{__name__}.BookSpider", "has no encode"),
        ("types.SimpleNamespace", "can't be made"),
        (f"{__name__}.Mute", "has no decode"),
    ):
        with pytest.raises(ConfigurationError, match=problem) as raised:
            load_codec(name, spider, 9)
        assert raised.value.subject == "MOCRA_CODEC"


class Mute:
    def __init__(self, spider: Spider, *, max_bytes: int) -> None: ...

    def encode(self, request: Request) -> bytes:
        return b""
