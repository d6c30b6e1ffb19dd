"""What several tests begin with."""

from __future__ import annotations

import pytest

from tests.unit.coordination.lock_stage import Locks
from tests.unit.coordination.test_leadership import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def locks(clock: Clock) -> Locks:
    return Locks(clock)
