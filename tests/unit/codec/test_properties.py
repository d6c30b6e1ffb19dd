"""Random requests come back as they were; random bytes never do anything but fail to be a request
(P11).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from scrapy import Request, Spider

from mocra_scrapy.codec.requests import RequestCodec
from mocra_scrapy.exceptions import UnreadablePayload

CODEC = RequestCodec(Spider("s"), max_bytes=1_000_000)

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
    | st.timedeltas(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE, max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HASHABLE, inner, max_size=4) | st.tuples(inner),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(meta=st.dictionaries(st.text(), VALUES, max_size=4), body=st.binary(), priority=st.integers(-(2**40), 2**40))
def test_requests_come_back(meta: dict[str, Any], body: bytes, priority: int) -> None:
    meta.pop("proxy", None)
    meta.pop("_auth_proxy", None)
    request = Request("http://s.test/", meta=meta, body=body, priority=priority)
    payload = CODEC.encode(request)
    back = CODEC.decode(payload)
    assert back.meta == meta
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


PAYLOAD = CODEC.encode(
    Request(
        "http://s.test/a", headers={"A": "b"}, meta={"t": (1, {2}), "d": dt.datetime(2030, 1, 1)}, cookies={"c": "d"}
    )
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PAYLOAD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_requests_are_requests_or_unreadable(damage: list[tuple[int, int]]) -> None:
    damaged = bytearray(PAYLOAD)
    for place, byte in damage:
        damaged[place] = byte
    try:
        found = CODEC.decode(bytes(damaged))
    except UnreadablePayload:
        return
    assert isinstance(found, Request)
