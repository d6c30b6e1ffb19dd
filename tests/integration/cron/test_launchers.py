"""Launchers that die, never start anything, or were taken for lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from mocra_scrapy.commands.verbs.cron_change import Cancel, Forget
from mocra_scrapy.cron.run_steps import end_part
from mocra_scrapy.cron.runner import Runner
from mocra_scrapy.cron.state import ENDED
from tests.integration.cron.bench import Bench, T, all_ended, outcomes

#: A machine that is busy takes a minute for the start of two processes.
pytestmark = pytest.mark.timeout(1200)


async def test_a_launcher_that_never_starts_anything_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.jobs('schedule = "*/10 * * * *"', "retries = 1", "retry_delay = 5000")
    monkeypatch.setattr("mocra_scrapy.cron.launch_spec.LaunchSpec.to_bytes", lambda order: b"{}")
    bench.ticks = 1.0
    async with bench.leading() as (runner, number):
        await runner.look(number)
        bench.now = T + 600

        async def later() -> None:
            bench.ticks += 40
            await runner.look(number)

        state = await bench.until(lambda state: state.runs and state.runs[0].state == ENDED, later)
    assert outcomes(state) == [("00:10", "failed"), ("00:10#2", "waiting")]
    assert "launchers could not start it" in state.runs[0].reason
    assert (bench.folder / "cron" / "launch.log").read_text().count("This is not an order") == 5


def crawl_of(launcher: int) -> int | None:
    """The process that a launcher started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return int(children[0]) if children else None


