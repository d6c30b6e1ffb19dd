"""``python -m benchmarks.delay LISTEN TARGET ONE_WAY_MS``: a TCP proxy on loopback that delays,
without limiting the rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    loop = asyncio.get_running_loop()

    def forward(chunk: bytes) -> None:
        if not writer.is_closing():
            writer.write(chunk)

    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            loop.call_later(delay, forward, chunk)  # not sleep: bytes behind one another are delayed together
    loop.call_later(delay, writer.close)


async def main(listen: int, target: int, delay: float) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(pump(reader, up_writer, delay), pump(up_reader, writer, delay))

    server = await asyncio.start_server(serve, "127.0.0.1", listen)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
