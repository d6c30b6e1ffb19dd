"""What real projects put into ``meta`` and ``cb_kwargs`` comes back as it was, or is refused with
the fix; what names a class or a method names only what is there.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import re
import subprocess
import sys
import time
import types
from collections import Counter, OrderedDict, defaultdict, deque
from functools import partial
from http import HTTPStatus
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlparse, urlsplit

import msgpack
import pytest
from scrapy import Request, Selector, Spider
from scrapy.http import Headers, HtmlResponse
from scrapy.http.cookies import CookieJar
from scrapy.link import Link
from scrapy.loader import ItemLoader
from scrapy.settings import Settings
from scrapy.utils.datatypes import CaseInsensitiveDict

from mocra_scrapy.codec.dead_letter_view import request_of
from mocra_scrapy.codec.item_classes import ItemClasses
from mocra_scrapy.codec.requests import RequestCodec
from mocra_scrapy.codec.spider_objects import CLASS, ITEM, METHOD, PAGE_METHOD
from mocra_scrapy.exceptions import ConfigurationError, UnreadablePayload, UnserializableRequest
from tests.unit.codec.project_items import ITEMS, Book, Colour, Money, Offer, Row

URL = "http://site.test/"


class ItemSpider(Spider):
    name = "items"

    def parse_item(self, response: Any, *args: Any, **kwargs: Any) -> None: ...

    @staticmethod
    def static(response: Any) -> None: ...

    @classmethod
    def of_class(cls, response: Any) -> None: ...


@pytest.fixture
def spider() -> ItemSpider:
    return ItemSpider()


@pytest.fixture
def codec(spider: ItemSpider) -> RequestCodec:
    return RequestCodec(spider, max_bytes=100_000)


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
    back = through(codec, jar())
    assert [vars(c) for c in back.jar] == [vars(c) for c in jar().jar] != []
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


PAGE = "<html><a href='/a' title='t'>text <b>bold</b></a></html>"


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


FOREIGN = """
from dataclasses import dataclass
@dataclass
class Foreign:
    n: int
