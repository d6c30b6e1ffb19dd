"""Numbers of a worker's calls."""

from __future__ import annotations

from typing import Any

from mocra_scrapy.coordination.queue_session import QueueSession


class Numbers:
    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    async def exchange(self, worker: str, call: int, **arguments: Any) -> None:
        self.seen.append((worker, call))


async def test_a_repeat_has_the_number_of_what_it_repeats() -> None:
    """By it the queue knows the call that it answered already, and does nothing twice."""
    numbers = Numbers()
    session = QueueSession(numbers, "w")  # type: ignore[arg-type]
    for repeat in (False, True, True, False, True):
        await session.exchange(repeat=repeat)
    assert [call for _, call in numbers.seen] == [1, 1, 1, 2, 2]
    assert {worker for worker, _ in numbers.seen} == {"w"}
