"""What a dead letter says of its error stays within its bound."""

from __future__ import annotations

import pytest

from mocra_scrapy.worker.settlement import DETAIL_BYTES, bounded


def test_what_fits_is_kept_whole() -> None:
    for text in ("", "short", "x" * DETAIL_BYTES, "ü" * (DETAIL_BYTES // 2)):
        assert bounded(text) == text


@pytest.mark.parametrize("letter", ["x", "ü", "\ud800"])
@pytest.mark.parametrize("more", [1, 2, 1000, 10 * DETAIL_BYTES])
def test_of_more_the_beginning_and_the_end_are_kept(letter: str, more: int) -> None:
    text = f"first line\n{letter * (DETAIL_BYTES + more)}\nValueError: the last line"
    short = bounded(text)
    assert DETAIL_BYTES - 100 < len(short.encode()) <= DETAIL_BYTES
    assert short.startswith("first line\n")
    assert short.endswith("\nValueError: the last line")
    (left_out,) = [line for line in short.splitlines() if "bytes left out" in line]
    whole = len(text.encode("utf-8", "backslashreplace"))
    kept = len(short.encode()) - len(f"\n{left_out}\n")
    assert abs(int(left_out.split()[1]) - (whole - kept)) <= 4, "but for a character that was cut in two"


def test_passwords_in_urls_are_left_out() -> None:
    assert bounded("no answer of http://user:secret@site.test/a") == "no answer of http://***@site.test/a"
