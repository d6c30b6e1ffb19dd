"""What is left of a site's limits, in every form in which sites say so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocra_scrapy.politeness.rate_limit_headers import Left, Malformed, left_of_limits

NOW = 1_790_000_000.0


def left(headers: dict[str, str]) -> Left | None:
    told = {name.lower(): value for name, value in headers.items()}
    return left_of_limits(lambda name: told.get(name.lower()), NOW)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"RateLimit": '"default";r=50;t=30'}, Left(50, 30)),
        ({"RateLimit": "default;r=50;t=30"}, Left(50, 30)),
        ({"RateLimit": '"a";r=50;t=30, "b";r=5;t=60'}, Left(5, 60)),
        ({"RateLimit": '"a";r=1;t=9000, "b";r=0;t=5'}, Left(0, 5)),
        ({"RateLimit": '"d, x";r=7;t=3;pk=:Y2Q=:'}, Left(7, 3)),
        ({"RateLimit": '"d";r=0', "RateLimit-Policy": '"e";q=5;w=10, "d";q=10;w=60'}, Left(0, 60)),
        ({"RateLimit": '"d";r=0'}, None),
        ({"RateLimit": "limit=100, remaining=50, reset=30"}, Left(50, 30)),
        ({"RateLimit": "limit=100, remaining=50"}, None),
        ({"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": "0", "RateLimit-Reset": "7"}, Left(0, 7)),
        ({"X-RateLimit-Remaining": "598.0", "X-RateLimit-Reset": "60"}, Left(598, 60)),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1790000090"}, Left(0, 90)),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1790000090500"}, Left(0, 90.5)),
        ({"X-Rate-Limit-Remaining": "3", "X-Rate-Limit-Reset": "1789999990"}, Left(3, 0)),
        ({"x-ratelimit-remaining": "4, 4", "x-ratelimit-reset": "6, 6"}, Left(4, 6)),
        ({"X-RateLimit-Remaining": "3"}, None),
    ],
)
def test_what_is_left(headers: dict[str, str], expected: Left | None) -> None:
    assert left(headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"RateLimit": "???"},
        {"RateLimit": '"d";t=30'},
        {"RateLimit": '"d";r=-1;t=30'},
        {"RateLimit": '"d";r=1;t=30 "e";r=1'},
        {"RateLimit": "x" * 2000},
        {"RateLimit-Remaining": "many", "RateLimit-Reset": "3"},
        {"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "tomorrow"},
        {"X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "3"},
        {"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "9" * 30},
    ],
)
def test_what_can_t_be_understood_is_said_to_be(headers: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        left(headers)


def test_what_is_left_lasts_until_the_reset() -> None:
    assert (Left(10, 60).interval, Left(0, 60).interval) == (6.0, 60.0)


@given(
    st.dictionaries(
        st.sampled_from(["RateLimit", "RateLimit-Policy", "RateLimit-Remaining", "RateLimit-Reset"]),
        st.text(st.sampled_from('"ab\\ ,;=:rtw019.-*'), max_size=30),
    )
)
def test_strangers_may_write_anything(headers: dict[str, str]) -> None:
    try:
        found = left(headers)
    except Malformed:
        return
    assert found is None or (found.remaining >= 0 and found.reset >= 0)
