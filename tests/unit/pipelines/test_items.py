"""What is stored of an item of any class."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import attrs
import pytest
import scrapy
from pydantic import BaseModel
from scrapy import Request, Spider
from scrapy.utils.test import get_crawler

from mocra_scrapy.engine.callback_output import NUMBER
from mocra_scrapy.exceptions import ItemRefused
from mocra_scrapy.models import Lease
from mocra_scrapy.pipelines.items import Origins, stored_item
from mocra_scrapy.pipelines.sink import StoredItem
from mocra_scrapy.worker.deliveries import CURRENT, Delivery


class Kind(enum.Enum):
    LEAF = "leaf"


@dataclass
class Data:
    url: str
    tags: list[str] = field(default_factory=list)


@attrs.define
class Attrs:
    url: str
    tags: list[str]


class Item(scrapy.Item):
    url = scrapy.Field()
    tags = scrapy.Field()


class Model(BaseModel):
    url: str
    tags: list[str]


def stored(item: Any) -> Any:
    return json.loads(stored_item(item, {}).text)


@pytest.mark.parametrize("cls", [Data, Attrs, Item, Model, dict], ids=lambda cls: cls.__name__)
def test_items_of_any_class_are_stored_alike(cls: Any) -> None:
    item = cls(url="u", tags=["a", "b"])
    assert stored(item) == {"url": "u", "tags": ["a", "b"]}
    assert stored_item(item, {}).fields == {"url": "u", "tags": ["a", "b"]}
    assert stored({"inside": [item]}) == {"inside": [{"url": "u", "tags": ["a", "b"]}]}


def test_a_scrapy_item_lacks_what_was_not_set() -> None:
    assert stored(Item(url="u")) == {"url": "u"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime(2026, 1, 31, 8, 0, tzinfo=timezone.utc), "2026-01-31T08:00:00+00:00"),
        (date(2026, 1, 31), "2026-01-31"),
        (timedelta(minutes=1), 60.0),
        (Decimal("10.50"), "10.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("a/b"), "a/b"),
        (Kind.LEAF, "leaf"),
        ({"x"}, ["x"]),
        (("a", 1), ["a", 1]),
        (b"caf\xc3\xa9", "café"),
        (2**70, 2**70),
        ("half \ud800 of a pair", "half \ud800 of a pair"),
        (None, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_have_a_form_in_json(value: Any, shown: Any) -> None:
    assert stored({"value": value}) == {"value": shown}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("nan"), "field 'bad': not a number or infinite"),
        (float("inf"), "field 'bad': not a number or infinite"),
        (b"\xff", "field 'bad': bytes that are no UTF-8 text"),
        pytest.param(object(), "field 'bad': object has no form in JSON", id="object"),
        ({(1, 2): 3}, "field 'bad': keys must be str"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_none_is_refused_with_the_name_of_the_field(value: Any, told: str) -> None:
    with pytest.raises(ItemRefused, match="^" + told.replace("(", r"\(")):
        stored_item({"good": 1, "bad": value}, {})


def test_other_strange_items_are_refused() -> None:
    with pytest.raises(ItemRefused, match="str is no item"):
        stored_item("text", {})
    with pytest.raises(ItemRefused, match="the name of field"):
        stored_item({("a",): 1}, {})
    circle: dict[str, Any] = {}
    circle["self"] = circle
    with pytest.raises(ItemRefused, match="field 'self'"):
        stored_item(circle, {})


def test_the_origin_goes_into_a_field_of_its_own() -> None:
    origin = {"page": "ab", "item": 1}
    item = stored_item({"url": "u"}, origin)
    assert item.with_origin("_mocra") == b'{"url":"u","_mocra":{"page":"ab","item":1}}'
    assert item.with_origin("") == item.text
    assert stored_item({}, origin).with_origin("_mocra") == b'{"_mocra":{"page":"ab","item":1}}'
    assert stored_item({"_mocra": "mine"}, origin).with_origin("_mocra") == b'{"_mocra":"mine"}'
    assert stored_item({"url": "u"}, {}).with_origin("_mocra") == b'{"url":"u"}'
    assert isinstance(item, StoredItem)


def test_items_are_counted_by_their_page() -> None:
    crawler = get_crawler(Spider)
    crawler._apply_settings()
    origins = Origins(crawler)
    assert origins.next() == {}, "of start()"
    lease = Lease("token", b"", "s", deliveries=3)
    for url in ("http://a.test/1", "http://a.test/2"):
        request = Request(url)
        token = CURRENT.set(Delivery(request, lease, None))
        try:
            found = [origins.next() for _ in range(2)]
            number = NUMBER.set(7)
            assert origins.next()["item"] == 7, "as the callback yields it, where that is known"
            NUMBER.reset(number)
        finally:
            CURRENT.reset(token)
        page = crawler.request_fingerprinter.fingerprint(request).hex()  # type: ignore[union-attr]
        assert found == [{"page": page, "item": n, "delivery": 3} for n in (1, 2)]
