"""A deterministic site that remembers every arrival: ``python -m tests.mocksite.site PAGES``;
prints its address.

``/page/<n>``  a page of a graph in which all PAGES are reachable from ``/page/0``. Every 37th is
               slow (0.3 s); every 41st answers 503 the first time; every 43rd closes its first
               connection without an answer
``/ok/<any>``  a page without links           ``/slow/<seconds>``  the same, later
``/status/<n>``  an answer with that status   ``/redirect/<path>`` 302 to ``/<path>``
``/elsewhere/<path>``  302 to the same path on localhost
``/left/<most>/<seconds>/<any>``  tells with ``X-RateLimit-…`` what is left of *most* requests in so many seconds, from
               the first one on; then they begin anew. ``/limited/…`` does so with ``RateLimit: "all";r=…;t=…``
``/drop``  closes the connection              ``/links/<n>``  a page with n links to ``/ok/<i>``
``/crowd/<group>/<seconds>/<any>``  a page that takes its time; how many of a group were under way at once is remembered
``/cached/<fresh>/<seconds>/<any>``  a page that takes its time, and is fresh for so many seconds
``/_peaks``  JSON: group -> the most of them at once
``/held/<any>``  a page that is answered when ``/_free`` was fetched
``/sick/<any>``  answers 500 until ``/_repair`` is fetched
``/feed/<n>.xml``, ``/feed/<n>.csv``  rows with the paths of n pages; ``/feed/<n>.sitemap`` a sitemap of them
``/image/<n>.png``  a small picture        ``/login``  gives a session's cookie, for the right form only
``/members/<any>``  a page for those who have that cookie; 403 for others
``/busy/<seconds>/<any>``  503 with ``Retry-After`` the first time
``/_gate/<n>``  nothing of ``/page``, ``/ok`` and ``/members`` but ``/page/0`` is answered from now on, until n of
               them are waited for at once: that many requests of all workers are under way
``/_robots/<seconds>[/<takes>/<refused>]``  robots.txt asks for that ``Crawl-delay`` from now on, and forbids
               ``/private``; it takes so many seconds, and so often it is 503
``/moods/<mood>,<mood>…/<any>``  the first arrival gets the first mood, and so on, the last one from
               then on: a status, ``503+2`` with ``Retry-After: 2``, ``503+date`` with
               a date two to three seconds ahead, ``drop``, ``hang`` (no answer for a minute)
``/_arrivals``  JSON: path -> times of arrival (seconds, monotonic)      ``/_reset``  forgets them
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import struct
import sys
import time
import zlib
from email.utils import formatdate

#: What ``/login`` wants, and what it gives.
FORM, SESSION = b"user=zoe&password=p%26q", "session=of-zoe"
HEAD = "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{extra}\r\n"


def links_of(n: int, pages: int) -> list[int]:
    """Children of a binary tree, and some that others link to as well."""
    tree = [t for t in (2 * n + 1, 2 * n + 2) if t < pages]
    return tree + [(n * 31 + k * 97) % pages for k in range(4)]


class Site:
    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.arrivals: dict[str, list[float]] = {}
        self.crowds: dict[str, int] = {}
        self.peaks: dict[str, int] = {}
        self.sick = True
        self.robots = ""
        self.windows: dict[str, tuple[float, int]] = {}  # of /left and /limited: its end, requests in it
        self.robots_takes, self.robots_refused = 0.0, 0
        self.gate, self.waiting = 0, 0
        self.opened = asyncio.Event()
        self.freed = asyncio.Event()

    async def pass_the_gate(self) -> None:
        self.waiting += 1
        if self.waiting >= self.gate:
            self.opened.set()
        await self.opened.wait()

    async def answer(self, path: str, head: bytes, form: bytes) -> tuple[int, str | bytes, str] | None:
        """``(status, body, extra headers)``; ``None``: close the connection."""
        first = len(self.arrivals[path]) == 1
        kind, _, rest = path.lstrip("/").partition("/")
        if self.gate and kind in ("page", "ok", "members") and path != "/page/0":
            await self.pass_the_gate()
        if kind == "page":
            n = int(rest)
            if n and n % 37 == 0:
                await asyncio.sleep(0.3)
            if first and n and n % 43 == 0:
                return None
            if first and n and n % 41 == 0:
                return 503, "busy", ""
            return 200, html(f"/page/{t}" for t in links_of(n, self.pages)), ""
        if kind == "crowd":
            group, seconds, _ = rest.split("/", 2)
            self.crowds[group] = self.crowds.get(group, 0) + 1
            self.peaks[group] = max(self.crowds[group], self.peaks.get(group, 0))
            await asyncio.sleep(float(seconds))
            self.crowds[group] -= 1
            return 200, html([]), ""
        if kind == "slow":
            await asyncio.sleep(float(rest.split("/")[0]))
        elif kind == "held":
            await self.freed.wait()
        elif kind == "cached":
            fresh, seconds, _ = rest.split("/", 2)
            await asyncio.sleep(float(seconds))
            return 200, html([]), f"Cache-Control: max-age={fresh}\r\n"
        elif kind == "status":
            return int(rest.split("/")[0]), "as you like", ""
        elif kind == "redirect":
            return 302, "", f"Location: /{rest}\r\n"
        elif kind == "elsewhere":
            (host,) = [line[5:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"host:")]
            return 302, "", f"Location: http://localhost:{host.decode().rpartition(':')[2]}/{rest}\r\n"
        elif kind in ("left", "limited"):
            return 200, html([]), self.left(kind, *rest.split("/")[:2])
        elif kind == "drop":
            return None
        elif kind == "moods":
            moods = rest.split("/")[0].split(",")
            return await self.in_the_mood(moods[min(len(self.arrivals[path]), len(moods)) - 1])
        elif kind == "links":
            return 200, html(f"/ok/{i}" for i in range(int(rest))), ""
        elif kind == "feed":
            return 200, feed(*rest.split(".")), ""
        elif kind == "image":
            return 200, picture(int(rest.partition(".")[0])), ""
        elif kind == "login":
            return (200, html([]), f"Set-Cookie: {SESSION}; Path=/\r\n") if form == FORM else (401, "who?", "")
        elif kind == "members":
            return (200, html([]), "") if SESSION.encode() in head else (403, "log in", "")
        elif kind == "sick" and self.sick:
            return 500, "sick", ""
        elif kind == "busy" and first:
            return 503, "busy", f"Retry-After: {rest.split('/')[0]}\r\n"
        elif kind == "robots.txt" and self.robots:
            await asyncio.sleep(self.robots_takes)
            if self.robots_refused:
                self.robots_refused -= 1
                return 503, "not now", ""
            return 200, f"User-agent: *\nDisallow: /private\nCrawl-delay: {self.robots}\n", ""
        elif kind not in ("ok", "robots.txt", "sick", "busy"):
            return 404, "no such page", ""
        return 200, html([]), ""

    def left(self, kind: str, most: str, seconds: str) -> str:
        now = time.monotonic()
        window, taken = self.windows.get(kind, (0.0, 0))
        if now >= window:
            window, taken = now + float(seconds), 0
        self.windows[kind] = window, taken + 1
        left, reset = max(0, int(most) - taken - 1), f"{window - now:.3f}"
        if kind == "limited":  # draft-ietf-httpapi-ratelimit-headers: whole seconds
            return f'RateLimit-Policy: "all";q={most};w={seconds}\r\nRateLimit: "all";r={left};t={math.ceil(window - now)}\r\n'
        there = {"Limit": most, "Remaining": left, "Reset": reset}
        return "".join(f"X-RateLimit-{name}: {value}\r\n" for name, value in there.items())

    async def in_the_mood(self, mood: str) -> tuple[int, str, str] | None:
        if mood == "drop":
            return None
        if mood == "hang":
            await asyncio.sleep(60)
        status, _, after = mood.partition("+")
        if after == "date":
            after = formatdate(time.time() + 3, usegmt=True)  # whole seconds: between two and three from now
        extra = f"Retry-After: {after}\r\n" if after else ""
        return (int(status) if status.isdecimal() else 200), html([]), extra

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                path, form = request.split(b" ", 2)[1].decode(), b""
                if path.startswith("http://"):  # it is asked as a proxy, and is the site as well
                    path = "/" + path.split("/", 3)[3]
                for line in request.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        form = await reader.readexactly(int(line[15:]))
                if path in ("/_arrivals", "/_peaks"):
                    status, body, extra = 200, json.dumps(getattr(self, path[2:])), ""
                elif path in ("/_repair", "/_free") or path.startswith("/_robots/"):
                    if path == "/_repair":
                        self.sick = False
                    elif path == "/_free":
                        self.freed.set()
                    else:
                        self.robots, takes, refused = (*path.split("/")[2:], "0", "0")[:3]
                        self.robots_takes, self.robots_refused = float(takes), int(refused)
                    status, body, extra = 200, "", ""
                elif path.startswith("/_gate/"):
                    self.gate, self.waiting = int(path.rpartition("/")[2]), 0
                    self.opened.clear()
                    status, body, extra = 200, "", ""
                elif path == "/_reset":
                    self.arrivals.clear()
                    self.freed.clear()
                    status, body, extra = 200, "", ""
                else:
                    self.arrivals.setdefault(path, []).append(time.monotonic())
                    answered = await self.answer(path, request, form)
                    if answered is None:
                        break
                    status, body, extra = answered
                data = body.encode() if isinstance(body, str) else body
                head = HEAD.format(status=status, reason="X", kind="text/html", length=len(data), extra=extra)
                writer.write(head.encode() + data)
                await writer.drain()
        writer.close()


def feed(pages: str, kind: str) -> str:
    paths = [f"/ok/{n}" for n in range(int(pages))]
    if kind == "csv":
        return "\n".join(["path,title", *(f"{path},a title" for path in paths)])
    row = "<url><loc>{}</loc></url>" if kind == "sitemap" else "<row><path>{}</path><title>a title</title></row>"
    root = 'urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"' if kind == "sitemap" else "rows"
    return f"<?xml version='1.0'?><{root}>{''.join(row.format(path) for path in paths)}</{root.split(maxsplit=1)[0]}>"


def picture(n: int) -> bytes:
    """A PNG of one colour, 16 pixels wide and high."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes((n * 40 % 256, 90, 200)) * 16) * 16
    head = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def html(paths: object) -> str:
    anchors = "".join(f'<a href="{path}">{path}</a>' for path in paths)  # type: ignore[attr-defined]
    return f"<html><title>page</title><body>{anchors}</body></html>"


async def main() -> None:
    site = Site(int(sys.argv[1]))
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, backlog=1000)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
