"""Servers of asyncio that end while somebody connects."""

from __future__ import annotations

import asyncio

#: Turns of the loop from the acceptance of a connection to the start of the task that serves it, and some more.
TURNS = 5


async def stop_listening(server: asyncio.Server) -> None:
    """No connections from now on; those that were accepted before are given to the server's callback first.

    ``Server.close()`` alone forgets what was accepted a moment ago: the transport that is made for it later finds its
    server closed, fails in silence and stays open until it is collected, with a ResourceWarning in whatever test is
    the next one then (``Server._attach`` of CPython 3.13).
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    for _ in range(TURNS):
        await asyncio.sleep(0)
    server.close()
