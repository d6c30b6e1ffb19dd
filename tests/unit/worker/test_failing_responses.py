"""Which responses a worker offers to keep beside dead letters."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response, TextResponse
from scrapy.spidermiddlewares.httperror import HttpError
from scrapy.utils.test import get_crawler
from twisted.python.failure import Failure

from mocra_scrapy.codec.responses import StoredResponse
from mocra_scrapy.models import Burial, CrawlState, Exchange, Lease, QueueSize
from mocra_scrapy.worker import failing_responses
from mocra_scrapy.worker.deliveries import Delivery
from mocra_scrapy.worker.failing_responses import AnsweredBurial, FailingResponses, kind_of, response_of
from mocra_scrapy.worker.outbox import Batch

URL = "http://s.test/"


class Keeper:
    """A worker's, and the outbox behind it."""

    def __init__(self, most: int = 2, *, shared: bool = True, one_off: bool = False, body_bytes: int = 100) -> None:
        queue = SimpleNamespace(dead_bodies=most)
        options: Any = SimpleNamespace(queue=queue, secret_params=["*token*"])
        parts: Any = SimpleNamespace(options=options, shared=shared, one_off=one_off)
        stats = get_crawler().stats
        assert stats is not None
        self.stats = stats
        failures: Any = SimpleNamespace(dead_body_max_bytes=body_bytes)
        self.responses = FailingResponses(parts, failures, stats)

    def offer(self, kind: str = "k", result: Any = None, body: bytes = b"page") -> Burial:
        delivery = Delivery(Request(URL), Lease("t", b""), None)
        delivery.scraped = (0.0, Response(URL, 503, body=body) if result is None else result, None)
        return self.responses.offered_with(Burial(Lease("t", b""), "retry", kind=kind), delivery)

    def tell(self, *burials: Burial, buried: bool = True, kept: bool = True) -> None:
        flags = [buried] * len(burials), [kept] * len(burials)
        exchange = Exchange((), (), (), flags[0], (), QueueSize(), None, CrawlState(1), kept=flags[1])
        Batch(burials=list(burials)).tell(exchange)


def is_offered(burial: Burial) -> bool:
    return isinstance(burial, AnsweredBurial)


def test_no_more_than_can_be_kept_are_under_way() -> None:
    keeper = Keeper(most=2)
    first, second, third = (keeper.offer() for _ in range(3))
    assert [is_offered(x) for x in (first, second, third)] == [True, True, False]
    assert is_offered(keeper.offer("another"))
    keeper.tell(first)
    assert is_offered(keeper.offer()), "the queue counts, and may have room"
    assert keeper.stats.get_value("mocra/dead/bodies") == 1


def test_what_is_refused_is_left_alone_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, now = Keeper(), 1000.0
    monkeypatch.setattr(failing_responses.time, "monotonic", lambda: now)
    keeper.tell(keeper.offer(), kept=False)
    assert not is_offered(keeper.offer())
    assert is_offered(keeper.offer("another"))
    now += failing_responses.FULL
    again = keeper.offer()
    assert is_offered(again)
    # A letter that was not written says nothing of the room.
    keeper.tell(again, buried=False, kept=False)
    assert is_offered(keeper.offer())
    assert keeper.stats.get_value("mocra/dead/bodies") is None


def test_kinds_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failing_responses, "KINDS", 10)
    keeper, now = Keeper(), 1000.0
    monkeypatch.setattr(failing_responses.time, "monotonic", lambda: now)
    for n in range(11):
        keeper.tell(keeper.offer(f"{n}"), kept=False)
    assert not is_offered(keeper.offer("new"))
    now += failing_responses.FULL
    assert is_offered(keeper.offer("new"))


@pytest.mark.parametrize("options", [{"shared": False}, {"one_off": True}, {"most": 0}], ids=str)
def test_where_nobody_could_look_at_them_none_are_kept(options: dict[str, Any]) -> None:
    assert not is_offered(Keeper(**options).offer())


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failing_responses, "WAITING_BYTES", 5)
    keeper = Keeper()
    assert is_offered(keeper.offer(body=b"12345"))
    assert not is_offered(keeper.offer("another"))
    assert keeper.stats.get_value("mocra/dead/bodies_left_out") == 1


async def test_it_is_packed_before_it_is_sent_a_large_one_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    pack = StoredResponse.pack

    def packing(stored: StoredResponse) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        return pack(stored)

    monkeypatch.setattr(StoredResponse, "pack", packing)
    keeper = Keeper(body_bytes=10**6)
    plain = Burial(Lease("t", b""), "item")
    batch = Batch(burials=[keeper.offer(body=b"small"), plain, keeper.offer(body=b"x" * 100_000)])
    assert [burial.response_bytes for burial in batch.burials] == [5, 0, 100_000]
    await batch.pack()
    assert threads == [True, False]
    assert batch.burials[1] is plain
    found = [StoredResponse.unpack(burial.response) for burial in batch.burials if burial.response is not None]
    assert [(one.status, len(one.body), one.size) for one in found] == [(503, 5, 5), (503, 100_000, 100_000)]
    assert is_offered(keeper.offer("another", body=b"x" * 10**6)), "what is packed does not wait"


def test_a_kind_that_nobody_named_is_reason_and_status() -> None:
    assert Keeper().offer("").kind == "retry 503"


def test_responses_that_are_none() -> None:
    keeper = Keeper()
    refused = Failure(HttpError(Response(URL, 404), "ignored"))  # type: ignore[no-untyped-call]
    assert is_offered(keeper.offer("a", refused))
    assert response_of(Failure(OSError("gone"))) is None  # type: ignore[no-untyped-call]
    assert not is_offered(keeper.offer("b", Failure(OSError("gone"))))  # type: ignore[no-untyped-call]

    class Odd(Response):
        flags = None  # type: ignore[assignment]

    odd = Odd(URL)
    odd.flags = None  # type: ignore[assignment]
    assert not is_offered(keeper.offer("c", odd))
    assert keeper.stats.get_value("mocra/dead/bodies_left_out") == 1


def test_a_kind_is_the_class_and_the_line_of_the_project() -> None:
    def kind(work: Any) -> str:
        try:
            work()
        except Exception as error:
            return kind_of("callback", error)
        raise AssertionError

    def own() -> None:
        raise KeyError("price")

    def library() -> None:
        TextResponse(URL, body=b"<p>").css("p::nonsense")

    here, there = kind(own), kind(library)
    assert here.startswith(f"callback KeyError {__name__}:")
    assert here.endswith(" in own")
    assert there.endswith(" in library"), "not a line of parsel"
    assert kind(own) == here
    one, other = lambda: int("x"), lambda: int("x")
    assert kind(one) == kind(other)
    other = lambda: int("x")  # noqa: E731
    assert kind(one) != kind(other), "another line is another kind"
    # Nothing of the project: the innermost line there is.
    assert kind_of("callback", KeyError("x")) == "callback KeyError "
    assert (
        len(kind(lambda: (_ for _ in ()).throw(type("E" * 500, (Exception,), {})))) == failing_responses.KIND_CHARACTERS
    )


async def test_what_cannot_be_packed_is_left_out() -> None:
    """A worker that stopped for it would meet it again."""
    keeper = Keeper(most=1)
    burial = keeper.offer(result=Response(URL, flags=["\ud800"]))
    batch = Batch(burials=[burial])
    await batch.pack()
    assert batch.burials[0].response is None
    assert keeper.stats.get_value("mocra/dead/bodies_left_out") == 1
    keeper.tell(*batch.burials, kept=False)
    assert keeper.responses._bytes == 0
    assert is_offered(keeper.offer("another"))
