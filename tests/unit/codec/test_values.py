"""What real projects put into ``meta`` and ``cb_kwargs`` comes back as it was, or is refused with
the fix; what names a class or a method names only what is there.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import sys
import time
import types
from collections import Counter, OrderedDict, defaultdict, deque
from functools import partial
from http import HTTPStatus
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlparse, urlsplit

import pytest
from scrapy import Request, Selector
from scrapy.http import Headers
from scrapy.link import Link
from scrapy.utils.datatypes import CaseInsensitiveDict

from mocra_scrapy.codec.item_classes import ItemClasses
from mocra_scrapy.codec.requests import RequestCodec
from mocra_scrapy.exceptions import UnreadablePayload, UnserializableRequest
from tests.unit.codec.project_items import ITEMS, Book, Colour, Money, Offer
from tests.unit.codec.stored_values import PAGE, URL, ItemSpider, jar, through

LIBRARY = [
    Path("/a/b"),
    PurePosixPath("a"),
    PureWindowsPath("c:\\a"),
    1 - 2j,
    range(1, 10, 3),
    slice(None, 5),
    re.compile(r"a(\d+)", re.IGNORECASE),
    re.compile(rb"\x00"),
    ipaddress.ip_address("10.0.0.1"),
    ipaddress.ip_address("fe80::1%eth0"),
    ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_network("::/0"),
    ipaddress.ip_interface("10.0.0.1/8"),
    ipaddress.ip_interface("::1/64"),
    Counter("aab"),
    Counter(),
    OrderedDict([("b", 1), ("a", OrderedDict())]),
    defaultdict(list, {"a": [1]}),
    defaultdict(None, {1: 2}),
    defaultdict(Offer, {"a": Offer(1)}),
    deque([1, (2,)], maxlen=3),
    deque(),
    Headers({"A": ["1", "2"], "b": "ü"}, encoding="latin-1"),
    CaseInsensitiveDict({"A": 1, b"c": 2}),
    Link(URL, "text", "f", True),
    time.gmtime(0),
    urlparse("http://a/b?c#d"),
    urlsplit(b"http://a/b"),
    HTTPStatus.NOT_FOUND,
    Offer,
    Colour,
]


@pytest.mark.parametrize("value", LIBRARY + ITEMS, ids=lambda value: type(value).__qualname__)
def test_values_keep_their_type(codec: RequestCodec, value: Any) -> None:
    before = Offer.made
    back = through(codec, value)
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value)
    assert Offer.made == before, "no __init__ runs"
    for name in ("maxlen", "default_factory", "encoding", "__dict__", "__pydantic_private__"):
        assert getattr(back, name, None) == getattr(value, name, None)


def test_members_of_an_enum_are_themselves(codec: RequestCodec) -> None:
    assert through(codec, Colour.BLUE) is Colour.BLUE
    assert through(codec, {Colour.RED: 1}) == {Colour.RED: 1}


def test_cookie_jars_come_back(codec: RequestCodec, spider: ItemSpider) -> None:
    made = jar()  # once: another second, and its cookies expire later
    back = through(codec, made)
    assert [vars(c) for c in back.jar] == [vars(c) for c in made.jar] != []
    request = Request(URL)
    back.add_cookie_header(request)
    assert request.headers["Cookie"] == b"a=b; c=d"
    assert b"Cookie" in codec.encode(Request(URL, meta={"j": jar()})), "never part of a dictionary"
    picky = jar()
    picky.policy.strict_domain = True  # type: ignore[attr-defined]
    with pytest.raises(UnserializableRequest, match="a policy of its own"):
        codec.encode(Request(URL, meta={"j": picky}))


def test_secrets_of_proxies_are_left_out_of_headers_in_meta(codec: RequestCodec) -> None:
    assert through(codec, Headers({"Proxy-Authorization": "Basic c2Vj", "X": "1"})) == Headers({"X": "1"})


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Number(int):
    pass


def test_subclasses_that_are_their_value_come_back_plain(codec: RequestCodec) -> None:
    """Above all ``link_text`` of CrawlSpider."""
    soup = pytest.importorskip("bs4").BeautifulSoup
    tree = Selector(text=PAGE).root
    for value, plain in (
        (tree.xpath("string(//a)"), "text bold"),
        (tree.xpath("//a/@title")[0], "t"),
        (soup(PAGE, "lxml").a.b.string, "bold"),
        (Text("x"), "x"),
        (Number(2**70), 2**70),
        (Number(True), 1),
        (type("Data", (bytes,), {})(b"\xff"), b"\xff"),
        (type("Weight", (float,), {})(0.5), 0.5),
    ):
        assert type(value) is not type(plain)
        back = codec.decode(codec.encode(Request(URL, meta={"v": value, "in": [{value: value}]}))).meta
        assert back == {"v": plain, "in": [{plain: plain}]}
        assert type(back["v"]) is type(plain)


@pytest.mark.parametrize("number", [-(2**63) - 1, -(2**63), 2**63 - 1, 2**63, 2**64 - 1, 2**64])
def test_an_int_of_a_subclass_is_stored_as_an_int(codec: RequestCodec, number: int) -> None:
    payloads = [codec.encode(Request(URL, meta={"v": value})) for value in (number, Number(number))]
    assert payloads[0] == payloads[1]
    assert through(codec, Number(number)) == number


@pytest.mark.parametrize("plain", [3, 0.5, True, 1j, b"no number"])
def test_scalars_of_numpy_are_known_by_their_base(codec: RequestCodec, plain: Any) -> None:
    """Also where numpy is not installed."""
    generic = type("generic", (), {"__module__": "numpy", "item": lambda self: plain})
    scalar = type("float16", (generic,), {"__module__": "numpy"})()
    if type(plain) is bytes:
        with pytest.raises(UnserializableRequest, match=r"numpy\.float16 can't be stored"):
            codec.encode(Request(URL, meta={"v": scalar}))
    else:
        assert through(codec, scalar) == plain


def test_numbers_of_numpy_are_numbers(codec: RequestCodec) -> None:
    numpy = pytest.importorskip("numpy")
    for value, plain in (
        (numpy.int64(3), 3),
        (numpy.float32(0.5), 0.5),
        (numpy.float64(0.1), 0.1),
        (numpy.bool_(True), True),
        (numpy.uint64(2**64 - 1), 2**64 - 1),
        (numpy.complex64(1j), 1j),
        (numpy.str_("x"), "x"),
    ):
        back = through(codec, value)
        assert (back, type(back)) == (plain, type(plain))
    for value in (numpy.array([1]), numpy.datetime64("2030-01-01"), numpy.longdouble(1)):
        with pytest.raises(UnserializableRequest, match="can't be stored"):
            codec.encode(Request(URL, meta={"v": value}))


def test_methods_of_the_spider_are_values(codec: RequestCodec, spider: ItemSpider) -> None:
    for method in (spider.parse_item, spider.static, spider.of_class, spider.parse):
        assert through(codec, method) == method
        assert codec.decode(codec.encode(Request(URL, callback=method, errback=method))).callback == method
    half = partial(spider.parse_item, "a", (1,), n={2}, book=Book("t"))
    for back in (
        through(codec, half),
        codec.decode(codec.encode(Request(URL, callback=half))).callback,
        codec.decode(codec.encode(Request(URL, errback=half))).errback,
    ):
        assert (type(back), back.func, back.args, back.keywords) == (partial, half.func, half.args, half.keywords)


def test_page_methods_of_playwright(codec: RequestCodec, spider: ItemSpider, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("scrapy_playwright.page")
    exec(
        "class PageMethod:\n    def __init__(self, method, *args, **kwargs):\n"
        "        self.method, self.args, self.kwargs, self.result = method, args, kwargs, None\n",
        vars(module),
    )
    monkeypatch.setitem(sys.modules, "scrapy_playwright", types.ModuleType("scrapy_playwright"))
    monkeypatch.setitem(sys.modules, "scrapy_playwright.page", module)
    page_method: Any = module.__dict__["PageMethod"]
    one = page_method("wait_for_selector", "div", timeout=3)
    one.result = object()
    two = page_method(spider.parse_item, 1)
    payload = codec.encode(Request(URL, meta={"playwright": True, "playwright_page_methods": [one, two]}))
    back = codec.decode(payload).meta["playwright_page_methods"]
    assert [vars(b) for b in back] == [{**vars(one), "result": None}, vars(two)]
    assert type(back[0]) is page_method
    monkeypatch.setitem(sys.modules, "scrapy_playwright.page", None)
    with pytest.raises(UnreadablePayload, match="install scrapy-playwright"):
        codec.decode(payload)


def test_zones_of_one_offset_come_back_as_timezone(codec: RequestCodec) -> None:
    dateutil = pytest.importorskip("dateutil.tz")
    value = dt.datetime(2030, 1, 1, tzinfo=dateutil.tzoffset("X", 3600))
    assert through(codec, value) == value
    with pytest.raises(UnserializableRequest, match="Use zoneinfo"):
        codec.encode(Request(URL, meta={"v": value.replace(tzinfo=dateutil.tzlocal())}))


def test_a_class_of_any_kind_by_registering_it(codec: RequestCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ItemClasses, "registered", {})
    monkeypatch.setattr(ItemClasses, "explicit", {})
    with pytest.raises(UnserializableRequest, match=r"meta\['v'\]: .*Money can't be stored.*register_item"):
        codec.encode(Request(URL, meta={"v": Money(1)}))
    with pytest.raises(TypeError, match="pass both"):
        RequestCodec.register_item(Money)
    RequestCodec.register_item(Money, dump=lambda money: money.amount, load=Money)
    assert through(codec, Money(3)) == Money(3)
    assert through(codec, Money) is Money


def test_a_local_class_is_refused(codec: RequestCodec) -> None:
    class Local(dict):  # type: ignore[type-arg]
        pass

    with pytest.raises(UnserializableRequest, match=r"Local would not be found by other workers. Define it at module"):
        codec.encode(Request(URL, meta={"v": Local()}))
