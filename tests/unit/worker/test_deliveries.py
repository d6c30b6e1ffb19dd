"""When a request is settled, and what is kept of its failures."""

from __future__ import annotations

import pytest
from scrapy import Request

from mocra_scrapy.models import Lease
from mocra_scrapy.worker.deliveries import CURRENT, RECORDS, Deliveries, Delivery
from mocra_scrapy.worker.entry_names import twin_of
from mocra_scrapy.worker.slot_policy import Instant


class Box:
    def __init__(self) -> None:
        self.settled: list[Delivery] = []
        self.left: list[tuple[str, ...]] = []
        self.kicks = 0
        self.unused: list[Instant] = []
        self.deliveries = Deliveries(self.settled.append, self.left.append, self._kick, self._unused)

    def _unused(self, names: tuple[str, ...], instant: Instant) -> None:
        self.unused.append(instant)

    def _kick(self) -> None:
        self.kicks += 1

    def out(self, name: str = "a") -> Request:
        """Handed out, and taken by the engine."""
        given = self.deliveries.hand_out(
            Request(f"http://s.test/{name}"), Lease(name, b"", "s", scopes=("@one",)), None
        )
        self.deliveries.taken(given)
        return given


@pytest.mark.parametrize("inline", [1, 2, 3])
def test_a_request_that_its_callback_fetches_again_is_settled_at_the_end(inline: int) -> None:
    """``await engine.download_async(response.request)``: the engine takes that very object and lets
    go of it, while its callback still runs.
    """
    box = Box()
    request = box.out()
    for _ in range(inline):
        box.deliveries.taken(request)
        box.deliveries.finished(request)
        assert not box.settled, "its callback still runs"
        assert box.deliveries.by_id[id(request)].lease is not None
    box.deliveries.finished(request)
    assert len(box.settled) == box.kicks == 1
    assert not len(box.deliveries)


def test_fetches_at_the_same_time_and_beyond_the_callback() -> None:
    box = Box()
    request = box.out()
    box.deliveries.taken(request)
    box.deliveries.taken(request)
    for _ in range(2):
        box.deliveries.finished(request)
        assert not box.settled
    box.deliveries.finished(request)
    assert len(box.settled) == 1
    box.deliveries.finished(request)
    box.deliveries.taken(request)
    assert len(box.settled) == 1, "once"


def test_an_inline_fetch_that_a_cache_answers_leaves_the_permit() -> None:
    """The request itself is still at the site."""
    box = Box()
    request = box.out()
    box.deliveries.taken(request)
    box.deliveries.not_sent(request)
    assert box.left == []
    box.deliveries.finished(request)
    box.deliveries.not_sent(request)
    assert box.left == [("s", "@one")]


def test_what_never_came_from_here_is_passed_over() -> None:
    box = Box()
    request = box.out()
    other = Request(request.url)
    box.deliveries.taken(other)
    box.deliveries.finished(other)
    assert not box.settled
    box.deliveries.finished(request)
    assert len(box.settled) == 1


def test_a_permit_is_given_back_once() -> None:
    box = Box()
    request = box.out()
    box.deliveries.downloaded(request)
    box.deliveries.taken(request)
    box.deliveries.downloaded(request)
    box.deliveries.finished(request)
    box.deliveries.finished(request)
    assert box.left == [("s", "@one")]
    never_downloaded = box.out("b")
    box.deliveries.finished(never_downloaded)
    assert len(box.left) == 2


def test_what_is_settled_lets_go_of_its_request() -> None:
    """:data:`CURRENT` stands in the context of each timer that was set in its course, and these
    outlive the crawl.
    """
    box = Box()
    request = box.out()
    delivery = CURRENT.get()
    assert delivery is not None
    child = box.deliveries.hand_out(Request("http://s.test/x"), None, box.deliveries.adopt(delivery))
    of_child = CURRENT.get()
    box.deliveries.finished(request)
    assert delivery.request is request, "it may become a letter"
    box.deliveries.finished(child)
    assert of_child is not None
    assert (delivery.request, of_child.request, of_child.parent) == (None, None, None)


def test_a_delivery_keeps_a_few_of_the_items_that_failed_and_counts_all() -> None:
    delivery = Delivery(None, None, None)
    for n in range(1000):
        delivery.record(f"{n}")
    assert delivery.records == [str(n) for n in range(RECORDS)]
    assert delivery.failed_items == 1000


def test_items_of_local_children_are_their_parents_counted_once_and_bounded() -> None:
    parent = Delivery(None, None, None)
    parent.record("of the parent")
    for name in "xy":
        child = Delivery(Request(f"http://s.test/{name}"), None, parent)
        for n in range(RECORDS + 5):
            child.record(f"{name}{n}")
        parent.inherit(child)
    assert parent.failed_items == 1 + 2 * (RECORDS + 5)
    assert parent.records == ["of the parent", *(f"x{n}" for n in range(RECORDS - 1))]


class Token(Request):
    def __init__(self, url: str, token: str) -> None:
        self.token = token
        super().__init__(url)


def test_a_class_that_copy_does_not_know_has_a_twin() -> None:
    one = Token("http://s.test/", "t")
    other = twin_of(one)
    assert isinstance(other, Token)
    assert other is not one
    assert (other.url, other.token) == (one.url, "t")
    box = Box()
    box.deliveries.hand_out(one, None, None)
    again = box.deliveries.hand_out(one, None, None)
    assert again is not one
    assert len(box.deliveries) == 2