def end(crawl: int) -> None:
    """On a busy machine it may have ended with its launcher by now."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(crawl, signal.SIGKILL)


async def killed_launcher(bench: Bench, runner: Runner, number: int) -> int:
    """A run whose launcher was killed; the pid of its crawl, which lives."""
    bench.now = T + 600
    await runner.look(number)
    state = await bench.until(lambda state: state.runs and state.runs[0].parts, lambda: runner.look(number))
    launcher = state.runs[0].parts[0].pid
    await bench.until(lambda _: crawl_of(launcher) is not None)
    crawl = crawl_of(launcher)
    assert crawl is not None
    os.kill(launcher, signal.SIGKILL)
    await bench.until(lambda _: not runner.launches.living())
    return crawl


async def test_a_launcher_that_is_killed_is_found_out(bench: Bench) -> None:
    bench.jobs('schedule = "*/10 * * * *"', "stop_grace = 1")
    async with bench.leading(f"cat >> {bench.starts}; exec sleep 60") as (runner, number):
        await runner.look(number)
        crawl = await killed_launcher(bench, runner, number)
        await runner.look(number)
        assert outcomes(await bench.state()) == [("00:10", "running")], "the crawl lives, or nobody knows yet"
        end(crawl)
        state = await bench.until(all_ended, lambda: runner.look(number))
    assert outcomes(state) == [("00:10", "lost")]


@pytest.mark.parametrize("verb", ["cancel", "forget"])
async def test_people_end_a_run_whose_launcher_died(bench: Bench, verb: str) -> None:
    """Nobody leads; nobody would obey."""
    async with bench.leading(f"cat >> {bench.starts}; exec sleep 60") as (runner, number):
        await runner.look(number)
        crawl = await killed_launcher(bench, runner, number)
        end(crawl)
        signs, worker = runner.store.signs, (await bench.state()).runs[0].parts[0].worker
        if not signs.proof:
            assert await signs._locks.release("cron:test:shop", worker, 0), "as if it ran out"  # type: ignore[attr-defined]
        while await signs.alive("shop", frozenset({worker})):
            await asyncio.sleep(0.02)  # it is dying
    if verb == "cancel":
        assert await Cancel()._connected(Namespace(run=["shop"], wait=True, timeout=5.0), bench.options) == 0
        assert outcomes(await bench.state()) == [("00:10", "cancelled")]
    else:
        assert (bench.folder / "cron" / "runs" / "shop").is_dir()
        assert await Forget()._connected(Namespace(job=["shop"]), bench.options) == 0
        assert (await bench.state()).runs == ()
        assert not (bench.folder / "cron" / "runs" / "shop").exists()


async def test_calls_of_once_find_out_that_a_launcher_died(bench: Bench) -> None:
    """Each lives for seconds: since when a part is silent stands beside it."""
    bench.jobs('schedule = "*/10 * * * *"', "stop_grace = 1", 'concurrency = "allow"')
    bench.ticks = 1.0
    async with bench.leading(f"cat >> {bench.starts}; exec sleep 60") as (runner, number):
        await runner.look(number)
        crawl = await killed_launcher(bench, runner, number)
        end(crawl)

    async def once() -> None:
        again = bench.runner("exit 0")
        await again.open()
        assert await again.once()
        await again.close()

    await bench.until(lambda state: state.runs[0].parts[0].silent or state.runs[0].state == ENDED, once)
    bench.now += 2.0
    await once()
    assert outcomes(await bench.state()) == [("00:10", "lost")]


async def test_a_launcher_that_lives_here_is_not_lost(bench: Bench) -> None:
    """It could not sign for long (an outage, a pause); this machine knows better."""
    bench.ticks = 1.0
    async with bench.leading(f"cat >> {bench.starts}; exec sleep 1000") as (runner, number):
        await runner.look(number)
        bench.now = T + 600
        state = await bench.until(lambda state: state.runs and state.runs[0].parts, lambda: runner.look(number))
        part = state.runs[0].parts[0]
        os.kill(part.pid, signal.SIGSTOP)
        if bench.url != "memory://":
            await runner.store.signs.end("shop", part.worker)
            locks = runner.store.signs._locks  # type: ignore[attr-defined]
            assert await locks.release("cron:test:shop", part.worker, 0), "as if it ran out"
        for _ in range(3):
            bench.ticks += 100
            await runner.look(number)
        assert outcomes(await bench.state()) == [("00:10", "running")]
        os.kill(part.pid, signal.SIGCONT)
        os.kill(part.pid, signal.SIGTERM)
        await bench.until(all_ended, lambda: runner.look(number))


async def test_a_launcher_that_was_taken_for_lost_ends_its_crawl(bench: Bench) -> None:
    """Paused for longer than the lease: the run counts as lost, another attempt may be going on."""
    async with bench.leading(f"cat >> {bench.starts}; exec sleep 1000") as (runner, number):
        await runner.look(number)
        bench.now = T + 600
        await runner.look(number)
        state = await bench.until(lambda state: state.runs[0].parts, lambda: runner.look(number))
        part = state.runs[0].parts[0]
        children = Path(f"/proc/{part.pid}/task/{part.pid}/children")
        await bench.until(lambda _: children.read_text())
        child = int(children.read_text().split()[0])
        os.kill(part.pid, signal.SIGSTOP)
        # What a leader does that looks from another machine: on one machine the kernel knows
        # better.
        lost = replace(part, ended=bench.now, outcome="lost")
        await runner.store.change("shop", lambda state: end_part(state, state.runs[0].id, lost))
        os.kill(part.pid, signal.SIGCONT)
        await bench.until(lambda _: not runner.launches.living())
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    assert outcomes(await bench.state()) == [("00:10", "lost")]


async def test_a_runner_that_leads_no_more_buries_its_launchers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """They end long after the role went elsewhere; nobody else can."""
    monkeypatch.setattr("mocra_scrapy.cron.runner.RELOAD", 0.05)
    async with bench.leading() as (runner, number):
        await runner.look(number)
        bench.now = T + 600
        await runner.look(number)
        (launch,) = runner.launches._all.values()
        await runner.store.election.resign(runner.name, number)
        status, stop = Path(f"/proc/{launch.process.pid}"), asyncio.Event()
        monkeypatch.setattr(runner, "_lead", lambda term: asyncio.sleep(0))
        running = asyncio.ensure_future(runner.run(stop, 60))
        deadline = time.monotonic() + 60
        while status.exists():  # a zombie is there until it is waited for
            assert time.monotonic() < deadline, (status / "status").read_text()
            await asyncio.sleep(0.05)
        stop.set()
        await running
        assert await runner.store.election.campaign(runner.name, 60) is not None
