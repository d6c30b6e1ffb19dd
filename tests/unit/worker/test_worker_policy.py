"""``MOCRA_THROTTLE_SCOPE = "worker"``: the downloader's own slots say how much there is room for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request

from mocra_scrapy.models import Bounds
from mocra_scrapy.worker.slot_policy import WorkerPolicy


class Engine:
    """A downloader with so much room a slot, of which so much is taken."""

    def __init__(self, room: dict[str, int], active: dict[str, int]) -> None:
        self.room, self.active = room, active

    def concurrency_of(self, slot: str) -> int:
        return self.room.get(slot, 5)

    def active_in(self, slot: str) -> int:
        return self.active.get(slot, 0)


class Limits:
    def scopes_of(self, slot: str, request: Request) -> tuple[str, ...]:
        return (f"scope of {slot}",) if "mocra_scopes" in request.meta else ()


def an_inbox(**held: int) -> Any:
    return SimpleNamespace(slots=list(held), held_in=held.__getitem__)


def policy(room: dict[str, int], active: dict[str, int] | None = None) -> WorkerPolicy:
    return WorkerPolicy(Limits(), Engine(room, active or {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("room", "active", "free"), [(2, 1, True), (2, 2, False), (2, 3, False), (0, 9, True)])
def test_a_slot_has_room_until_the_downloader_is_busy_with_it(room: int, active: int, free: bool) -> None:
    assert policy({"a": room}, {"a": active}).has_room(("a",), leased=True) is free


@pytest.mark.parametrize(
    ("held", "active", "fetchable"),
    [(3, 0, 3), (9, 0, 4), (9, 3, 1), (9, 4, 0), (9, 7, 0), (0, 0, 0)],
)
def test_of_a_slot_twice_its_room_can_be_fetched(held: int, active: int, fetchable: int) -> None:
    assert policy({"a": 2}, {"a": active}).fetchable(an_inbox(a=held)) == fetchable


def test_what_can_be_fetched_is_added_up_and_all_of_it_where_nothing_bounds_it() -> None:
    assert policy({"a": 2, "b": 1, "c": 0}).fetchable(an_inbox(a=9, b=9, c=9)) == 4 + 2 + 9


def test_slots_of_which_there_is_enough_are_full() -> None:
    mine = policy({"a": 2, "b": 2, "c": 2, "d": 0, "": 7}, {"b": 1})
    assert mine.bounds(9, an_inbox(a=3, b=3, c=4, d=99)) == Bounds(full=["b", "c"], per_slot=7)
    assert mine.bounds(0, an_inbox(c=99)) == Bounds(), "nothing is asked for"


def test_who_names_a_scope_is_asked_about_it() -> None:
    """The limits refuse it: nothing here could hold it."""
    assert policy({}).scopes_of("a", Request("http://a.test/")) == ()
    assert policy({}).scopes_of("a", Request("http://a.test/", meta={"mocra_scopes": "x"})) == ("scope of a",)
