"""What is repeated for as long as it takes, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Spider
from scrapy.utils.test import get_crawler

from mocra_scrapy import signals
from mocra_scrapy.exceptions import BackendCorrupted, BackendUnavailable, ConfigurationError, MocraError
from mocra_scrapy.models import CrawlState
from mocra_scrapy.worker import outages as module
from mocra_scrapy.worker.outages import REFUSALS, Outages
from mocra_scrapy.worker.queue_status import QueueStatus

AWAY = BackendUnavailable("redis://h: nobody there")
REFUSED = ConfigurationError("MOCRA_BACKEND", "redis://h lacks access rights", "Grant them")
CORRUPTED = BackendCorrupted("redis://h: WRONGTYPE")


@pytest.fixture
def outages(monkeypatch: pytest.MonkeyPatch) -> Outages:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0)
    return Outages(get_crawler(Spider), "redis://h", QueueStatus(CrawlState(1)), lambda: None)


async def insist(outages: Outages, *errors: MocraError) -> tuple[Any, list[bool]]:
    left, repeats = list(errors), []

    async def call(repeat: bool) -> str:
        repeats.append(repeat)
        if left:
            raise left.pop(0)
        return "answer"

    return await outages.insist(call), repeats


async def test_an_outage_is_repeated_for_as_long_as_it_takes(outages: Outages) -> None:
    answer, repeats = await insist(outages, *[AWAY] * 50)
    assert (answer, repeats) == ("answer", [False] + [True] * 50)


async def test_a_refusal_may_pass(outages: Outages) -> None:
    assert (await insist(outages, *[REFUSED] * (REFUSALS - 1)))[0] == "answer"
    # Those in a row count: a server that went away and came back may refuse for another reason.
    some = [CORRUPTED] * (REFUSALS - 1)
    assert (await insist(outages, *some, AWAY, *some))[0] == "answer"


@pytest.mark.parametrize("error", [REFUSED, CORRUPTED])
async def test_a_refusal_is_not_repeated_for_ever(outages: Outages, error: MocraError) -> None:
    with pytest.raises(type(error)) as raised:
        await insist(outages, AWAY, *[error] * REFUSALS)
    assert raised.value is error


async def test_who_listens_hears_that_it_is_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0)
    crawler, heard = get_crawler(Spider), []

    def back(seconds: float) -> None:
        heard.append(seconds)

    crawler.signals.connect(back, signals.backend_available)
    outages = Outages(crawler, "redis://h", QueueStatus(CrawlState(1)), lambda: None)
    await insist(outages)
    assert heard == []
    await insist(outages, AWAY, AWAY)
    await insist(outages)
    (seconds,) = heard
    assert 0 <= seconds < 60
