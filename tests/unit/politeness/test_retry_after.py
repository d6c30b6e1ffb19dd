"""``Retry-After``: what each form means, and that no header can break or stall a worker."""

from __future__ import annotations

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocra_scrapy.politeness.retry_after import retry_after

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"2", 2.0),
        ("120", 120.0),
        (b" 7 ", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (b"600", 600.0),
        (b"601", 600.0),
        ("9" * 60, 600.0),
        (b"Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Friday, 15-Jan-27 08:01:00 GMT", 60.0),
        ("Fri Jan 15 08:01:00 2027", 60.0),
        ("Fri, 15 Jan 2027 09:01:00 +0100", 60.0),
        ("Fri, 15 Jan 2027 08:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 15 Jan 3027 08:00:00 GMT", 600.0),
    ],
)
def test_what_servers_say(value: bytes | str, seconds: float) -> None:
    assert retry_after(value, NOW, 600) == seconds


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        "  ",
        "soon",
        "-5",
        "+5",
        "5s",
        "1e3",
        "inf",
        "nan",
        "0x10",
        "٣",
        "1,2",
        "5, 7",
        "Fri, 99 Jan 2027 08:00:00 GMT",
        "Fri, 15 Jan 99999 08:00:00 GMT",
        "2027-01-15T08:01:00Z",
        "1" * 65,
        b"\xff\xfe\x00",
    ],
)
def test_what_nobody_understands(value: bytes | str | None) -> None:
    assert retry_after(value, NOW, 600) is None


@given(st.binary(max_size=80) | st.text(max_size=80), st.floats(0, 1e6))
def test_whatever_the_bytes(value: bytes | str, cap: float) -> None:
    seconds = retry_after(value, NOW, cap)
    assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= cap)


@given(st.integers(0, 4_000_000_000))
def test_every_date_is_read_back(at: int) -> None:
    assert retry_after(formatdate(at, usegmt=True), NOW, 1e10) == max(0, at - NOW)
