"""What a stored name finds, what is refused, and the fix that is told."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest
from scrapy import Request
from scrapy.http import HtmlResponse
from scrapy.loader import ItemLoader
from scrapy.settings import Settings

from mocra_scrapy.codec.dead_letter_view import request_of
from mocra_scrapy.codec.requests import RequestCodec
from mocra_scrapy.codec.spider_objects import CLASS, ITEM, METHOD, PAGE_METHOD
from mocra_scrapy.exceptions import ConfigurationError, UnreadablePayload, UnserializableRequest
from tests.unit.codec.project_items import Book, Colour, Offer, Row
from tests.unit.codec.stored_values import PAGE, URL, ItemSpider, through

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
