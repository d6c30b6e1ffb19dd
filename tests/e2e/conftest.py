"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.workers import Workers
from tests.mocksite import MockSite


@pytest.fixture
def site() -> Iterator[MockSite]:
    with MockSite(pages=120) as running:
        yield running


@pytest.fixture
def workers_on(tmp_path: Path) -> Iterator[Callable[[str], Workers]]:
    """Makes workers on a backend by its URL; none outlives the test."""
    made: list[Workers] = []

    def make(url: str) -> Workers:
        folder = tmp_path / f"workers{len(made)}"
        folder.mkdir()
        made.append(Workers(folder, url))
        return made[-1]

    yield make
    for workers in made:
        workers.kill()


@pytest.fixture
def workers(workers_on: Callable[[str], Workers], redis_url: str) -> Workers:
    """Workers on the session's Redis."""
    return workers_on(redis_url)
