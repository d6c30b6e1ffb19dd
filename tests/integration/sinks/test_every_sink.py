"""What holds for every sink: the rules of :class:`mocra_scrapy.pipelines.sink.Sink`, and the promises of
``docs/guides/store-items``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from mocra_scrapy.exceptions import ConfigurationError, SinkUnavailable
from mocra_scrapy.pipelines.items import stored_item
from mocra_scrapy.pipelines.sink import Sink, StoredItem
from tests.integration.sinks.harness import FIELD, PASSWORD, SinkHarness

ODD = [
    {"url": "https://a.test/ä?q=€&x=\U0001f600", "title": 'quotes " and \\ and \t tabs', "n": 0},
    {"url": "https://a.test/line", "title": "two\nlines\r\nand \u2028 more", "n": 2**53},
    {"url": "https://a.test/null", "title": None, "n": -1},
    {"url": "https://a.test/nested", "title": "", "n": 3, "more": {"list": [1, 2.5, {"deep": True}], "none": None}},
]


def item(n: int, delivery: int = 1, **more: Any) -> StoredItem:
    fields = {"url": f"https://a.test/{n}", "title": f"title {n}", "n": n, **more}
    return stored_item(fields, {"page": f"{n:040x}", "item": 1, "delivery": delivery})


def items(numbers: Sequence[int], delivery: int = 1) -> list[StoredItem]:
    return [item(n, delivery) for n in numbers]


def numbers_of(harness: SinkHarness) -> list[int]:
    return sorted(read["n"] for read in harness.read())


async def opened(harness: SinkHarness, **more: Any) -> Sink:
    sink = harness.sink(**more)
    await sink.open()
    return sink


async def test_what_was_written_is_there_word_for_word(harness: SinkHarness) -> None:
    sink = await opened(harness)
    await sink.write([stored_item(fields, {}) for fields in ODD])
    await sink.close()
    found = sorted(harness.read(), key=lambda read: read["url"])
    assert found == sorted(ODD, key=lambda fields: fields["url"])


async def test_batches_of_any_size_are_whole(harness: SinkHarness) -> None:
    sink = await opened(harness)
    for begin, end in ((0, 1), (1, 501), (501, 503), (503, 2503)):
        await sink.write(items(range(begin, end)))
    await sink.close()
    assert numbers_of(harness) == list(range(2503))


async def test_a_large_item_is_stored(harness: SinkHarness) -> None:
    sink = await opened(harness)
    await sink.write([item(1, title="x" * 700_000)])
    await sink.close()
    assert [len(read["title"]) for read in harness.read()] == [700_000]


async def test_an_item_says_of_which_page_it_is(harness: SinkHarness) -> None:
    if not harness.keeps_origin:
        pytest.skip("its items carry no origin")
    sink = await opened(harness)
    await sink.write([item(7, delivery=3)])
    await sink.close()
    (read,) = harness.read()
    assert read.pop(FIELD) == {"page": f"{7:040x}", "item": 1, "delivery": 3}


async def test_the_same_item_again_is_once_there_or_twice_as_the_guide_says(harness: SinkHarness) -> None:
    sink = await opened(harness)
    await sink.write(items(range(3)))
    await sink.write([*items(range(3), delivery=2), item(3), item(3, delivery=2)])
    await sink.close()
    assert numbers_of(harness) == sorted([0, 1, 2, 3] * (1 if harness.idempotent else 2))


async def test_two_workers_write_beside_one_another(harness: SinkHarness) -> None:
    one, other = await opened(harness, worker="w1"), await opened(harness, worker="w2")
    for n in range(0, 100, 10):
        await asyncio.gather(one.write(items(range(n, n + 5))), other.write(items(range(n + 5, n + 10))))
    await asyncio.gather(one.close(), other.close())
    assert numbers_of(harness) == list(range(100))


async def test_a_write_that_was_cancelled_is_repeated_and_nothing_is_lost(harness: SinkHarness) -> None:
    """At any of its steps: what is stored twice is allowed for, what is missing or mixed up is not."""
    sink = await opened(harness)
    for n in range(12):
        batch = items(range(n * 50, n * 50 + 50))
        task = asyncio.ensure_future(sink.write(batch))
        for _ in range(n):
            await asyncio.sleep(0)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if outcome is not None:
            await sink.write(batch)
    await sink.close()
    found = numbers_of(harness)
    assert set(found) == set(range(600))
    if harness.idempotent:
        assert len(found) == 600


async def test_a_server_that_restarts_is_found_again(harness: SinkHarness) -> None:
    if not harness.restarts:
        pytest.skip("it has no server")
    sink = await opened(harness)
    await sink.write(items(range(10)))
    harness.stop()
    for _ in range(2):
        with pytest.raises(SinkUnavailable) as raised:
            await asyncio.wait_for(sink.write(items(range(10, 20))), 60)
        assert PASSWORD not in str(raised.value)
    harness.start()
    await sink.write(items(range(10, 20)))
    await sink.close()
    assert numbers_of(harness) == list(range(20))


async def test_a_server_that_is_away_at_the_start_may_come_later(harness: SinkHarness) -> None:
    if not harness.restarts:
        pytest.skip("it has no server")
    harness.stop()
    sink = harness.sink()
    for _ in range(2):
        with pytest.raises(SinkUnavailable):
            await asyncio.wait_for(sink.open(), 60)
    harness.start()
    await sink.open()
    await sink.write(items([1]))
    await sink.close()
    assert numbers_of(harness) == [1]


async def test_what_can_never_work_is_told_with_the_setting(harness: SinkHarness) -> None:
    sink = harness.sink(**harness.wrong())
    with pytest.raises(ConfigurationError) as raised:
        await sink.open()
    assert raised.value.subject == harness.wrong_setting
    assert raised.value.fix
    await sink.close()


async def test_its_name_says_where_and_hides_passwords(harness: SinkHarness) -> None:
    sink = harness.sink()
    assert len(sink.name.split()) >= 3
    assert PASSWORD not in sink.name
    await sink.close()
