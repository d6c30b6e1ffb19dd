"""When anybody is told how long it may still take."""

from __future__ import annotations

import pytest

from mocra_scrapy.extensions.progress import Sample, seconds_left


def samples(*left: int, seeded: bool = True, step: float = 15.0) -> list[Sample]:
    return [Sample(i * step, 0, number, seeded) for i, number in enumerate(left)]


def test_less_and_less_is_left() -> None:
    assert seconds_left(samples(400, 300, 200)) == pytest.approx(30)


@pytest.mark.parametrize(
    "unknown",
    [
        samples(),
        samples(400),
        samples(400, 300, 200, seeded=False),
        samples(400, 200, 300, 100),  # pages link to pages
        samples(400, 400, 400),
        samples(400, 300, 200, step=5),  # seen for too short a time
        samples(100_000, 99_990, 99_980),  # too far ahead
    ],
)
def test_nobody_can_say(unknown: list[Sample]) -> None:
    assert seconds_left(unknown) is None
