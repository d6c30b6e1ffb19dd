"""Which requests are in flight, when each is finished, and what must be finished before it.

A leased request is settled when the engine has let go of it *and* of every request that it caused
and that only this process can hold (one that can't be serialised): a crash before that brings the
leased one back, and with it the others.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from scrapy import Request

from mocra_scrapy.models import Departure, Lease
from mocra_scrapy.worker.earlier_failures import META_FAILURES, NO_FAILURES, take_failures
from mocra_scrapy.worker.entry_names import META_ENTRY, take_name, twin_of
from mocra_scrapy.worker.pushes import Children
from mocra_scrapy.worker.slot_policy import Instant

#: Letters of single items that one request leaves at most; the last of them says how many more
#: there were.
RECORDS = 10

#: The greater, the graver, see :meth:`Delivery.fail`. An error in the callback says more than the
#: download that led to it.
GRAVITY = {"download": 1, "offsite": 1, "callback": 2, "retry": 3, "child_lost": 4, "callback_timeout": 5}


class Delivery:
    """One request on its way through the engine.

    Attributes:
        lease: what is to be settled at the end; ``None`` for a local request and for seeding.
        parent: the delivery that waits for this one.
        fetches: how often the engine has the request: again in ``engine.download_async``.
        waits_for: local children that are not finished.
        ended: whether the engine let go of it. *sent*: whether it left for the site.
        names: slots and scopes of which it takes a permit, until it left the downloader.
        fault: why it must not simply be acknowledged: ``(reason, detail)`` of a dead letter.
        kind: of that failure, where more is known. *answer*: what its callback was called with, where
            nobody waits for it any more.
        records: what went wrong with single items of it, for dead letters that are only records;
            the first :data:`RECORDS`. *record_kinds*: the kinds of these.
        failed_items: how many did.
        failures: what its entry carried of earlier failures. *entry*: its name, empty: it has none.
        scraped: while its callback or errback runs: since when (monotonic), what it was called
            with, and the Deferred that stands for its end.
        since: when it was handed out (monotonic).
        returned: whether it goes back into the queue, because the worker could not wait for it.
        departs: when it is to reach the wire, and what is booked for it; ``None``: it did, or may at
            any time.
        held: children that are stored with its acknowledgement only; ``None``: as they come.
        undone: whether its own callback or errback failed, so that none of these may be stored.
    """

    # What most of them never have is the class's: one is made for each page.
    fetches = waits_for = failed_items = 0
    ended = settled = sent = returned = undone = False
    fault: tuple[str, str] | None = None
    names: tuple[str, ...] = ()
    kind = ""
    answer: Any = None
    records: Sequence[str] = ()
    record_kinds: tuple[str, ...] = ()
    failures = NO_FAILURES
    entry = b""
    scraped: tuple[float, Any, Any] | None = None
    departs: Instant | None = None
    held: Children | None = None

    def __init__(
        self,
        request: Request | None,
        lease: Lease | None,
        parent: Delivery | None,
        on_settled: Callable[[], None] | None = None,
    ) -> None:
        self.request = request  # a strong reference keeps id(request) unique while it is in flight
        self.lease, self.parent, self.on_settled, self.since = lease, parent, on_settled, 0.0

    @property
    def result(self) -> Any:
        """What its callback or errback was called with: a response or a Failure; ``None``: neither was."""
        return self.answer if self.scraped is None else self.scraped[1]

    def fail(self, reason: str, detail: str, kind: str = "") -> None:
        """It did not go well. Of several reasons the gravest is kept, of equal ones the first."""
        if self.fault is None or GRAVITY.get(reason, 0) > GRAVITY.get(self.fault[0], 0):
            self.fault, self.kind = (reason, detail), kind

    def inherit(self, child: Delivery) -> None:
        """What went wrong with a child that can't be stored is this one's: only replaying this one
        makes the child again.
        """
        if child.fault is not None:
            self.fail(child.fault[0], f"{child.request}, made by this request\n{child.fault[1]}")
        for record in child.records:
            self.record(record)
        self.failed_items += child.failed_items - len(child.records)
        self.returned = self.returned or child.returned

    def record(self, text: str, kind: str = "") -> None:
        """An item of it failed. The first :data:`RECORDS` are kept, all are counted."""
        self.failed_items += 1
        if len(self.records) < RECORDS:
            self.records = [*self.records, text]
            self.record_kinds += (kind,)


#: Of a request whose slot had no interval when it was handed out, and may have one by now.
NOT_BOOKED = Instant(-math.inf, None)

#: The delivery in whose course we are. Flows through retries, redirects, callbacks, errbacks and
#: pipelines, as they run in tasks that are started from ``next_request``'s context. Only a hint:
#: order on the wire, not this, keeps children before their parent.
CURRENT: ContextVar[Delivery | None] = ContextVar("mocra_delivery", default=None)


class Deliveries:
    """The requests that are in flight.

    Attributes:
        by_id: ``id()`` of a request -> what it was handed out as.
        sent_back: ``id()`` of those that were on their way to the wire, and go back into the queue.

    Args:
        settle: called once for each delivery that is finished, children included, in the order in
            which they finish.
        on_downloaded: called once for each leased request that left the downloader, with the names
            of its slot and scopes.
        on_unused: called with these and the instant of a leased request that never reached the wire.
        kick: called when something was settled.
    """

    def __init__(
        self,
        settle: Callable[[Delivery], None],
        on_downloaded: Callable[[tuple[str, ...]], None],
        kick: Callable[[], None],
        on_unused: Callable[[tuple[str, ...], Instant], None],
    ) -> None:
        self._settle = settle
        self._on_downloaded = on_downloaded
        self._kick = kick
        self._on_unused = on_unused
        self.by_id: dict[int, Delivery] = {}
        self.sent_back: set[int] = set()

    def __len__(self) -> int:
        return len(self.by_id)

    def in_flight(self) -> list[Delivery]:
        """Those that the engine has now, the oldest first."""
        return list(self.by_id.values())

    def scraped(self, request: Request, result: Any, end: Any) -> None:
        """The callback or errback of *request* is about to be called with *result*; *end* is the
        Deferred that stands for its end.
        """
        delivery = self.by_id.get(id(request))
        if delivery is not None:
            delivery.scraped = (time.monotonic(), result, end)

    def hand_out(
        self, request: Request, lease: Lease | None, parent: Delivery | None, departs: Instant | None = None
    ) -> Request:
        """*request*, which goes to the engine; a copy, if that very object is in flight
        already.

        A callback may yield ``response.request`` again; the object must not stand for two
        deliveries at once.
        """
        if id(request) in self.by_id:
            request = twin_of(request)
        delivery = Delivery(request, lease, parent)
        if lease is not None:
            delivery.names, delivery.departs = (lease.slot, *lease.scopes), departs
        carried = request.meta
        if META_FAILURES in carried:
            delivery.failures = take_failures(request)
        if META_ENTRY in carried:
            delivery.entry = take_name(request)
        delivery.since = time.monotonic()
        self.by_id[id(request)] = delivery
        CURRENT.set(delivery)
        return request

    def send_back(self, delivery: Delivery) -> None:
        """It was not sent, and goes back into the queue as it was."""
        delivery.returned = True
        self.sent_back.add(id(delivery.request))

    def not_sent(self, request: Request) -> None:
        """*request* was answered, or refused, without having reached the wire."""
        delivery = self.by_id.get(id(request))
        if delivery is not None and delivery.fetches <= 1:
            self._leave(delivery)

    def waited(self, request: Request) -> bool:
        """*request* waited for something that may have given its slot an interval: if it was handed out
        without an instant, it has to be booked where it leaves. Answers whether it is looked at there:
        the queue handed it out, and it has not left.
        """
        delivery = self.by_id.get(id(request))
        if delivery is None or delivery.lease is None or not delivery.names or delivery.sent:
            return False
        if delivery.departs is None:
            delivery.departs = NOT_BOOKED
        return True

    def book_anew(self, slot: str) -> None:
        """*slot* has a longer interval from now on than what of it has not left was booked with."""
        for delivery in self.by_id.values():
            if not delivery.sent and delivery.names[:1] == (slot,):
                delivery.departs = (delivery.departs or NOT_BOOKED)._replace(at=-math.inf)

    def before_the_wire(self, name: str) -> int:
        """How many that count for *name* have not left for the site: middlewares have them, or they wait
        for robots.txt.
        """
        return sum(not delivery.sent and name in delivery.names for delivery in self.by_id.values())

    def lend(self, slot: str) -> Departure | None:
        """The departure of one of *slot* that has not left, which has to be booked anew where it leaves."""
        for delivery in self.by_id.values():
            departs = delivery.departs
            if departs is not None and departs.departure is not None and delivery.names[:1] == (slot,):
                delivery.departs = NOT_BOOKED
                return departs.departure
        return None

    def downloaded(self, request: Request) -> None:
        """*request* left the downloader."""
        delivery = self.by_id.get(id(request))
        if delivery is not None:
            self._leave(delivery)

    def _leave(self, delivery: Delivery) -> None:
        names, delivery.names = delivery.names, ()
        if names:
            self._on_downloaded(names)
            if delivery.departs is not None:
                departs, delivery.departs = delivery.departs, None
                self._on_unused(names, departs)

    def taken(self, request: Request) -> None:
        """The engine begins to fetch *request*: the one that was handed out, or that object once
        more, inline in its own callback.
        """
        delivery = self.by_id.get(id(request))
        if delivery is not None:
            delivery.fetches += 1

    def finished(self, request: Request) -> None:
        """The engine let go of *request*: it is finished with the last of its fetches. Requests
        that never came from here (inline downloads) are passed over.
        """
        delivery = self.by_id.get(id(request))
        if delivery is None:
            return
        delivery.fetches -= 1
        if delivery.fetches <= 0:
            del self.by_id[id(request)]
            self.sent_back.discard(id(request))
            self._leave(delivery)
            self.end(delivery)

    def end(self, delivery: Delivery) -> None:
        """Nothing more comes from *delivery* itself."""
        delivery.ended = True
        self._maybe_settle(delivery)

    def adopt(self, parent: Delivery | None) -> Delivery | None:
        """A local child begins: its parent (``None``: there is none, or it is settled) waits for it
        from now on.
        """
        if parent is None or parent.settled:
            return None
        parent.waits_for += 1
        return parent

    def _maybe_settle(self, delivery: Delivery) -> None:
        current: Delivery | None = delivery
        while current is not None and current.ended and not current.waits_for and not current.settled:
            current.settled = True
            self._settle(current)
            self._kick()
            if current.on_settled is not None:
                current.on_settled()
            parent = current.parent
            if parent is not None:
                parent.waits_for -= 1
                parent.inherit(current)
            # Contexts outlive it in timers, also in those that were cancelled, for minutes: by the
            # request's callback they would keep the spider and its crawler.
            current.request = current.parent = current.on_settled = current.scraped = current.answer = None
            current = parent
