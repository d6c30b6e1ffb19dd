"""``scrapy mocra site``: something to crawl, on this machine."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.docs_site import DocsSite
from mocra_scrapy.commands.verbs.verb import positive

HOST = "127.0.0.1"
ROBOTS = b"User-agent: *\nAllow: /\n"


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Serve the documentation of the Python that is installed here, as thousands of small linked
    pages, on this machine only: something to crawl that is nobody's. Ctrl-C ends it.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="where (default: 8000; 0: any that is free)")
        parser.add_argument("--pages", type=positive, default=3000, help="so many, about (default: 3000)")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        if not 0 <= options.port <= 65535:
            print("Error: --port is a number from 0 to 65535", file=sys.stderr)
            return 2
        return asyncio.run(serve(DocsSite(options.pages), options.port))


async def serve(site: DocsSite, port: int) -> int:
    """Until SIGINT or SIGTERM. Exit code 1: the port is taken."""
    done = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C is a KeyboardInterrupt there
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, done.set)
    connections: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await _answer(site, reader, writer)
        connections.discard(writer)
        writer.close()

    try:
        server = await asyncio.start_server(answer, HOST, port)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        print(f"Error: {HOST}:{port} can't be listened on: {why}. Choose another --port", file=sys.stderr)
        return 1
    url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}/"
    print(f"{url} has about {site.pages} pages of Python's documentation. Ctrl-C ends it", flush=True)
    await done.wait()
    server.close()
    for writer in connections:
        writer.close()
    return 0


async def _answer(site: DocsSite, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The requests of one connection."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *headers = head.decode("latin-1").lower().split("\r\n")
        method, _, rest = head.decode("latin-1").partition(" ")
        path = rest.split(" ", 1)[0].partition("?")[0]
        kind, body = "text/html; charset=utf-8", site.page(path)
        status = "200 OK" if body is not None else "404 Not Found"
        if path == "/robots.txt":
            status, kind, body = "200 OK", "text/plain", ROBOTS
        if method not in ("GET", "HEAD"):
            status, body = "405 Method Not Allowed", b""
        body = b"no such page" if body is None else body
        close = "connection: close" in headers or line.endswith("http/1.0") or method not in ("GET", "HEAD")
        answer = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        answer += "Connection: close\r\n\r\n" if close else "\r\n"
        writer.write(answer.encode() + (b"" if method == "HEAD" else body))
        await writer.drain()
        if close:
            return
