"""A slot of the downloader shows its delay, and the queue has waited for it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from scrapy import Request
from scrapy.core.downloader import Slot

from mocra_scrapy.engine.slot_delay import assigned_slot_dropped, waited_for, watch_slots


@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_it_shows_its_delay_and_waits_for_nothing(delay: float) -> None:
    slot: Any = Slot(8, delay, 0)
    waited_for(slot)
    assert isinstance(slot, Slot)
    assert (slot.concurrency, slot.delay, slot.download_delay()) == (8, delay, 0.0)
    assert f"delay={delay:.2f}" in str(slot)


def test_whoever_sets_another_delay_is_obeyed() -> None:
    slot: Any = Slot(8, 0.5, 0)
    waited_for(slot)
    slot.delay = 2.0
    assert slot.download_delay() == 2.0
    slot.delay = 0.5
    assert slot.download_delay() == 0.0


class Downloader:
    """As Scrapy's: works out a slot, and writes it into the request."""

    def __init__(self) -> None:
        self.slots: dict[str, Slot] = {}

    def _get_slot(self, request: Request) -> tuple[str, Slot]:
        key = request.meta.get("download_slot") or urlsplit(request.url).hostname
        return key, self.slots.setdefault(key, Slot(8, 0.5, 0))

    def take(self, request: Request) -> None:
        request.meta["download_slot"] = self._get_slot(request)[0]


@pytest.mark.parametrize("without_delay", [True, False])
def test_a_slot_that_the_downloader_worked_out_is_not_taken_along(without_delay: bool) -> None:
    downloader = Downloader()
    watch_slots(downloader, without_delay=without_delay)
    own, other = Request("http://a/"), Request("http://a/", meta={"download_slot": "shared"})
    for request in (own, other):
        downloader.take(request)
    assert [one.meta["download_slot"] for one in (own, other)] == ["a", "shared"]
    assert downloader.slots["a"].download_delay() == (0.0 if without_delay else 0.5)
    for request, expected in ((own, None), (other, "shared")):
        redirected = request.replace(url="http://b/")
        assigned_slot_dropped(redirected)
        assert redirected.meta.get("download_slot") == expected
        again = redirected.replace(url="http://b/")
        downloader.take(again)
        assert again.meta["download_slot"] == (expected or "b")
