"""Posts to one web address, and to nowhere else.

The host's name is looked up for each connection, and the connection goes to an address that was
looked at: so a name that leads elsewhere a moment later (DNS rebinding) gets nothing. Redirects are
not followed, proxies of the environment not used, and of an answer only its head matters. Not taken:
``urllib`` in a thread, which looks names up by itself. A look-up that hangs keeps no process alive:
its thread is one that nobody waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from mocra_scrapy._tasks import in_a_thread
from mocra_scrapy._version import __version__
from mocra_scrapy.events.sink import Refused
from mocra_scrapy.models.redaction import redact_url
from mocra_scrapy.settings.webhooks import is_global

#: Bytes of an answer's head, at most.
HEAD = 16 * 1024
#: Answers that may be others in a moment.
PASSING = (408, 425, 429)
#: Seconds for which the rest of an answer is read, and bytes of it.
REST, REST_BYTES = 1.0, 64 * 1024

#: Addresses of a host and port.
Resolve = Callable[[str, int], Awaitable[list[str]]]


class NotNow(Exception):
    """The server is there, and asks to come again. ``after``: seconds that it names; 0: none."""

    def __init__(self, problem: str, after: float = 0.0) -> None:
        super().__init__(problem)
        self.after = after


async def addresses_of(host: str, port: int) -> list[str]:
    """What the system's resolver says, in its order."""
    found = await in_a_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), "mocra webhook look-up")
    return list(dict.fromkeys(str(place[4][0]) for place in found))


class Poster:
    """A web address that takes posts.

    Args:
        url: checked by :func:`~mocra_scrapy.settings.webhooks.check_target`.
        private: whether it may be in a private network.
        headers: what is sent beside the usual ones.
    """

    def __init__(self, url: str, *, private: bool, headers: Mapping[str, str], resolve: Resolve = addresses_of) -> None:
        parts = urlsplit(url)
        self.shown = redact_url(url)
        self._tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._private = private
        self._resolve = resolve
        self._context: ssl.SSLContext | None = None
        self._headers = {
            "Host": parts.netloc,
            "User-Agent": f"mocra_scrapy/{__version__}",
            "Content-Type": "application/json",
            "Connection": "close",
            **headers,
        }

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Post *body*, and wait until the server has taken it.

        Raises:
            Refused: it is where nothing may be posted to, or its answer is the same each time.
            NotNow: 5xx, 429 and their like.
            OSError, ValueError: no answer, or none that makes sense.
        """
        reader, writer = await self._connect()
        try:
            lines = {**self._headers, **headers, "Content-Length": str(len(body))}
            head = f"POST {self._path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
            writer.write(head.encode("utf-8") + b"\r\n" + body)
            await writer.drain()
            status, answer = await self._answer(reader)
            # Who hangs up in the middle of an answer looks like a crash in the server's log.
            with contextlib.suppress(asyncio.TimeoutError, OSError, asyncio.IncompleteReadError):
                await asyncio.wait_for(reader.readexactly(REST_BYTES), REST)
        finally:
            writer.close()
        self._judge(status, answer)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        found = await self._resolve(self._host, self._port)
        allowed = [address for address in found if self._private or _is_public(address)]
        if not allowed:
            where = f"leads into a private network ({', '.join(found[:3])})" if found else "leads nowhere"
            raise Refused(f'{self.shown} {where}. Set "private": True for that webhook if it is a server of your own')
        error: OSError | None = None
        for address in allowed[:3]:
            try:
                return await asyncio.open_connection(
                    address,
                    self._port,
                    ssl=await self._tls_context() if self._tls else None,
                    server_hostname=self._host if self._tls else None,
                    limit=HEAD,
                )
            except OSError as failed:
                error = failed
        raise error or OSError(f"{self.shown} can't be reached")

    async def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:  # reads some hundred certificates
            self._context = await in_a_thread(ssl.create_default_context, "mocra webhook certificates")
        return self._context

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError as error:
                raise ValueError(f"the head of its answer is longer than {HEAD} bytes") from error
            except asyncio.IncompleteReadError as error:
                raise ConnectionError("it hung up before it answered") from error
            first, *lines = head.decode("latin-1").split("\r\n")
            version, _, rest = first.partition(" ")
            if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
                raise ValueError("its answer is not HTTP")
            status = int(rest[:3])
            if status >= 200:  # before that: "go on"
                pairs = (line.partition(":") for line in lines if ":" in line)
                return status, {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _judge(self, status: int, headers: Mapping[str, str]) -> None:
        if 200 <= status < 300:
            return
        if status >= 500 or status in PASSING:
            after = headers.get("retry-after", "")
            raise NotNow(f"it answers {status}", float(after) if after.isdecimal() and len(after) < 6 else 0.0)
        where = ""
        if 300 <= status < 400 and headers.get("location"):
            where = f"; it redirects to {redact_url(headers['location'])[:200]}: write that URL"
        raise Refused(f"{self.shown} answers {status}{where}")


def _is_public(address: str) -> bool:
    try:
        return is_global(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return False
