"""Each instant is started once, whoever leads, and what was missed is told."""

from __future__ import annotations

import asyncio
import time
from itertools import count

import pytest

from mocra_scrapy.cron.job_store import Store
from mocra_scrapy.cron.state import JobState, Run
from tests.integration.cron.bench import Bench, T, all_ended, outcomes

#: A machine that is busy takes a minute for the start of two processes.
pytestmark = pytest.mark.timeout(1200)


async def test_an_instant_is_started_and_a_restart_does_not_forget_it(bench: Bench) -> None:
    async with bench.leading() as (runner, number):
        pause = await runner.look(number)
        assert 0 < pause <= 5
        bench.now = T + 600.5
        await runner.look(number)
        state = await bench.until(all_ended)
    assert outcomes(state) == [("00:10", "succeeded")]
    part = state.runs[0].parts[0]
    assert (part.exit_code, part.items) == (0, None)
    async with bench.leading() as (runner, number):
        await runner.look(number)
        bench.now = T + 600.9
        await runner.look(number)
        assert outcomes(await bench.state()) == [("00:10", "succeeded")]
        bench.now = T + 1200
        await runner.look(number)
        await bench.until(all_ended)
    assert bench.started() == ["00:10:00Z", "00:20:00Z"]


@pytest.mark.parametrize(
    ("catch_up", "expected", "missed"),
    [("none", [], 3), ("last", ["01:00:00Z"], 2), ("all", ["00:20:00Z", "00:40:00Z", "01:00:00Z"], 0)],
)
async def test_a_stop_of_an_hour(bench: Bench, catch_up: str, expected: list[str], missed: int) -> None:
    bench.jobs('schedule = "*/20 * * * *"', f'catch_up = "{catch_up}"')
    async with bench.leading() as (runner, number):
        await runner.look(number)
    bench.now = T + 67 * 60
    async with bench.leading() as (runner, number):
        await bench.until(lambda state: state.runs and all_ended(state), lambda: runner.look(number))
    assert bench.started() == expected
    assert (await bench.state()).missed == missed


async def test_an_intent_that_a_dead_leader_left_is_started_by_the_next(bench: Bench) -> None:
    async with bench.leading() as (runner, number):
        await runner.look(number)
        runner._launch = lambda job, run: None  # it dies after it stored the intent
        bench.now = T + 600
        await runner.look(number)
    assert outcomes(await bench.state()) == [("00:10", "intended")]
    assert bench.started() == []
    async with bench.leading() as (runner, number):
        await bench.until(all_ended, lambda: runner.look(number))
    assert bench.started() == ["00:10:00Z"]


async def test_of_two_launchers_one_starts_the_run(bench: Bench) -> None:
    async with bench.leading() as (runner, number):
        await runner.look(number)
        launch, jobs = runner._launch, runner.jobs
        bench.now = T + 600
        await runner.look(number)
        run = (await bench.state()).runs[0]
        others = [bench.runner() for _ in range(2)]
        bench.all += others
        for other in others:
            other._launch(jobs["shop"], run)
        launch(jobs["shop"], run)
        await bench.until(all_ended)
        deadline = time.monotonic() + 60
        while any(other.launches.living() for other in others):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    assert bench.started() == ["00:10:00Z"]


async def test_a_stale_leader_decides_nothing(bench: Bench) -> None:
    async with bench.leading() as (runner, number):
        await runner.look(number)
        bench.now = T + 600
        store = Store(bench.options.address)
        await store.open()
        old = await store.get("shop")
        assert await store.put("shop", old, JobState(last=T, identity=old.state.identity), fence=number + 1) is not None
        await runner.look(number)
        assert (await store.get("shop")).state.runs == ()
        await store.close()


async def test_once_starts_what_is_due_and_leaves(bench: Bench) -> None:
    bench.jobs('schedule = "*/10 * * * *"', 'concurrency = "allow"')
    for now in (T, T + 601, T + 602, T + 1202):
        bench.now = now
        runner = bench.runner()
        bench.all.append(runner)
        await runner.open()
        assert await runner.once()
        await runner.close()
    await bench.until(all_ended)
    assert bench.started() == ["00:10:00Z", "00:20:00Z"]


async def test_once_leaves_even_though_more_becomes_due_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.jobs('schedule = "*/10 * * * *"', 'concurrency = "allow"')
    for first in (T, T + 600):
        moments = count(first, 600)
        runner = bench.runner()
        bench.all.append(runner)
        monkeypatch.setattr(runner, "_wall", lambda moments=moments: float(next(moments)))
        await runner.open()
        assert await asyncio.wait_for(runner.once(patience=3600), 60)
        await runner.close()
    await bench.until(all_ended)
    assert bench.started() == ["00:10:00Z"]


async def test_retries_are_kept_by_the_state(bench: Bench) -> None:
    bench.jobs('schedule = "*/10 * * * *"', "retries = 2", "retry_delay = 0")
    async with bench.leading(f"cat >> {bench.starts}; exit 3") as (runner, number):
        await runner.look(number)
        bench.now = time.time()  # retries are due by the launcher's clock
        bench.jobs('schedule = "0 0 1 1 *"', "retries = 2", "retry_delay = 0")
        runner.file.reload()
        await runner.look(number)
        await runner.store.change(
            "shop", lambda state: state if state.runs else state.with_run(Run("shop@xT00:10", T, T))
        )

        async def look() -> None:
            bench.now = time.time()
            await runner.look(number)

        state = await bench.until(lambda state: len(state.runs) == 3 and all_ended(state), look)
    assert [(run.attempt, run.outcome) for run in state.runs] == [(1, "failed"), (2, "failed"), (3, "failed")]
    assert state.runs[0].parts[0].exit_code == 3
    assert "exit_code == 0 does not hold" in state.runs[0].reason
