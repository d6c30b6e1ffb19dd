"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.workers import Workers
from tests.mocksite import MockSite


@pytest.fixture
def site() -> Iterator[MockSite]:
    with MockSite(pages=120) as running:
        yield running


@pytest.fixture
def workers(tmp_path: Path, redis_url: str) -> Iterator[Workers]:
    """Workers on the session's Redis."""
    found = Workers(tmp_path, redis_url)
    yield found
    found.kill()
