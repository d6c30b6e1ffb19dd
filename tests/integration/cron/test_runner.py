"""The runner's loop with a clock of the test's own, real launchers and real stores; its crawls only
write down that they were started.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import signal
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy import signals
from mocra_scrapy.commands.verbs.cron_change import Cancel, Forget, Pause, Resume, Trigger
from mocra_scrapy.cron.job_store import Address, Store
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.run_steps import end_part
from mocra_scrapy.cron.runner import Runner
from mocra_scrapy.cron.state import ENDED, JobState, Run
from mocra_scrapy.exceptions import ConfigurationError

#: A machine that is busy takes a minute for the start of two processes.
pytestmark = pytest.mark.timeout(600)
#: A midnight.
T = 1_795_392_000 - 1_795_392_000 % 86_400


class Bench:
    """A project with one job, and a clock that stands still unless it is moved."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.now = folder, url, float(T)
        self.ticks = 0.0
        self.starts = folder / "starts"
        self.all: list[Runner] = []
        self.jobs('schedule = "*/10 * * * *"')

    async def close(self) -> None:
        deadline = time.monotonic() + 30
        for runner in self.all:
            while runner.launches.living():
                if time.monotonic() > deadline:
                    runner.launches.terminate()
                await asyncio.sleep(0.05)

    def jobs(self, *lines: str) -> None:
        text = "\n".join(["[jobs.shop]", 'spider = "shop"', 'success = "exit_code == 0"', *lines, ""])
        (self.folder / "cron.toml").write_text(text)

    @property
    def options(self) -> CronOptions:
        address = Address(self.url, "mocra", "test", str(self.folder / "cron"))
        return CronOptions(address, self.folder, None, 1.0, {}, 15.0)

    def runner(self, command: str = "") -> Runner:
        shell = ("sh", "-c", command or f"cat >> {self.starts}; echo >> {self.starts}")
        return Runner(self.options, wall=lambda: self.now, clock=lambda: self.ticks or time.monotonic(), command=shell)

    def started(self) -> list[str]:
        text = self.starts.read_text() if self.starts.exists() else ""
        return re.findall(r'"run": "shop@[^T]*T([^"]+)"', text)

    @asynccontextmanager
    async def leading(self, command: str = "") -> Any:
        """A runner that leads; it looks when it is told to. Its launchers outlive it, as they
        would, but not the test.
        """
        runner = self.runner(command)
        self.all.append(runner)
        await runner.open()
        try:
            term = await runner.store.election.campaign(runner.name, 60)
            assert term is not None
            yield runner, term.number
            await runner.store.election.resign(runner.name, term.number)
        finally:
            await runner.close()

    async def state(self) -> JobState:
        store = Store(self.options.address)
        await store.open()
        try:
            return (await store.get("shop")).state
        finally:
            await store.close()

    async def until(
        self, condition: Callable[[JobState], object], look: Callable[[], Awaitable[object]] | None = None
    ) -> JobState:
        """Look again and again until the state is so."""
        deadline = time.monotonic() + 240
        while True:
            if look is not None:
                await look()
            state = await self.state()
            if condition(state):
                return state
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.05)


def all_ended(state: JobState) -> bool:
    return all(run.state == ENDED for run in state.runs)


def outcomes(state: JobState) -> list[tuple[str, str]]:
    def minute(run: Run) -> str:
        return run.id.partition("T")[2][:5] + ("#" + run.id.partition("#")[2] if run.attempt > 1 else "")

    return [(minute(run), run.outcome or run.state) for run in state.runs]


@pytest.fixture(params=["file", pytest.param("redis", marks=pytest.mark.redis)])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    url = "memory://" if request.param == "file" else request.getfixturevalue("redis_url")
    made = Bench(tmp_path, url)
    yield made
    await made.close()


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


def crawl_of(launcher: int) -> int | None:
    """The process that a launcher started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return int(children[0]) if children else None


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
        os.killpg(crawl, signal.SIGKILL)
        state = await bench.until(all_ended, lambda: runner.look(number))
    assert outcomes(state) == [("00:10", "lost")]


@pytest.mark.parametrize("verb", ["cancel", "forget"])
async def test_people_end_a_run_whose_launcher_died(bench: Bench, verb: str) -> None:
    """Nobody leads; nobody would obey."""
    async with bench.leading(f"cat >> {bench.starts}; exec sleep 60") as (runner, number):
        await runner.look(number)
        crawl = await killed_launcher(bench, runner, number)
        with contextlib.suppress(ProcessLookupError):  # it ends with its launcher, a moment later
            os.killpg(crawl, signal.SIGKILL)
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


async def test_calls_of_once_find_out_that_a_launcher_died(bench: Bench) -> None:
    """Each lives for seconds: since when a part is silent stands beside it."""
    bench.jobs('schedule = "*/10 * * * *"', "stop_grace = 1", 'concurrency = "allow"')
    bench.ticks = 1.0
    async with bench.leading(f"cat >> {bench.starts}; exec sleep 60") as (runner, number):
        await runner.look(number)
        crawl = await killed_launcher(bench, runner, number)
        os.killpg(crawl, signal.SIGKILL)

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
        bench.jobs('schedule = "nonsense"')
        bench.jobs('schedule = "*/5 * * * *"')
        await bench.until(lambda state: state.identity == "*/5 * * * * UTC")
    finally:
        stop.set()
        await running
        await runner.close()


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
