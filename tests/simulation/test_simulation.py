"""The small form of the simulation: some seeds, and what failed once. ``make soak`` has more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .schedule import Event, Schedule, Setup, draw_schedule
from .shrink import shrink
from .simulate import Failure, simulate

KEPT = sorted((Path(__file__).parent / "kept").glob("*.json"))
CHUNK = 100


def judge(schedules: list[Schedule], run: Callable[[Schedule], Failure | None]) -> None:
    """Fails with the smallest schedule that still does."""
    for schedule in schedules:
        failure = run(schedule)
        if failure is not None:
            smallest = shrink(failure, run)
            pytest.fail(f"{failure}\nshrunk: {smallest.what}\n{smallest.schedule.to_json()}", pytrace=False)


@pytest.mark.parametrize("first", range(0, 500, CHUNK))
def test_seeds_on_memory(first: int) -> None:
    judge([draw_schedule(seed) for seed in range(first, first + CHUNK)], simulate)


@pytest.mark.redis
@pytest.mark.parametrize("first", [0, 10])
def test_seeds_on_redis(first: int, redis_url: str) -> None:
    schedules = [draw_schedule(seed, shards=3) for seed in range(first, first + 10)]
    judge(schedules, lambda schedule: simulate(schedule, redis_url))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_failed_once_on_memory(path: Path) -> None:
    judge([Schedule.from_json(path.read_text("utf-8"))], simulate)


@pytest.mark.redis
@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_failed_once_on_redis(path: Path, redis_url: str) -> None:
    judge([Schedule.from_json(path.read_text("utf-8"))], lambda schedule: simulate(schedule, redis_url))


def test_a_seed_is_always_the_same_story() -> None:
    def story() -> list[str]:
        lines: list[str] = []
        simulate(draw_schedule(41), tell=lines.append)
        return lines

    assert story() == story() != []


def test_schedules_survive_being_written() -> None:
    for seed in range(50):
        schedule = draw_schedule(seed, shards=3)
        assert Schedule.from_json(schedule.to_json()) == schedule


def test_a_failure_is_shrunk_to_what_it_needs() -> None:
    """A made-up queue that fails whenever a clock jumps and there are two workers."""

    def run(schedule: Schedule) -> Failure | None:
        jumps = any(event.kind == "jump" for event in schedule.events)
        return Failure("made_up", "", schedule) if jumps and schedule.setup.workers > 1 else None

    events = (Event("kill", "w0", at=1.0), Event("jump", at=2.0, seconds=9.0), Event("cut", "w1", step=3))
    failure = run(Schedule(1, Setup(pages=20, workers=4), events))
    assert failure is not None
    smallest = shrink(failure, run).schedule
    assert [event.kind for event in smallest.events] == ["jump"]
    assert smallest.setup.workers == 2
