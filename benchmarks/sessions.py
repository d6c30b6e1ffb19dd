"""What sessions cost a page: ``python -m benchmarks sessions [--quick]``.

The middleware alone, before a request leaves and when it was answered, beside Scrapy's: CPU time of this
process, the best of several rounds. A page costs a worker some 1,600 to 2,500 µs in all.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

from scrapy import Request, Spider
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware as Theirs
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from mocra_scrapy import Mocra
from mocra_scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from mocra_scrapy.sessions.component import Sessions

URL = "https://www.shop.example/page/"
HEADERS = {"Set-Cookie": ["sid=0123456789abcdef; Path=/; Max-Age=3600", "lang=de; Path=/"]}
POOL = {"shop.example": {"size": 20}}
#: What a page costs in all, about, in µs.
PAGE = 2000.0


async def visited(middleware: Any, number: int, headers: Any) -> None:
    """*number* pages, one after the other."""
    for n in range(number):
        request = Request(f"{URL}{n}")
        out = middleware.process_request(request)
        if out is not None:
            await out
        back = middleware.process_response(request, Response(request.url, headers=headers))
        if asyncio.iscoroutine(back):
            await back


async def cost(middleware: Any, number: int, headers: Any, rounds: int) -> float:
    """µs of a page."""
    await visited(middleware, 200, headers)
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        await visited(middleware, number, headers)
        best = min(best, time.process_time() - began)
    return 1e6 * best / number


async def ours(number: int, headers: Any, rounds: int, *, url: str, sessions: Any) -> float:
    settings = {"MOCRA_BACKEND": url, "MOCRA_SESSIONS": sessions}
    crawler = get_crawler(type("S", (Spider,), {"name": "s"}), settings, prevent_warnings=False)
    mocra = Mocra.from_crawler(crawler)
    middleware = CookiesMiddleware.from_crawler(crawler)
    component = mocra.component(Sessions)
    await component.open()
    try:
        return await cost(middleware, number, headers, rounds)
    finally:
        await component.close()


async def compared(number: int, rounds: int) -> list[dict[str, Any]]:
    rows = []
    for what, headers in (("no cookies", {}), ("the same two cookies with each answer", HEADERS)):
        theirs = await cost(Theirs(), number, headers, rounds)
        rows.append(
            {"a page with": what, "middleware": "Scrapy's", "µs": round(theirs, 1), "more, part of a page": None}
        )
        for name, url, sessions in (
            ("ours, one process", "memory://", True),
            ("ours, shared", f"memory://{secrets.token_hex(4)}", True),
            ("ours, shared, a pool of 20", f"memory://{secrets.token_hex(4)}", POOL),
        ):
            us = await ours(number, headers, rounds, url=url, sessions=sessions)
            more = f"{100 * (us - theirs) / PAGE:.1f} %"
            rows.append({"a page with": what, "middleware": name, "µs": round(us, 1), "more, part of a page": more})
    return rows


def measure(quick: bool) -> list[dict[str, Any]]:
    return asyncio.run(compared(500 if quick else 5000, 3 if quick else 7))
