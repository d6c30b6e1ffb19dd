"""A few of the random instants of ``early_stops.py``, of each kind of end one."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.early_stops import ENDS, play_all

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(1200)
def test_whatever_is_stopped_while_it_starts_ends_and_is_told_of() -> None:
    met, wrong = asyncio.run(play_all(range(len(ENDS)), span=3.0, at_once=2))
    assert wrong == []
    assert sum(met.values()) == len(ENDS)
