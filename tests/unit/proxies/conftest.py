"""Crawlers with a pool of proxies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.proxies.chain import Chain


@pytest.fixture
async def make() -> AsyncIterator[Any]:
    made: list[Chain] = []

    async def new(**settings: Any) -> Chain:
        chain = Chain(**settings)
        made.append(chain)
        await chain.mocra.backend.open()
        await chain.pool.open()
        return chain

    yield new
    for chain in made:
        await chain.pool.close()
