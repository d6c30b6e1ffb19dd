"""A slot of the downloader shows its delay, and the queue has waited for it."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.core.downloader import Slot

from mocra_scrapy.engine.slot_delay import waited_for


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
