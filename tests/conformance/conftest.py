"""Every test that takes ``harness`` runs on every backend."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .harness import Harness, make_harness

SERVERS = ["redis", "cluster"]
OTHERS = ["redis-6.2", "valkey"]
KINDS = [
    "memory",
    *(pytest.param(kind, marks=pytest.mark.redis) for kind in SERVERS),
    *(pytest.param(kind, marks=[pytest.mark.redis, pytest.mark.other_server]) for kind in OTHERS),
]


@pytest.fixture(params=KINDS)
def bare_harness(request: pytest.FixtureRequest) -> Harness:
    """Not started: for tests that run an event loop of their own."""
    return make_harness(request.param, request)


@pytest.fixture
async def harness(bare_harness: Harness) -> AsyncIterator[Harness]:
    await bare_harness.start()
    yield bare_harness
    await bare_harness.stop()
