"""Expressions over stats: what they mean, and that nothing else is possible."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocra_scrapy.cron.expression import BadExpression, Expression

STATS = {
    "item_scraped_count": 5,
    "log_count/ERROR": 0,
    "downloader/response_status_count/200": 7,
    "downloader/exception_type_count/twisted.internet.error.TimeoutError": 2,
    "finish_reason": "finished",
    "elapsed_time_seconds": 12.5,
    "exit_code": 0,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("item_scraped_count > 0 and log_count/ERROR == 0", True),
        ("item_scraped_count > 5", False),
        ("downloader/response_status_count/200 >= 7", True),
        ("downloader/exception_type_count/twisted.internet.error.TimeoutError < 2", False),
        ("never/counted == 0", True),
        ("not never_counted", True),
        ("finish_reason in ('finished', 'closespider_itemcount')", True),
        ("finish_reason not in ['finished']", False),
        ("1 < item_scraped_count <= 5", True),
        ("1 < item_scraped_count <= 4", False),
        ("item_scraped_count * 2 - 1 + 1 == 10", True),
        ("elapsed_time_seconds < 60 or 1 == 2", True),
        ("item_scraped_count > 100 or log_count/ERROR > 0", False),
        ("-1 < 0", True),
        ("exit_code == 0 and True", True),
        ("finish_reason != None", True),
    ],
)
def test_meaning(text: str, holds: bool) -> None:
    assert Expression(text).holds(STATS) is holds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "a if b else c",
        "(lambda: 1)()",
        "a[0]",
        "f'{a}'",
        "a ** 9",
        "a // 2",
        "a @ b",
        "[x for x in y]",
        "{1: 2}",
        "b'x' == a",
        "1j == a",
        "a is b",
        "~a",
        "...",
        "print(1)",
        "1 / 2 > 0",
        "(a + 1) / 2",
        "(a.b)(c)",
        "await x",
    ],
)
def test_what_has_no_meaning_is_named(text: str) -> None:
    with pytest.raises(BadExpression, match=r"no meaning|can't be read"):
        Expression(text)


@pytest.mark.parametrize(
    "text", ["", "a >", "x := 1", "a = 1", "import os", "'", "(" * 300 + "1" + ")" * 300, "a" * 2000]
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(BadExpression):
        Expression(text)


@pytest.mark.parametrize(
    "text", ["finish_reason > 3", "'a' * 1000 == ''", "finish_reason + 1 == 2", "-finish_reason == 1", "1 in 2"]
)
def test_texts_are_not_counted_with(text: str) -> None:
    with pytest.raises(BadExpression, match="can't be worked out"):
        Expression(text).holds(STATS)


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    with contextlib.suppress(BadExpression):
        Expression(text).holds(STATS)
