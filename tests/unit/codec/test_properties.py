"""Random requests come back as they were; random bytes never do anything but fail to be a request
(P11).
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, OrderedDict, defaultdict, deque
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scrapy import Request, Spider
from scrapy.http import Headers
from scrapy.link import Link

from mocra_scrapy.codec.dead_letter_view import request_of
from mocra_scrapy.codec.requests import RequestCodec
from mocra_scrapy.exceptions import UnreadablePayload
from tests.unit.codec.project_items import ITEMS, Book, Frozen, Kind, Offer, Point, Row, Rows, ScrapyItem


class PropertySpider(Spider):
    name = "s"


SPIDER = PropertySpider()
CODEC = RequestCodec(SPIDER, max_bytes=1_000_000)

HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(dt.timezone.utc) | st.timezones())
    | st.times()
    | st.timedeltas()
    | st.ip_addresses()
    | st.complex_numbers(allow_nan=False)
    | st.text().map(PurePosixPath)
    | st.text().map(PureWindowsPath)
    | st.from_regex(r"[a-z]{0,4}", fullmatch=True).map(Path)
    | st.builds(range, st.integers(), st.integers(), st.integers(1))
    | st.sampled_from([re.compile("a+"), re.compile(rb"b", re.DOTALL), Kind.BOOK, Offer, SPIDER.parse])
    | st.builds(Link, st.text(), st.text(), st.text(), st.booleans()),
    lambda inner: (
        st.tuples(inner, inner)
        | st.frozensets(inner, max_size=3)
        | st.builds(Point, inner, inner)
        | st.builds(Frozen, inner)
    ),
    max_leaves=5,
)
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.tuples(inner)
        | st.builds(deque, st.lists(inner, max_size=3), st.none() | st.integers(0, 3))
        | st.dictionaries(HASHABLE, inner, max_size=2).map(OrderedDict)
        | st.dictionaries(HASHABLE, inner, max_size=2).map(Row)
        | st.dictionaries(HASHABLE, inner, max_size=2).map(lambda d: defaultdict(list, d))
        # Numbers only: a project's item shows what it holds, and Python's pprint sorts a Counter by its values.
        | st.dictionaries(HASHABLE, st.integers(), max_size=2).map(Counter)
        | st.lists(inner, max_size=2).map(Rows)
        | st.builds(Book, inner, inner, inner)
        | st.builds(Offer, inner, inner)
        | st.builds(ScrapyItem, title=inner)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(meta=st.dictionaries(st.text(), VALUES, max_size=4), body=st.binary(), priority=st.integers(-(2**40), 2**40))
def test_requests_come_back(meta: dict[str, Any], body: bytes, priority: int) -> None:
    meta.pop("proxy", None)
    meta.pop("_auth_proxy", None)
    request = Request("http://s.test/", meta=meta, body=body, priority=priority)
    payload = CODEC.encode(request)
    back = CODEC.decode(payload)
    assert back.meta == meta
    assert request_of(payload) is not None
    assert (back.body, back.priority) == (body, priority)
    assert CODEC.encode(back) == payload, "types are kept: the same bytes once more"


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
@example(b"")
@example(b"\x01")
@example(b"\x01\x93\x00\xa0\x80")
@example(b"\x01" + b"\x91" * 200)
@example(b"\x01\xdd\xff\xff\xff\xff")
@example(b"\x01\xc9\xff\xff\xff\xff\x01")
def test_random_bytes_are_unreadable(payload: bytes) -> None:
    for prefix in (b"", b"\x01", b"\x80", b"\x01\x93\x00\xa4http"):
        try:
            found = CODEC.decode(prefix + payload)
        except UnreadablePayload:
            continue
        assert isinstance(found, Request)


PAYLOADS = [
    CODEC.encode(
        Request(
            "http://s.test/a",
            headers={"A": "b"},
            meta={"t": (1, {2}), "d": dt.datetime(2030, 1, 1)},
            cookies={"c": "d"},
        )
    ),
    *(CODEC.encode(Request("http://s.test/a", meta={"v": [value]})) for value in ITEMS),
    CODEC.encode(
        Request(
            "http://s.test/a",
            callback=partial(SPIDER.parse, n=1),
            meta={
                "a": [
                    re.compile("a"),
                    deque([1], 2),
                    Counter("a"),
                    OrderedDict(a=1),
                    defaultdict(list),
                    Headers({"A": "b"}),
                ],
                "b": [Link("a"), Path("a"), 1j, range(3), SPIDER.parse, partial(SPIDER.parse, 1), Offer],
            },
        )
    ),
]


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.sampled_from(PAYLOADS), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_requests_are_requests_or_unreadable(payload: bytes, damage: list[tuple[int, int]]) -> None:
    damaged = bytearray(payload)
    for place, byte in damage:
        damaged[place % len(payload)] = byte
    request_of(bytes(damaged))
    try:
        found = CODEC.decode(bytes(damaged))
    except UnreadablePayload:
        return
    assert isinstance(found, Request)


#: What no writer of ours makes: any value under any extension type.
FOREIGN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from(["parse", "tests.unit.codec.project_items.Offer", "tests.unit.codec.project_items.Kind"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.builds(lambda code, plain: msgpack.ExtType(code, msgpack.packb(plain)), st.integers(1, 36), inner)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(FOREIGN, st.integers(1, 13))
def test_foreign_values_are_a_request_or_unreadable(value: Any, field: int) -> None:
    payload = b"\x01" + msgpack.packb([0, "http://s.test/", {field: {"v": value} if field in (7, 12) else value}])
    request_of(payload)
    try:
        found = CODEC.decode(payload)
    except UnreadablePayload:
        return
    assert isinstance(found, Request)
