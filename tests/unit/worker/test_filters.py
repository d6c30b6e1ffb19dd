"""What a process says of a request before it is stored: with our filter, and with one of the project's own."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.dupefilters import BaseDupeFilter, RFPDupeFilter
from scrapy.utils.test import get_crawler
from twisted.internet.defer import Deferred, succeed

from mocra_scrapy.worker.duplicates import ClusterFilter, ForeignFilter, RecentDupeFilter, filter_of

SPIDER = Spider("s")
A, B = "http://s.test/a", "http://s.test/b"


class Own(RFPDupeFilter):
    """A project's own, which notes what it is asked for."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.noted: list[str] = []

    def log(self, request: Request, spider: Spider) -> None:
        self.noted.append(f"log {request.url}")

    def open(self) -> Deferred[None]:
        self.noted.append("open")
        return succeed(None)

    def close(self, reason: str) -> Deferred[None]:
        self.noted.append(f"close {reason}")
        return succeed(None)


def made(**settings: Any) -> tuple[Any, Any]:
    """The filter that *settings* ask for, and the stats."""
    crawler = get_crawler(Spider, settings, prevent_warnings=False)
    assert crawler.stats is not None
    return filter_of(crawler), crawler.stats


async def test_a_filter_of_the_projects_own_decides_alone(caplog: pytest.LogCaptureFixture) -> None:
    mine, _ = made(DUPEFILTER_CLASS=f"{__name__}.Own")
    assert isinstance(mine, ForeignFilter)
    assert f'DUPEFILTER_CLASS = "{__name__}.Own": it decides alone' in caplog.text
    own: Own = mine._df  # type: ignore[assignment]
    await mine.open()
    assert mine.fingerprint is None, "the cluster's filter is off"
    assert mine.look(Request(A), SPIDER) == (False, None)
    mine.remember(None)
    assert not mine.is_known(Request(A), SPIDER), "to ask would be to remember"
    assert mine.look(Request(A), SPIDER) == (True, None)
    assert mine.look(Request(A, dont_filter=True), SPIDER) == (False, None)
    mine.dropped(Request(B), SPIDER)
    await mine.close("finished")
    assert own.noted == ["open", f"log {A}", f"log {B}", "close finished"]
    assert mine.forget() is False


async def test_scrapys_class_that_filters_nothing_forgets_and_is_not_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    none, _ = made(DUPEFILTER_CLASS="scrapy.dupefilters.BaseDupeFilter")
    assert isinstance(none, ForeignFilter)
    assert type(none._df) is BaseDupeFilter
    assert none.look(Request(A), SPIDER) == none.look(Request(A), SPIDER) == (False, None)
    assert none.forget() is True
    await none.open()
    await none.close("finished")
    assert "it decides alone" not in caplog.text


async def test_the_clusters_filter_is_asked_for_what_this_process_does_not_know() -> None:
    mine, stats = made()
    assert isinstance(mine, ClusterFilter)
    await mine.open()
    known, name = mine.look(Request(A), SPIDER)
    assert (known, name) == (False, mine.recent.fingerprint(Request(A)))
    assert not mine.is_known(Request(A), SPIDER)
    mine.remember(name)
    mine.remember(None)
    assert mine.is_known(Request(A), SPIDER)
    assert mine.look(Request(A), SPIDER) == (True, name)
    assert mine.look(Request(A, dont_filter=True), SPIDER) == (False, None)
    assert not mine.is_known(Request(A, dont_filter=True), SPIDER)
    assert stats.get_value("dupefilter/filtered") == 2
    mine.dropped(Request(A), SPIDER)
    assert stats.get_value("dupefilter/filtered") == 3
    assert mine.forget() is True
    assert mine.look(Request(A), SPIDER) == (False, name)
    await mine.close("finished")


def test_a_link_is_asked_about_twice_and_its_fingerprint_made_once() -> None:
    mine, _ = made()
    times: list[str] = []
    fingerprint = mine.recent.fingerprint

    def counted(request: Request) -> bytes:
        times.append(request.url)
        return fingerprint(request)  # type: ignore[no-any-return]

    mine.recent.fingerprint = counted
    request = Request(A)
    assert not mine.is_seen(request)
    assert not mine.is_known(request, SPIDER)
    assert mine.look(request, SPIDER) == (False, fingerprint(Request(A)))
    assert times == [A]
    assert mine.look(request, SPIDER)[0] is False, "taken in, and asked about once more"
    assert times == [A, A]


def test_a_fingerprinter_that_raises_is_told_where_the_request_is_taken_in() -> None:
    mine, _ = made()

    def breaks(request: Request) -> bytes:
        raise ValueError("no name for it")

    mine.recent.fingerprint = breaks
    assert not mine.is_seen(Request(A))
    with pytest.raises(ValueError, match="no name for it"):
        mine.look(Request(A), SPIDER)


@pytest.mark.parametrize("debug", [False, True])
def test_filtered_requests_are_told_as_scrapy_does(debug: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "scrapy.dupefilters")
    crawler = get_crawler(Spider, {"DUPEFILTER_DEBUG": debug})
    mine = RecentDupeFilter.from_crawler(crawler)
    for url in (A, B):
        mine.log(Request(url, headers={"Referer": "http://s.test/"}), SPIDER)
    lines = [record.getMessage() for record in caplog.records]
    if debug:
        assert lines == [f"Filtered duplicate request: <GET {url}> (referer: http://s.test/)" for url in (A, B)]
    else:
        assert len(lines) == 1
        assert lines[0].startswith(f"Filtered duplicate request: <GET {A}> - no more duplicates will be shown")
    assert crawler.stats is not None
    assert crawler.stats.get_value("dupefilter/filtered") == 2


def test_beside_another_scheduler_it_filters_by_itself() -> None:
    mine = RecentDupeFilter.from_crawler(get_crawler(Spider))
    assert [mine.request_seen(Request(url)) for url in (A, B, A, B)] == [False, False, True, True]
