"""Servers of the tests that end while somebody connects."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import pytest

from tests.services.listening import stop_listening


@pytest.mark.parametrize("turns", range(6))
async def test_what_was_accepted_is_served_and_closed(turns: int) -> None:
    """Whichever turn of the loop the server is stopped in: of a connection, nothing or all has happened."""
    served: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: served.append(writer), "127.0.0.1", 0)
    with warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("always")
        with socket.create_connection(server.sockets[0].getsockname()):
            for _ in range(turns):
                await asyncio.sleep(0)
            await stop_listening(server)
        assert len(served) == (turns > 1)
        for writer in served:
            writer.close()
            await writer.wait_closed()
        served.clear()
        gc.collect()
    assert not unclosed
    assert not server.is_serving()
