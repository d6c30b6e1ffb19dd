"""What a worker did, out of its stats."""

from __future__ import annotations

from typing import Any

import pytest

from mocra_scrapy.models import REASONS
from mocra_scrapy.runtime.figures import PLAIN, added, amount, duration, errors_in, figures_of, lines, size

STATS: dict[str, Any] = {
    "response_received_count": 24,
    "robotstxt/response_count": 2,
    "robotstxt/response_status_count/404": 2,
    "downloader/response_status_count/200": 18,
    "downloader/response_status_count/404": 3,
    "downloader/response_status_count/503": 4,
    "downloader/exception_type_count/twisted.internet.error.TimeoutError": 5,
    "downloader/exception_type_count/scrapy.exceptions.IgnoreRequest": 6,
    "downloader/exception_type_count/nowhere.Strange": 1,
    "file_status_count/downloaded": 7,
    "file_status_count/uptodate": 9,
    "spider_exceptions/count": 2,
    "spider_exceptions/ValueError": 2,
    "mocra/item/failed": 3,
    "mocra/dead/callback": 2,
    "mocra/dead/unkept": 8,
    "mocra/queue/given_up": 1,
    "retry/count": 4,
    "mocra/retry/errors": 1,
    "start_time": "not a number",
    7: 8,
}


def test_a_missing_robots_txt_is_no_error() -> None:
    import twisted.internet.error  # noqa: F401 - whoever raised it has loaded it

    figures = figures_of(STATS)
    errors = {name: value for name, value in figures.items() if name.startswith("error/")}
    assert errors == {
        "error/http_4xx": 1,  # of three 404s two were for robots.txt
        "error/http_5xx": 4,
        "error/timeout": 5,
        "error/broken": 1,
        "error/parse": 2,
        "error/pipeline": 3,
    }
    assert errors_in(figures) == 16


def test_pages_are_neither_robots_txt_nor_files() -> None:
    figures = figures_of(STATS)
    assert (figures["pages"], figures["files"]) == (15, 7)
    assert figures["retries"] == 5
    assert {name: n for name, n in figures.items() if name.startswith("dead/")} == {
        "dead/callback": 2,
        "dead/deliveries": 1,
    }
    assert "items" not in figures, "what is 0 is left out"


def test_every_reason_of_a_dead_letter_has_a_figure() -> None:
    assert {name.removeprefix("dead/") for name in PLAIN if name.startswith("dead/")} == set(REASONS)


def test_nothing_at_all_can_be_told() -> None:
    text = "\n".join(lines(figures_of({}), 0.0, "nowhere"))
    assert "pages        0 (0 a minute)" in text
    assert "errors       none" in text
    assert "not crawled  nothing that was found" in text


def test_a_table_for_a_person() -> None:
    total = added([figures_of(STATS), {"pages": 1_000, "skip/offsite": 3, "skip/robots": 2, "late": 4, "dropped": 1}])
    text = "\n".join(lines(total, 120.0, "see them: scrapy mocra dead list books"))
    assert "pages        1,015 (508 a minute)" in text
    assert "0 (0 a minute), 1 dropped, 3 failed in a pipeline" in text
    assert "errors       16: timeout 5, http_5xx 4, pipeline 3, parse 2, broken 1, http_4xx 1" in text
    assert "dead letters 3: callback 2, deliveries 1; see them: scrapy mocra dead list books" in text
    assert "not crawled  3 offsite, 2 forbidden by robots.txt" in text
    assert "late output  4 dropped (requests and items)" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 1 s"), (3600 * 26 + 60, "26 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_amounts() -> None:
    assert [amount(number) for number in (0, 3, 3.25, 12.5, 1234567)] == ["0", "3", "3.2", "12", "1,234,567"]
    assert [size(number) for number in (0, 1234, 12_345_678)] == ["0.0 kB", "1.2 kB", "12.3 MB"]
