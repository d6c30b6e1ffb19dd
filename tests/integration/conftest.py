"""Fixtures of the integration tests."""

from tests.integration.scheduling import asyncio_reactor

__all__ = ["asyncio_reactor"]
