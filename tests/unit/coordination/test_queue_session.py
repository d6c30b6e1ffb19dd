"""Numbers of a worker's calls."""

from __future__ import annotations

from typing import Any

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Entry, QueueOptions


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


async def test_calls_without_waiting_are_numbered_with_the_others() -> None:
    queue = MemoryBackend().request_queue("numbers", QueueOptions())
    await queue.join("w")
    session = QueueSession(queue, "w")
    entries = [Entry(b"a"), Entry(b"b")]
    assert session.exchange_now(push=entries).stored == (True, True)
    leases = [*session.exchange_now(want=1).leases, *await session.lease(1)]
    assert sorted(lease.body for lease in leases) == [b"a", b"b"]
    assert session.call == 3
    assert session.exchange_now(ack=leases[:1], release=leases[1:]).acked == (True,)
    assert (await queue.size()).pending == 1
    await queue.close()
