"""The smallest schedule that still breaks the same rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from .schedule import Schedule
from .simulate import Failure

#: Simulations that one shrinking may cost.
TRIES = 400


def shrink(failure: Failure, run: Callable[[Schedule], Failure | None], tries: int = TRIES) -> Failure:
    """Take away events, then workers, pages and options, as long as *run* breaks the same rule."""
    progress = True
    while progress and tries > 0:
        progress = False
        for smaller in _smaller(failure.schedule):
            tries -= 1
            again = run(smaller)
            if again is not None and again.rule == failure.rule:
                failure, progress = again, True
                break
            if tries <= 0:
                break
    return failure


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    events = list(schedule.events)
    size = (len(events) + 1) // 2
    while size >= 1:
        for at in range(0, len(events), size):
            yield schedule.with_events(events[:at] + events[at + size :])
        size = size // 2
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
