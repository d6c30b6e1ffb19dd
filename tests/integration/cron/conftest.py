"""A project with one job, on each kind of store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.cron.bench import Bench


@pytest.fixture(params=["file", pytest.param("redis", marks=pytest.mark.redis)])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    url = "memory://" if request.param == "file" else request.getfixturevalue("redis_url")
    made = Bench(tmp_path, url)
    yield made
    await made.close()
