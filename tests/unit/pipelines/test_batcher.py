"""Batches: their bounds, what a failed write means, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
from itertools import pairwise
from typing import Any

import pytest

from mocra_scrapy.exceptions import ConfigurationError, ItemRefused, SinkUnavailable
from tests.unit.pipelines.stage import Stage, on_a_jumping_clock

AWAY = SinkUnavailable("fake: connection refused")


def now() -> float:
    return asyncio.get_running_loop().time()


# ------------------------------------------------------------------ bounds


def test_a_batch_has_so_many_items_at_most() -> None:
    async def work() -> None:
        stage = Stage(items=100)
        assert await stage.store(range(250)) == [None] * 250
        assert [len(write) for write in stage.sink.writes] == [100, 100, 50]
        assert stage.sink.stored == list(range(250)), "in the order in which they came"

    on_a_jumping_clock(work())


def test_a_batch_has_so_many_bytes_at_most_and_a_larger_item_goes_alone() -> None:
    async def work() -> None:
        stage = Stage(size=1000)
        assert await stage.store(range(7), size=300) == [None] * 7
        assert [len(write) for write in stage.sink.writes] == [3, 3, 1]
        assert await stage.store([8], size=5000) == [None]
        assert stage.sink.writes[-1] == [8]

    on_a_jumping_clock(work())


def test_a_full_batch_goes_at_once() -> None:
    async def work() -> None:
        stage = Stage(items=10, wait=60.0)
        assert await stage.store(range(10)) == [None] * 10
        assert now() == 0.0

    on_a_jumping_clock(work())


def test_an_item_waits_for_company_while_company_comes_and_no_longer() -> None:
    async def work() -> None:
        stage = Stage(wait=0.2)
        await stage.store([0])
        assert now() == pytest.approx(0.01), "nobody came"
        tasks: list[asyncio.Task[None]] = []
        for n in range(1, 101):
            tasks += stage.begin([n])
            await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)
        begun = [write[0] for write in stage.sink.writes[1:]]
        assert [b - a for a, b in pairwise(begun)] == pytest.approx([40, 40], abs=2), begun

    on_a_jumping_clock(work())


def test_without_a_wait_each_goes_at_once_and_together_with_what_waits_for_the_sink() -> None:
    async def work() -> None:
        stage = Stage(wait=0.0)
        stage.sink.takes = 1.0
        first = stage.begin([0])
        await asyncio.sleep(0.1)
        rest = stage.begin(range(1, 200))
        await asyncio.gather(*first, *rest)
        assert [len(write) for write in stage.sink.writes] == [1, 199]

    on_a_jumping_clock(work())


def test_an_item_that_nobody_waits_for_any_more_is_left_out() -> None:
    async def work() -> None:
        stage = Stage(wait=1.0)
        tasks = stage.begin(range(3))
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert stage.sink.writes == [[0, 2]]

    on_a_jumping_clock(work())


def test_the_writer_runs_in_no_pages_context() -> None:
    page: contextvars.ContextVar[str] = contextvars.ContextVar("page", default="none")
    seen: list[str] = []

    async def work() -> None:
        stage = Stage()
        write = stage.sink.write

        async def looks(batch: Any) -> None:
            seen.append(page.get())
            await write(batch)

        stage.sink.write = looks  # type: ignore[method-assign]
        page.set("the first page that happens to come")
        await stage.store([1])

    on_a_jumping_clock(work())
    assert seen == ["none"]


# ------------------------------------------------------------------ refused items


@pytest.mark.parametrize("tells", [False, True], ids=["halving", "told"])
@pytest.mark.parametrize("poison", [{0}, {499}, {250}, {3, 4, 300}, set(range(0, 500, 7))], ids=str)
def test_of_a_batch_only_the_poisoned_items_are_refused(poison: set[int], tells: bool) -> None:
    async def work() -> None:
        stage = Stage(items=500)
        stage.sink.poison, stage.sink.tells = poison, tells
        outcomes = await stage.store(range(500))
        assert {n for n, error in enumerate(outcomes) if error is not None} == poison
        for n in poison:
            assert isinstance(outcomes[n], ItemRefused)
            assert str(outcomes[n]) == f"fake refused it: poison {n}"
        assert sorted(stage.sink.stored) == sorted(set(range(500)) - poison), "each of the others once"
        if len(poison) == 1:
            assert len(stage.sink.writes) <= (2 if tells else 19)

    on_a_jumping_clock(work())


def test_an_error_that_nobody_expected_counts_as_a_refusal() -> None:
    async def work() -> None:
        stage = Stage()
        stage.sink.away = KeyError("field")
        (outcome,) = await stage.store([1])
        assert isinstance(outcome, ItemRefused)
        assert "KeyError: 'field'" in str(outcome)

    on_a_jumping_clock(work())


# ------------------------------------------------------------------ a sink that is away


@pytest.mark.parametrize(
    "error",
    [AWAY, OSError(28, "No space left on device"), asyncio.TimeoutError(), ConfigurationError("X", "gone", "Fix it")],
    ids=lambda error: type(error).__name__,
)
def test_a_write_that_fails_is_repeated_until_it_succeeds(error: BaseException) -> None:
    async def work() -> None:
        stage = Stage(retry_base=1.0, retry_cap=10.0)
        stage.sink.away = error
        tasks = stage.begin(range(3))
        await asyncio.sleep(600)
        assert not any(task.done() for task in tasks), "pages wait"
        assert len(stage.sink.writes) > 30
        assert max(b - a for a, b in pairwise(stage.sink.at)) <= 10.0
        stage.sink.away = None
        assert await asyncio.gather(*tasks) == [None] * 3
        assert stage.sink.stored == [0, 1, 2]
        assert stage.told.of("away") == [[error]], "said once"
        ((seconds,),) = stage.told.of("back")
        assert 600 <= seconds + 0.1 <= 611
        assert len(stage.told.of("retried")) == len(stage.sink.writes) - 1

    on_a_jumping_clock(work())


def test_a_write_without_an_answer_is_cancelled_and_repeated() -> None:
    async def work() -> None:
        stage = Stage(timeout=30.0)
        stage.sink.away = "hangs"
        tasks = stage.begin([1])
        await asyncio.sleep(31)
        ((error,),) = stage.told.of("away")
        assert str(error) == "fake did not answer within 30.0 s (MOCRA_BATCH_TIMEOUT)"
        stage.sink.away = None
        await asyncio.gather(*tasks)
        assert stage.sink.stored == [1]

    on_a_jumping_clock(work())


def test_items_refused_after_an_outage_end_it() -> None:
    async def work() -> None:
        stage = Stage()
        stage.sink.away, stage.sink.poison = AWAY, {1}
        tasks = stage.begin([1])
        await asyncio.sleep(5)
        stage.sink.away = None
        await asyncio.wait(tasks)
        assert isinstance(tasks[0].exception(), ItemRefused)
        assert len(stage.told.of("back")) == 1

    on_a_jumping_clock(work())


# ------------------------------------------------------------------ the end


def test_while_the_worker_closes_a_sink_that_is_away_is_given_up_and_the_items_are_spilled() -> None:
    async def work() -> None:
        stage = Stage(close=8.0)
        stage.sink.away = AWAY
        tasks = stage.begin(range(5))
        await asyncio.sleep(100)
        stage.closes = True
        await asyncio.gather(*tasks)
        assert 108 <= now() <= 109
        assert stage.spilled == [0, 1, 2, 3, 4]
        assert await stage.store(range(5, 8)) == [None] * 3, "what comes after that"
        assert now() <= 109.1, "is not tried again"
        assert stage.told.of("spilled") == [[5], [3]]

    on_a_jumping_clock(work())


def test_a_write_that_hangs_when_the_worker_closes_is_not_waited_for_longer() -> None:
    async def work() -> None:
        stage = Stage(close=8.0, timeout=3600.0)
        stage.sink.away = "hangs"
        tasks = stage.begin([1])
        await asyncio.sleep(100)
        stage.closes = True
        await asyncio.gather(*tasks)
        assert 108 <= now() <= 109
        assert stage.spilled == [1]

    on_a_jumping_clock(work())


def test_a_long_close_needs_its_sink_until_the_end() -> None:
    """The time for a sink that is away begins when it is away, not when the close begins."""

    async def work() -> None:
        stage = Stage(close=8.0)
        stage.closes = True
        await stage.store([1])
        await asyncio.sleep(60)
        stage.sink.takes = 1.0
        await stage.store([2])
        stage.sink.away = AWAY
        tasks = stage.begin([3])
        await asyncio.sleep(5)
        stage.sink.away = None
        await asyncio.gather(*tasks)
        assert (stage.sink.stored, stage.spilled) == ([1, 2, 3], [])

    on_a_jumping_clock(work())


def test_what_can_be_neither_written_nor_spilled_is_told_to_its_page() -> None:
    async def work() -> None:
        stage = Stage(close=1.0)
        stage.sink.away, stage.closes = AWAY, True
        stage.spill_fails = OSError(28, "No space left on device")
        outcomes = await stage.store([1, 2])
        assert all(isinstance(error, SinkUnavailable) for error in outcomes)
        assert "not spilled: [Errno 28] No space left on device" in str(outcomes[0])
        assert stage.told.of("lost") == [[2, "[Errno 28] No space left on device"]]

    on_a_jumping_clock(work())


def test_without_a_spill_folder_it_is_the_same() -> None:
    async def work() -> None:
        stage = Stage(close=0.0, spills=False)
        stage.sink.away, stage.closes = AWAY, True
        (outcome,) = await stage.store([1])
        assert isinstance(outcome, SinkUnavailable)
        assert "MOCRA_SPILL_DIR is empty" in str(outcome)

    on_a_jumping_clock(work())


def test_close_writes_what_is_left_and_closes_the_sink_once() -> None:
    async def work() -> None:
        stage = Stage(wait=60.0)
        tasks = stage.begin([1, 2])
        await asyncio.sleep(0)
        await stage.batcher.close()
        await asyncio.gather(*tasks)
        assert now() < 1
        assert (stage.sink.stored, stage.sink.closed) == ([1, 2], 1)
        (outcome,) = await stage.store([3])
        assert isinstance(outcome, SinkUnavailable), "nobody would write it"

    on_a_jumping_clock(work())


def test_close_has_a_deadline_and_never_raises() -> None:
    async def work() -> None:
        stage = Stage(close=8.0)
        stage.sink.away = "hangs"

        async def closes_badly() -> None:
            await asyncio.get_running_loop().create_future()

        stage.sink.close = closes_badly  # type: ignore[method-assign]
        tasks = stage.begin([1])
        await asyncio.sleep(0)
        await stage.batcher.close()
        await asyncio.gather(*tasks)
        assert (stage.spilled, now()) == ([1], pytest.approx(16, abs=1.5))

    on_a_jumping_clock(work())


def test_a_spill_that_hangs_fails_its_items_in_the_end() -> None:
    async def work() -> None:
        stage = Stage(close=8.0)
        stage.sink.away = AWAY

        async def hangs(_: Any) -> None:
            await asyncio.get_running_loop().create_future()

        stage.batcher._spill = hangs
        tasks = stage.begin([1])
        await asyncio.sleep(0)
        await stage.batcher.close()
        await asyncio.wait(tasks)
        assert isinstance(tasks[0].exception(), SinkUnavailable)
        assert now() < 8 + 5 + 8 + 1

    on_a_jumping_clock(work())
