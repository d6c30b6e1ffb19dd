"""A TCP proxy that misbehaves on demand, in a thread of its own. For lost replies, delays, black
holes and resets.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import Any

from tests.services.listening import stop_listening


class FaultProxy:
    """Forwards ``127.0.0.1:port`` to *target*.

    Attributes:
        delay: seconds that each chunk is held, both ways.
        blackhole: take bytes and forward none.
        refuse: reset new connections.
        cut_after: reset a connection after so many more bytes of answers (0: swallow the next
            answer whole), once.
        connections, up, down: counters; bytes for the last two.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.delay = 0.0
        self.blackhole = False
        self.refuse = False
        self.cut_after: int | None = None
        self.connections = self.up = self.down = 0
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="fault proxy")

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        async def close() -> None:
            await stop_listening(self._server)
            self._reset()
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)  # transports let go of their sockets

        self._do(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def heal(self) -> None:
        """No more faults."""
        self.delay, self.blackhole, self.refuse, self.cut_after = 0.0, False, False, None

    def reset(self) -> None:
        """Reset every open connection."""

        async def now() -> None:
            self._reset()

        self._do(now())

    def _reset(self) -> None:
        for pair in list(self._pairs):
            for writer in pair:
                _abort(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuse:
            _abort(writer)
            return
        pair = [writer]
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
            pair.append(up_writer)
            self._pairs.add((writer, up_writer))
            await asyncio.gather(self._pump(reader, up_writer, pair, False), self._pump(up_reader, writer, pair, True))
        except OSError:
            _abort(writer)
        finally:
            self._pairs = {known for known in self._pairs if writer not in known}
            for one in pair:
                one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: Any, down: bool) -> None:
        with contextlib.suppress(ConnectionError, OSError):
            while data := await reader.read(65536):
                while self.blackhole:
                    await asyncio.sleep(0.01)
                if self.delay:
                    await asyncio.sleep(self.delay)
                if down:
                    self.down += len(data)
                    if self.cut_after is not None:
                        left, self.cut_after = self.cut_after, None
                        if left:
                            writer.write(data[:left])
                            await writer.drain()
                        for one in pair:
                            _abort(one)
                        return
                else:
                    self.up += len(data)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()


def _abort(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
