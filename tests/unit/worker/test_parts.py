"""The worker's parts, each for itself: inbox, outbox, deliveries, the memory of recent
fingerprints.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import Request
from scrapy.utils.request import RequestFingerprinter, fingerprint

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.models import Burial, Entry, Lease
from mocra_scrapy.worker.deliveries import CURRENT, Deliveries, Delivery
from mocra_scrapy.worker.earlier_failures import Failures
from mocra_scrapy.worker.inbox import Inbox, Local
from mocra_scrapy.worker.outbox import Outbox
from mocra_scrapy.worker.recent_fingerprints import KnownLinks, RecentFingerprints, fingerprint_function
from mocra_scrapy.worker.request_cache import RequestCache
from mocra_scrapy.worker.slot_policy import WorkerPolicy


def request(name: object = "", **more: int) -> Request:
    return Request(f"http://s.test/{name}", **more)  # type: ignore[arg-type]


def lease(name: str, slot: str = "s") -> Lease:
    return Lease(name, name.encode(), slot)


class Room(WorkerPolicy):
    """A policy that lets everything start but what is of a *full* slot, and counts what it hears."""

    def __init__(self) -> None:
        self.full: set[str] = set()
        self.waiting: Counter[str] = Counter()

    def has_room(self, key: tuple[str, ...], leased: bool) -> bool:
        return key[0] not in self.full

    def on_leased(self, lease: Lease) -> None:
        self.waiting[lease.token] += 1

    def on_returned(self, leases: Iterable[Lease]) -> None:
        self.waiting.subtract(lease.token for lease in leases)

    def on_started(self, lease: Lease) -> None:
        self.waiting[lease.token] -= 1


def an_inbox() -> tuple[Inbox, Outbox, Room]:
    outbox, room = Outbox(), Room()
    return Inbox(outbox, room), outbox, room


def taken(inbox: Inbox) -> list[str]:
    out = []
    while (got := inbox.pop()) is not None:
        out.append(got.token if isinstance(got, Lease) else got.request.url[-1])
    return out


# ---------------------------------------------------------------------- inbox


def test_slots_take_turns_in_the_inbox() -> None:
    inbox, _, _ = an_inbox()
    inbox.add(
        [lease("a1", "a"), lease("a2", "a"), lease("a3", "a"), lease("b1", "b"), lease("c1", "c"), lease("c2", "c")]
    )
    assert (len(inbox), inbox.leased, inbox.held_in("a"), inbox.held_in("x")) == (6, 6, 3, 0)
    assert taken(inbox) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert len(inbox) == 0


def test_a_slot_without_room_is_passed_over() -> None:
    inbox, _, room = an_inbox()
    inbox.add([lease("a1", "a"), lease("b1", "b"), lease("a2", "a")])
    room.full.add("a")
    assert inbox.pop() == lease("b1", "b")
    assert inbox.pop() is None
    assert not inbox.can_start()
    assert len(inbox) == 2
    room.full.clear()
    assert taken(inbox) == ["a1", "a2"]


def test_local_requests_come_first_by_priority_then_in_order() -> None:
    inbox, _, _ = an_inbox()
    inbox.add([lease("L")])
    for name, priority in (("1", 0), ("2", 5), ("3", 0), ("4", 5)):
        inbox.add_local(Local(request(name, priority=priority), "s", None))
    assert inbox.local == 4
    assert taken(inbox) == ["2", "4", "1", "3", "L"]


def test_giving_back_leaves_local_requests() -> None:
    inbox, outbox, _ = an_inbox()
    inbox.add([lease("a", "a"), lease("b", "b")])
    inbox.add_local(Local(request("x"), "b", None))
    inbox.give_back()
    assert [one.token for one in outbox.take(9, 9).releases] == ["a", "b"]
    assert (inbox.leased, inbox.local) == (0, 1)
    assert taken(inbox) == ["x"]
    inbox.add([lease("a", "a")])
    assert taken(inbox) == ["a"]


def test_a_worker_that_holds_nothing_has_no_loads() -> None:
    """Whatever way a lease takes out of the inbox, the policy hears of it."""
    now = 0.0
    room, outbox = Room(), Outbox()
    inbox = Inbox(outbox, room, lambda: now)
    late = Lease("late", b"late", "paced", wait=1.0)
    inbox.add([lease("a", "a"), lease("b", "b"), lease("c", "c"), late])
    assert +room.waiting == {"a": 1, "b": 1, "c": 1, "late": 1}
    inbox.give_back_of({"a"})
    now = 1.5
    assert inbox.give_back_missed(0.1) == 1
    assert taken(inbox) == ["b", "c"]
    assert not +room.waiting
    inbox.add([lease("d", "d")])
    inbox.give_back()
    assert not +room.waiting
    assert [one.token for one in outbox.take(9, 9).releases] == ["a", "late", "d"]


# ---------------------------------------------------------------------- recall


def test_an_object_is_recalled_once() -> None:
    recall = RequestCache(2)
    kept = [request(n) for n in range(5)]
    for n, one in enumerate(kept):
        recall.add(b"%d" % n, one)
    assert recall.take(b"4") is kept[4]
    assert recall.take(b"4") is None
    assert recall.take(b"3") is kept[3]
    assert recall.take(b"0") is None, "bounded"
    none = RequestCache(0)
    none.add(b"x", kept[0])
    assert none.take(b"x") is None


# ---------------------------------------------------------------------- outbox


def test_a_batch_is_a_prefix() -> None:
    outbox = Outbox()
    outbox.push(Entry(b"child"), request())
    outbox.ack(lease("parent"))
    outbox.push(Entry(b"later"), request())
    outbox.bury(Burial(lease("bad"), "unreadable", "why"))
    outbox.release([lease("r")])
    assert (len(outbox), outbox.waiting, outbox.put) == (5, 5, 4)
    batch = outbox.take(2, 10**6)
    assert [p.entry.body for p in batch.pushes] == [b"child"]
    assert [a.token for a in batch.acks] == ["parent"]
    assert [r.token for r in batch.releases] == ["r"]
    assert not batch.burials
    assert (len(outbox), outbox.waiting, outbox.confirmed) == (5, 2, 0), "not confirmed: still here"
    outbox.confirm(batch, positioned=False)
    assert (len(outbox), outbox.waiting, outbox.confirmed) == (2, 2, 2)
    rest = outbox.take(10, 10**6)
    assert (len(rest.pushes), len(rest.burials)) == (1, 1)
    outbox.confirm(rest, positioned=False)
    assert outbox.confirmed == outbox.put
    assert not outbox
    assert not outbox.take(5, 5)


def test_a_batch_is_bounded_in_bytes_but_never_empty() -> None:
    outbox = Outbox()
    for _ in range(5):
        outbox.push(Entry(b"x" * 100), request())
    assert len(outbox.take(100, 250).pushes) == 3
    assert len(outbox.take(100, 1).pushes) == 1


# ---------------------------------------------------------------------- deliveries


class Settled:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.deliveries = Deliveries(
            lambda d: self.names.append(d.lease.token if d.lease else "local"),
            lambda names: None,
            lambda: None,
            lambda names, instant: None,
        )

    def out(self, name: str) -> tuple[Request, Delivery]:
        one = request(name)
        self.deliveries.hand_out(one, lease(name), None)
        current = CURRENT.get()
        assert current is not None
        return one, current


def test_a_delivery_is_settled_once_by_identity() -> None:
    box = Settled()
    first, _ = box.out("a")
    box.deliveries.finished(request("a"))  # an equal request that never came from here: an inline download
    assert box.names == []
    box.deliveries.finished(first)
    box.deliveries.finished(first)
    assert box.names == ["a"]
    assert len(box.deliveries) == 0


def test_a_parent_waits_for_its_local_children() -> None:
    box = Settled()
    parent_request, parent = box.out("parent")
    children = []
    for name in "xy":
        waits = box.deliveries.adopt(parent)
        child = request(name)
        box.deliveries.hand_out(child, None, waits)
        children.append(child)
    grandchild = request("z")
    box.deliveries.hand_out(grandchild, None, box.deliveries.adopt(CURRENT.get()))
    box.deliveries.finished(parent_request)
    box.deliveries.finished(children[0])
    box.deliveries.finished(children[1])
    assert box.names == ["local"], "y waits for z, the parent for y"
    box.deliveries.finished(grandchild)
    assert box.names == ["local", "local", "local", "parent"]


def test_a_fault_of_a_child_is_its_parents() -> None:
    box = Settled()
    parent_request, parent = box.out("parent")
    child = request("x")
    box.deliveries.hand_out(child, None, box.deliveries.adopt(parent))
    current = CURRENT.get()
    assert current is not None
    current.fail("child_lost", "why")
    current.record("an item")
    box.deliveries.finished(child)
    box.deliveries.finished(parent_request)
    assert parent.fault == ("child_lost", "<GET http://s.test/x>, made by this request\nwhy")
    assert parent.records == ["an item"]


def test_the_gravest_fault_counts_and_of_equal_ones_the_first() -> None:
    delivery = Delivery(None, None, None)
    for reason, kept in (
        ("download", "download 0"),
        ("callback", "callback 1"),
        ("download", "callback 1"),
        ("callback", "callback 1"),
        ("retry", "retry 4"),
        ("callback", "retry 4"),
        ("child_lost", "child_lost 6"),
    ):
        delivery.fail(reason, kept.rpartition(" ")[2] if kept.startswith(reason) else "later")
        assert delivery.fault is not None
        assert " ".join(delivery.fault) == kept


def test_what_a_stored_request_carries_is_taken_out_at_hand_out() -> None:
    box = Settled()
    for carried, failures in (
        ([2, 1000.5, 1], Failures(2, 1000.5, 1)),
        (None, Failures()),
        ("nonsense", Failures()),
        ([1], Failures()),
        ([1, "soon", 0], Failures()),
    ):
        given = box.deliveries.hand_out(Request("http://s.test/", meta={"mocra_failures": carried}), lease("x"), None)
        assert given.meta == {}
        current = CURRENT.get()
        assert current is not None
        assert current.failures == failures
    assert Failures(2, 1000.5, 1).one_more() == [3, 1000.5, 1]
    number, first_at, errors = Failures().one_more(error=True)
    assert (number, errors) == (1, 1)
    assert first_at > 1e9


def test_burials_of_one_entry_travel_together() -> None:
    outbox = Outbox()
    outbox.ack(lease("a"))
    outbox.bury(*(Burial(lease("b"), "item", "x" * 10) for _ in range(5)))
    outbox.ack(lease("c"))
    batch = outbox.take(2, 1000)
    assert (len(batch.acks), len(batch.burials), len(outbox)) == (1, 5, 3)
    outbox.confirm(batch, positioned=False)
    assert (outbox.confirmed, outbox.put, len(outbox)) == (2, 3, 1)


def test_a_settled_parent_is_nobodys() -> None:
    box = Settled()
    parent_request, parent = box.out("parent")
    box.deliveries.finished(parent_request)
    assert box.deliveries.adopt(parent) is None
    assert box.deliveries.adopt(None) is None


# ---------------------------------------------------------------------- recent fingerprints


def test_recent_fingerprints_are_bounded() -> None:
    recent = RecentFingerprints(100)
    for n in range(1000):
        recent.add(b"%d" % n)
        assert len(recent) <= 200
    assert all(b"%d" % n in recent for n in range(900, 1000))
    assert b"0" not in recent
    recent.discard(b"999")
    assert b"999" not in recent
    recent.clear()
    assert len(recent) == 0


def test_a_size_of_zero_remembers_nothing() -> None:
    recent = RecentFingerprints(0)
    recent.add(b"a")
    assert b"a" not in recent


def test_recent_fingerprints_are_never_older_than_the_ttl() -> None:
    now = 0.0
    recent = RecentFingerprints(100, 8.0, clock=lambda: now)
    added: dict[bytes, float] = {}
    for step in range(200):
        now = step / 4
        name = b"%d" % step
        recent.add(name)
        added[name] = now
        for known, at in added.items():
            if now - at >= 8.0:
                assert known not in recent, f"{known!r} is {now - at} s old"
        assert name in recent


# ---------------------------------------------------------------------- fingerprints of known links


URL_TEXTS = st.text(alphabet="ab/?&=#%2f.é ", max_size=12)
METHODS = st.sampled_from(["GET", "POST", "get"])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(URL_TEXTS, METHODS, st.sampled_from([b"", b"x"]), st.sampled_from([{}, {"verbatim_url": True}])))
)
def test_a_remembered_fingerprint_is_scrapys(asked: list[tuple[str, str, bytes, dict[str, bool]]]) -> None:
    links = KnownLinks(fingerprint, 3)
    for _ in range(2):
        for path, method, body, meta in asked:
            one = Request(f"http://s.test/{path}", method=method, body=body, meta=dict(meta))
            assert links(one) == fingerprint(one)
            assert len(links.newest) <= 3


def test_only_scrapys_own_fingerprinter_is_remembered() -> None:
    class Theirs(RequestFingerprinter):
        def fingerprint(self, request: Request) -> bytes:
            return str(request.headers.get("Id")).encode()

    class Crawler:
        request_fingerprinter: object = Theirs()

    assert not isinstance(fingerprint_function(Crawler()), KnownLinks)  # type: ignore[arg-type]
    Crawler.request_fingerprinter = RequestFingerprinter()
    assert isinstance(fingerprint_function(Crawler()), KnownLinks)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- tasks


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    swallowed = []

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed.append(1)
                if len(swallowed) > 2:
                    raise

    async def failing() -> None:
        raise ValueError("dropped")

    tasks = [asyncio.ensure_future(stubborn()), asyncio.ensure_future(failing())]
    await asyncio.sleep(0)
    await end_tasks(tasks)
    assert all(task.done() for task in tasks)
    await end_tasks([])
