"""What goes together is never divided."""

from __future__ import annotations

from mocra_scrapy.models import Burial, Entry, Lease
from mocra_scrapy.worker.outbox import Outbox
from mocra_scrapy.worker.pushes import Push


def pushes(count: int, size: int = 10) -> list[Push]:
    return [Push(Entry(b"x" * size), None) for _ in range(count)]


def test_children_and_the_end_of_their_parent_are_one_batch() -> None:
    outbox, parent = Outbox(), Lease("p", b"")
    outbox.ack(Lease("a", b""))
    children = pushes(250)
    outbox.together(children, parent)
    outbox.ack(Lease("b", b""))
    assert (len(outbox), outbox.put, outbox.bytes) == (3, 3, 2500)
    batch = outbox.take(200, 10**6)
    assert ([lease.token for lease in batch.acks], batch.pushes) == (["a"], [])
    outbox.confirm(batch, positioned=False)
    batch = outbox.take(200, 10**6)  # more than a batch, and alone
    assert ([lease.token for lease in batch.acks], batch.pushes) == (["p"], children)
    assert (len(outbox), outbox.confirmed) == (2, 1)
    outbox.confirm(batch, positioned=False)
    assert (len(outbox), outbox.confirmed, outbox.bytes) == (1, 2, 0)
    batch = outbox.take(200, 10**6)
    outbox.confirm(batch, positioned=False)
    assert not outbox
    assert outbox.put == outbox.confirmed == 3


def test_they_join_others_where_there_is_room() -> None:
    outbox = Outbox()
    outbox.push(Entry(b"1"), None)
    outbox.together(pushes(3), (Burial(Lease("p", b""), "item", done=True), Burial(Lease("p", b""), "item", done=True)))
    outbox.ack(Lease("b", b""))
    batch = outbox.take(200, 10**6)
    assert (len(batch.pushes), len(batch.burials), len(batch.acks)) == (4, 2, 1)


def test_bytes_do_not_divide_them_either() -> None:
    outbox = Outbox()
    outbox.together(pushes(3, 1000), Lease("p", b""))
    outbox.ack(Lease("b", b""))
    batch = outbox.take(200, 100)
    assert (len(batch.pushes), [lease.token for lease in batch.acks]) == (3, ["p"])
