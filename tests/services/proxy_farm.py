"""HTTP proxies that misbehave on demand, all in one thread: refuse, hang, ask for a password, answer
502, cut the page in the middle, serve a captcha in its place, take their time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import threading
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from tests.services.listening import stop_listening
from tests.services.processes import free_port

FAULTS = ("refuse", "hang", "407", "401", "502", "cut", "captcha", "slow")
CAPTCHA = gzip.compress(b"<html><title>Are you a robot?</title> please solve this captcha </html>")


class FarmProxy:
    """One of them.

    Attributes:
        fault: one of :data:`FAULTS`; empty: it does what it should.
        password: of the user ``user``; empty: it wants none.
        seen: hosts and ports that it was asked for, in order; ``most``: requests at a time, at most.
        refused: requests that had no or another password.
        headers: values of Proxy-Authorization that came.
    """

    def __init__(self, farm: ProxyFarm, port: int, password: str) -> None:
        self._farm, self.port, self.password = farm, port, password
        self.fault = ""
        self.slow = 0.3
        self.seen: list[str] = []
        self.headers: list[str] = []
        self.now = self.most = self.refused = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return (
            f"http://user:{self.password}@127.0.0.1:{self.port}" if self.password else f"http://127.0.0.1:{self.port}"
        )

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def stop_listening(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await stop_listening(server)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._farm.connections.add(writer)  # before anything is awaited: what is closed early has it, too
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._farm.serving.add(task)
        task.add_done_callback(self._farm.serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self._answer(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.now -= 1
            writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        place = target if method == "CONNECT" else urlsplit(target).netloc
        self.seen.append(place)
        self._farm.requests[place, self.fault] += 1
        given = next(
            (line.partition(":")[2].strip() for line in lines if line.lower().startswith("proxy-authorization:")), ""
        )
        self.headers.append(given)
        wanted = "Basic " + base64.b64encode(f"user:{self.password}".encode()).decode()
        if (self.password and given != wanted) or self.fault in ("407", "401"):
            self.refused += 1
            status = "401 Unauthorized" if self.fault == "401" else "407 Proxy Authentication Required"
            writer.write(f'HTTP/1.1 {status}\r\nServer: tinyproxy\r\nProxy-Authenticate: Basic realm="x"\r\n'.encode())
            writer.write(b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        elif self.fault == "hang":
            await self._farm.ended.wait()
        elif self.fault == "502":
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        elif self.fault == "captcha":
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nConnection: close\r\n"
            )
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(CAPTCHA), CAPTCHA))
        else:
            if self.fault == "slow":
                await asyncio.sleep(self.slow)
            await self._forward(method, target, lines, (reader, writer))
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    async def _forward(self, method: str, target: str, lines: list[str], client: Any) -> None:
        reader, writer = client
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        try:
            theirs, out = await asyncio.open_connection(parts.hostname, parts.port or 80)
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nX-From: proxy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.gather(_pump(reader, out), _pump(theirs, writer))
                return
            path = parts.path + (f"?{parts.query}" if parts.query else "") or "/"
            kept = [line for line in lines[1:] if line and not line.lower().startswith(("proxy-", "connection:"))]
            kept += [f"X-Through: {self.port}", "Connection: close"]
            out.write("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "", ""]).encode("latin-1"))
            out.write(await reader.readexactly(_length_of(lines)))
            answer = await _answer_of(theirs)
            if self.fault == "cut":
                cut = answer.find(b"\r\n\r\n") + 4
                answer = answer[: cut + max(1, (len(answer) - cut) // 2)]
            writer.write(answer)
        finally:
            out.close()


async def _answer_of(reader: asyncio.StreamReader) -> bytes:
    """One answer, as long as it says that it is."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None)
    return head + (await reader.read(-1) if length is None else await reader.readexactly(length))


def _length_of(lines: list[str]) -> int:
    """Bytes of the body behind the header lines."""
    return next((int(line[15:]) for line in lines if line.lower().startswith("content-length:")), 0)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


class ProxyFarm:
    """*number* proxies.

    Attributes:
        requests: (host and port, fault) -> how often it was asked for.
    """

    def __init__(self, number: int, passwords: list[str] | None = None) -> None:
        given = passwords or []
        self.proxies = [FarmProxy(self, free_port(), given[i] if i < len(given) else "") for i in range(number)]
        self.requests: Counter[tuple[str, str]] = Counter()
        self.connections: set[asyncio.StreamWriter] = set()
        self.serving: set[asyncio.Future[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="proxy farm")

    def __enter__(self) -> ProxyFarm:
        self._thread.start()

        async def start() -> None:
            self.ended = asyncio.Event()
            for proxy in self.proxies:
                await proxy.listen()

        self._do(start())
        return self

    def __exit__(self, *_: object) -> None:
        async def close() -> None:
            self.ended.set()
            for proxy in self.proxies:
                await proxy.stop_listening()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for connection in self.connections:  # those that nobody reads any more as well
                connection.transport.abort()
            for _ in range(3):  # they are closed by the loop, after this
                await asyncio.sleep(0)

        self._do(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def spoil(self, number: int, fault: str) -> None:
        """Proxy *number* has *fault* from now on; empty: it is well again."""
        proxy = self.proxies[number]
        if fault == "refuse":
            self._do(proxy.stop_listening())
        elif proxy.fault == "refuse":
            self._do(proxy.listen())
        proxy.fault = fault