"""


def test_a_class_of_elsewhere_by_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mocra_foreign_models.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    unknown = RequestCodec(ItemSpider(), max_bytes=1000)
    payloads = []
    for path in ("mocra_foreign_models", "mocra_foreign_models.Foreign"):
        spider = ItemSpider()
        spider.settings = Settings({"MOCRA_ITEM_CLASSES": [path], "SPIDER_MODULES": ["tests.unit.codec"]})
        codec = RequestCodec(spider, max_bytes=1000)
        value = sys.modules["mocra_foreign_models"].Foreign(1)
        assert through(codec, value) == value
        payloads.append(codec.encode(Request(URL, meta={"v": value})))
        with pytest.raises(UnserializableRequest, match=r"Foreign would not be found by other workers. Import it"):
            unknown.encode(Request(URL, meta={"v": value}))
    for payload in payloads:
        with pytest.raises(
            UnreadablePayload, match=r"'mocra_foreign_models.Foreign' is not known to this worker. Import it .*ITEM_CL"
        ):
            unknown.decode(payload)
    for path, problem in (
        ("mocra_no_such.Thing", "can't be loaded"),
        ("collections.abc.Sized", "is not an item class"),
    ):
        spider.settings = Settings({"MOCRA_ITEM_CLASSES": [path]})
        with pytest.raises(ConfigurationError, match=f"MOCRA_ITEM_CLASSES.*{problem}"):
            RequestCodec(spider, max_bytes=1000)


def stored(code: int, plain: Any) -> bytes:
    inner = msgpack.packb(plain)
    return b"\x01" + msgpack.packb([0, URL, {7: {"v": msgpack.ExtType(code, inner)}}])


@pytest.mark.parametrize(
    ("code", "plain"),
    [
        (ITEM, ["antigravity.Item", {}]),
        (ITEM, ["os.system", ["true"]]),
        (ITEM, ["tests.unit.codec.project_items.Money", 1]),
        (ITEM, ["tests.unit.codec.project_items.Offer", ["a list"]]),
        (ITEM, [None, {}]),
        (ITEM, "x"),
        (CLASS, "subprocess.Popen"),
        (CLASS, ["tests.unit.codec.project_items.Money"]),
        (METHOD, "__class__"),
        (METHOD, "name"),
        (METHOD, ["__init__", [], {}]),
        (METHOD, ["parse", [], {1: 2}]),
        (METHOD, [["parse", [], {}], [], {}]),
        (PAGE_METHOD, [1]),
        (40, None),
        (127, None),
    ],
)
def test_a_stored_name_finds_only_what_is_there(codec: RequestCodec, code: int, plain: Any) -> None:
    modules = set(sys.modules)
    with pytest.raises(UnreadablePayload):
        codec.decode(stored(code, plain))
    assert "antigravity" not in sys.modules
    assert not {m for m in set(sys.modules) - modules if "playwright" not in m}


NAME = "tests.unit.codec.project_items."


@pytest.mark.parametrize(
    ("name", "state", "says"),
    [
        ("Colour", "GREEN", "has no member 'GREEN' any more"),
        ("Point", [1], "has 2 fields now, and had 1"),
        ("ScrapyItem", {"gone": 1}, "has no field 'gone' any more"),
        ("Offer", {"gone": 1}, "has no field 'gone' any more"),
    ],
)
def test_a_class_that_changed_is_named(codec: RequestCodec, name: str, state: Any, says: str) -> None:
    with pytest.raises(UnreadablePayload, match=f"{name} {says}"):
        codec.decode(stored(ITEM, [NAME + name, state]))


def test_new_fields_have_their_default(codec: RequestCodec) -> None:
    assert codec.decode(stored(ITEM, [NAME + "Book", {"title": "t"}])).meta["v"] == Book("t")
    back = codec.decode(stored(ITEM, [NAME + "Offer", {"price": 1.0, "derived": "1.0 EUR"}])).meta["v"]
    assert back == Offer(1.0)


def test_what_is_more_than_its_fields_is_refused(codec: RequestCodec) -> None:
    offer, row = Offer(1.0), Row(a=1)
    assert offer.costly == 7
    assert through(codec, offer) == offer, "what is only cached is made again"
    offer.page = "x"  # type: ignore[attr-defined]
    row.page = "x"  # type: ignore[attr-defined]
    for value in (offer, row):
        with pytest.raises(UnserializableRequest, match="has an attribute 'page' that is not one of its fields"):
            codec.encode(Request(URL, meta={"v": value}))


class Odd(defaultdict):  # type: ignore[type-arg]
    pass


def test_the_fix_is_told(codec: RequestCodec, spider: ItemSpider) -> None:
    response = HtmlResponse(URL, body=PAGE.encode())
    soup = pytest.importorskip("bs4").BeautifulSoup
    with Path(__file__).open(encoding="utf-8") as file:
        for value, fix in (
            (response, "response.url, response.text"),
            (response.css("a"), r"\.get\(\) or \.getall\(\)"),
            (response.css("nothing"), r"\.get\(\) or \.getall\(\)"),
            (response.css("a")[0], r"\.get\(\) or \.getall\(\)"),
            (response.css("a")[0].root, "lxml.etree.tostring"),
            (soup(PAGE, "lxml").a, r"str\(tag\)"),
            (ItemLoader(), r"loader.load_item\(\)"),
            (spider, "Callbacks have it as self"),
            (lambda: 0, "Make it a method of the spider"),
            (partial(print, 1), "Make it a method of the spider"),
            (print, "Make it a method of the spider"),
            (file, "Open it in the callback"),
            ((n for n in "a"), "Open it in the callback"),
            (asyncio.Lock(), "Open it in the callback"),
            (ValueError("x"), r"str\(error\)"),
            (subprocess.Popen, "RequestCodec.register_item"),
            (Odd(), "more than a dict"),
        ):
            with pytest.raises(UnserializableRequest, match=rf"^meta\['a'\]\['v'\]\[0\].*: .*{fix}") as raised:
                codec.encode(Request(URL, meta={"depth": 1, "a": {"v": [value]}}))
            assert raised.value.part == "meta/a"
            with pytest.raises(UnserializableRequest, match=r"^cb_kwargs\['b'\]\['title'\].*: ") as raised:
                codec.encode(Request(URL, cb_kwargs={"b": Book(value)}))
            assert raised.value.part == "cb_kwargs/b"


def test_the_part_is_told(codec: RequestCodec, spider: ItemSpider) -> None:
    class Other(Request):
        pass

    for request, part in (
        (Request(URL, callback=print), "callback"),
        (Request(URL, callback=partial(spider.parse_item, object())), "callback"),
        (Request(URL, errback=lambda f: f), "errback"),
        (Request(URL, body=b"x" * 200_000), "size"),
        (Request(URL, flags=[object()]), "flags"),  # type: ignore[list-item]
        (Other(URL), "class"),
    ):
        with pytest.raises(UnserializableRequest) as raised:
            codec.encode(request)
        assert raised.value.part == part


def test_what_is_shown_to_people(codec: RequestCodec, spider: ItemSpider) -> None:
    meta = {"o": Offer(1.0), "c": Colour.RED, "t": Offer, "m": spider.parse_item, "p": Path("a")}
    shown = request_of(codec.encode(Request(URL, meta=meta)))
    assert shown is not None
    assert shown["meta"]["o"] == {NAME + "Offer": {"price": 1.0, "tags": [], "derived": "1.0 EUR"}}
    assert shown["meta"]["c"] == {NAME + "Colour": "RED"}
    assert (shown["meta"]["t"], shown["meta"]["m"], shown["meta"]["p"]) == (NAME + "Offer", "parse_item", "a")


def test_deep_payloads_don_t_end_the_process(codec: RequestCodec) -> None:
    """Each level takes 40 KiB of a reader's stack: 200 of them were a segmentation fault."""
    for code in (1, 2, 11, ITEM):
        data = b"\xc0"
        for _ in range(5000):
            data = msgpack.packb(msgpack.ExtType(code, data))
        with pytest.raises(UnreadablePayload):
            codec.decode(b"\x01" + msgpack.packb([0, URL, {7: {}}])[:-1] + b"\x81\xa1v" + data)
    deep: Any = 1
    for _ in range(64):
        deep = (deep,)
    assert codec.decode(codec.encode(Request(URL, meta={"v": deep}))).meta["v"] == deep
    with pytest.raises(UnserializableRequest, match="nested more than 64"):
        codec.encode(Request(URL, meta={"v": (deep,)}))
