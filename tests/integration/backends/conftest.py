"""What must hold after a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest


@pytest.fixture
async def nothing_stays_open() -> AsyncIterator[None]:
    """No socket of a test outlives it. redis-py does not wait for the end of TLS where a server
    refuses it, so this does.
    """
    sockets = getattr(asyncio.get_running_loop(), "_selector").get_map()  # noqa: B009 - asyncio tells it in no other way
    before = len(sockets)
    yield
    deadline = asyncio.get_running_loop().time() + 20
    while len(sockets) > before:
        assert asyncio.get_running_loop().time() < deadline, "a socket stays open"
        await asyncio.sleep(0.005)
