"""The runner's loop: people, changed files, damage, trouble with its folder, signals."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy import signals
from mocra_scrapy.commands.verbs.cron_change import Cancel, Pause, Resume, Trigger
from mocra_scrapy.cron.state import JobState
from mocra_scrapy.exceptions import ConfigurationError
from tests.integration.cron.bench import Bench, T, all_ended, outcomes

#: A machine that is busy takes a minute for the start of two processes.
pytestmark = pytest.mark.timeout(1200)


async def test_files_of_runs_that_nobody_remembers_are_deleted(bench: Bench) -> None:
    runs = bench.folder / "cron" / "runs"
    async with bench.leading() as (runner, number):
        await runner.look(number)
        for job in ("shop", "gone", "left"):
            (runs / job).mkdir(parents=True)
            (runs / job / "2020.log").write_text("")
        await runner.store.change("left", lambda state: replace(state, last=T))
        await runner.clean()
        assert sorted(folder.name for folder in runs.iterdir()) == ["left", "shop"], "the state knows one of them"
        await runner.look(number)
        assert (await runner.store.get("left")).version, "its history is kept for a month"
        bench.now = T + 40 * 86_400.0
        await runner.look(number)
        assert (await runner.store.get("left")).state == JobState()
        await runner.clean()
        assert [folder.name for folder in runs.iterdir()] == ["shop"]


async def test_a_runner_with_other_jobs_says_so(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Two projects of one name, or two versions of a file: only the leader's jobs run."""
    async with bench.leading() as (runner, number):
        await runner.look(number)
        note = await runner.store.leading()
        assert note is not None
        assert (note.runner, note.term, note.jobs) == (runner.name, number, ("shop",))
        same = bench.runner()
        bench.jobs('schedule = "*/5 * * * *"  # another one')
        other = bench.runner()
        for one in (same, other):
            await one.store.open()
            await one.compare()
            await one.compare()
            await one.close()
        assert caplog.text.count("has other jobs than this file") == 1
        assert "MOCRA_CRON_NAME" in caplog.text
        runner.file.reload()
        await runner.look(number)
        changed = await runner.store.leading()
        assert changed is not None
        assert changed.digest != note.digest


async def test_people_change_things_from_elsewhere(bench: Bench) -> None:
    async def person(verb: Any, **arguments: Any) -> int:
        return await verb()._connected(Namespace(**arguments), bench.options)

    async with bench.leading(f"cat >> {bench.starts}; exec sleep 1000") as (runner, number):
        await runner.look(number)
        assert await person(Pause, job=["shop"]) == 0
        bench.now = T + 3000
        await runner.look(number)
        assert (await bench.state()).runs == ()
        assert await person(Resume, job=["shop"]) == 0
        await runner.look(number)
        assert (await bench.state()).runs == ()
        assert await person(Trigger, job=["shop"], a=["colour=red"]) == 0
        bench.now = time.time() + 1
        bench.jobs('schedule = "0 0 1 1 *"')
        runner.file.reload()
        state = await bench.until(lambda state: any(run.parts for run in state.runs), lambda: runner.look(number))
        run = state.runs[-1]
        assert (run.kind, run.state) == ("manual", "running")
        await bench.until(
            lambda state: bench.starts.exists() and '"args": {"colour": "red"}' in bench.starts.read_text()
        )
        assert await person(Cancel, run=[run.id]) == 0
        state = await bench.until(all_ended)
        assert state.runs[-1].outcome == "cancelled"
        with pytest.raises(ConfigurationError, match="no such run is waiting or going on"):
            await person(Cancel, run=[run.id])
        with pytest.raises(ConfigurationError, match="Did you mean 'shop'"):
            await person(Pause, job=["shp"])


async def test_hot_reload_wakes_the_leader(bench: Bench) -> None:
    runner = bench.runner()
    await runner.open()
    stop = asyncio.Event()
    running = asyncio.create_task(runner.run(stop, 15.0))
    try:
        await bench.until(lambda state: state.identity == "*/10 * * * * UTC")
        before = await runner.store.leading()
        bench.now += 60
        bench.jobs('schedule = "nonsense"')
        bench.jobs('schedule = "*/5 * * * *"')
        await bench.until(lambda state: state.identity == "*/5 * * * * UTC")
        after = await runner.store.leading()
        assert before is not None
        assert after is not None
        assert after.digest != before.digest
        assert after.since == before.since, "it has led since then"
    finally:
        stop.set()
        await running
        await runner.close()


async def test_a_damaged_state_stops_its_job_only(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    text = (bench.folder / "cron.toml").read_text()
    (bench.folder / "cron.toml").write_text(text + '[jobs.other]\nspider = "x"\nschedule = "*/10 * * * *"\n')
    async with bench.leading() as (runner, number):
        await runner.look(number)
        await runner.store.shared.put("other", b"rubbish")
        bench.now = T + 600
        await runner.look(number)
        assert "`scrapy cron forget other` deletes it" in caplog.text
        await bench.until(all_ended, lambda: runner.look(number))
        assert (await runner.store.shared.get("other")).value == b"rubbish"
    assert bench.started() == ["00:10:00Z"]


async def test_a_second_runner_on_a_folder_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "memory://")
    async with bench.leading():
        with pytest.raises(ConfigurationError, match="memory:// knows only one"):
            async with bench.leading():
                raise AssertionError
    async with bench.leading():
        pass


async def test_a_folder_that_can_not_be_made_stops_a_runner_at_its_start(bench: Bench) -> None:
    (bench.folder / "cron").write_text("a file")
    runner = bench.runner()
    with pytest.raises(ConfigurationError, match=r"MOCRA_CRON_DIR = .*can't be used"):
        await runner.open()
    await runner.close()


async def test_a_full_disk_is_told_once_and_waited_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the launchers' messages go there is no room: the intent is kept, and started when there is."""
    caplog.set_level("INFO")
    monkeypatch.setattr("mocra_scrapy.cron.runner.AGAIN", 0.02)
    runner = bench.runner()
    bench.all.append(runner)
    await runner.open()
    stop, tried = asyncio.Event(), 0

    def full(key: str, order: object) -> None:
        nonlocal tried
        tried += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(runner.launches, "start", full)
        running = asyncio.ensure_future(runner.run(stop, 60))
        await bench.until(lambda state: state.identity)
        bench.now = T + 600.5
        runner._changed.set()
        await bench.until(lambda state: tried > 5)
    assert outcomes(await bench.state()) == [("00:10", "intended")]
    await bench.until(lambda state: state.runs and all_ended(state))
    stop.set()
    await running
    await runner.close()
    assert bench.started() == ["00:10:00Z"]
    told = [line for line in caplog.messages if "No space left" in line]
    assert len(told) == 1, told
    assert "nothing is started until it can be used" in told[0]
    assert "can be used again" in caplog.text


async def test_a_runner_sends_signals(bench: Bench) -> None:
    heard: list[tuple[str, str]] = []

    def ended(job: str, run: dict[str, Any]) -> None:
        heard.append(("ended", run["outcome"]))

    def failed(job: str, run: dict[str, Any]) -> None:
        heard.append(("failed", run["outcome"]))

    async with bench.leading("exit 1") as (runner, number):
        runner.signals.connect(ended, signals.cron_run_ended)
        runner.signals.connect(failed, signals.cron_run_failed)
        await runner.look(number)
        bench.now = T + 600
        await bench.until(lambda state: state.runs and all_ended(state), lambda: runner.look(number))
        await runner.look(number)
        await runner.look(number)
    assert sorted(heard) == [("ended", "failed"), ("failed", "failed")]
