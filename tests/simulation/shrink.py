"""The smallest schedule that still breaks the same rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from .schedule import Schedule


class Failed(Protocol):
    @property
    def rule(self) -> str: ...
    @property
    def schedule(self) -> Any: ...


F = TypeVar("F", bound=Failed)
T = TypeVar("T")

#: Simulations that one shrinking may cost.
TRIES = 400


def shrink(
    failure: F,
    run: Callable[[Any], F | None],
    tries: int = TRIES,
    smaller_than: Callable[[Any], Iterator[Any]] | None = None,
) -> F:
    """Take away events, then workers, pages and options, as long as *run* breaks the same rule.

    Args:
        smaller_than: gives schedules that are smaller than one; by default those of the queue.
    """
    progress = True
    while progress and tries > 0:
        progress = False
        for smaller in (smaller_than or _smaller)(failure.schedule):
            tries -= 1
            again = run(smaller)
            if again is not None and again.rule == failure.rule:
                failure, progress = again, True
                break
            if tries <= 0:
                break
    return failure


def fewer(some: Sequence[T]) -> Iterator[list[T]]:
    """*some* without a half, without a quarter, …, without one."""
    size = (len(some) + 1) // 2
    while size >= 1:
        for at in range(0, len(some), size):
            yield [*some[:at], *some[at + size :]]
        size = size // 2


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    for events in fewer(schedule.events):
        yield schedule.with_events(events)
    setup = schedule.setup
    for change in (
        {"workers": setup.workers - 1},
        {"pages": setup.pages // 2},
        {"pages": setup.pages - 1},
        {"seeds": 1},
        {"slots": 1},
        {"killers": 0},
        {"failures": 0.0},
        {"limit": None, "scope": ""},
        {"scope": ""},
        {"shards": setup.shards - 1},
        {"capacity": 1},
        {"lifo": False},
        {"per_slot": 0},
        {"keep_seen": False},
    ):
        smaller = replace(setup, **change)  # type: ignore[arg-type]
        if smaller != setup and smaller.workers > 0 and smaller.pages >= smaller.seeds and smaller.shards > 0:
            yield replace(schedule, setup=smaller)
