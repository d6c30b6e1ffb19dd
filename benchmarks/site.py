"""A fast, deterministic site in a process of its own:
``python -m benchmarks.site PAGES [--links 10] [--bytes 4000] [--latency 0]``.

Prints its address and serves on loopback until it is ended. ``/page/<n>`` links to two pages of a
binary tree (so all are reachable) and to random others, so with 10 links and N pages nine of ten
links are known. ``/flat/<n>`` has no links. With ``--hosts H`` page n belongs to host number n
modulo H; all of them are this server, told apart by ``download_slot``.
"""

from __future__ import annotations

import argparse
import asyncio
import random

FILLER = (
    b"<p>Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore.</p>\n"
)


def page(n: int, pages: int, links: int, size: int) -> bytes:
    """The body of page *n*."""
    rng = random.Random(n)
    targets = [t for t in (2 * n + 1, 2 * n + 2) if t < pages]
    targets += [rng.randrange(pages) for _ in range(links - len(targets))]
    anchors = b"".join(b'<a href="/page/%d">page %d</a>\n' % (t, t) for t in targets[:links])
    head = b"<html><head><title>page %d</title></head><body>\n" % n
    filler = FILLER * max(0, (size - len(anchors) - len(head)) // len(FILLER))
    return head + anchors + filler + b"</body></html>"


class Server(asyncio.Protocol):
    """Just enough of HTTP/1.1 for Scrapy: GET, keep-alive, requests that fit one segment."""

    answers: dict[bytes, bytes]
    latency: float

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            path = head.split(b" ", 2)[1]
            answer = self.answers.get(path) or self.answers[b"404"]
            if self.latency:
                asyncio.get_running_loop().call_later(self.latency, self.send, answer)
            else:
                self.transport.write(answer)

    def send(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)


def answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


async def serve(arguments: argparse.Namespace) -> None:
    Server.latency = arguments.latency
    Server.answers = {b"404": answer(b"no such page", b"404 Not Found")}
    for n in range(arguments.pages):
        Server.answers[b"/page/%d" % n] = answer(page(n, arguments.pages, arguments.links, arguments.bytes))
        Server.answers[b"/flat/%d" % n] = answer(page(n, arguments.pages, 0, arguments.bytes))
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", arguments.port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.site", description=__doc__)
    parser.add_argument("pages", type=int)
    parser.add_argument("--links", type=int, default=10)
    parser.add_argument("--bytes", type=int, default=4000)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
