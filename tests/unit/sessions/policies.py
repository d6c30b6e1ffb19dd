"""Policies of the tests. A site is a class of which they are told by its name in ``SITES``."""

from __future__ import annotations

from itertools import count
from typing import Any

from scrapy import Request
from scrapy.exceptions import CloseSpider, IgnoreRequest
from scrapy.http import Response

from mocra_scrapy.sessions.policy import SessionPolicy

SHOP = "https://www.shop.example"


class Shop:
    """Needs a log-in, and bans a visitor after so many pages.

    Attributes:
        logins: how many there were.
        pages: of each visitor.
    """

    def __init__(self, bans_after: int = 10**9, *, works: bool = True) -> None:
        self.bans_after, self.works, self.numbers = bans_after, works, count(1)
        self.logins = self.refused = 0
        self.pages: dict[str, int] = {}

    def __call__(self, request: Request) -> Response:
        sid = (request.headers.get("Cookie") or b"").decode().partition("sid=")[2].partition(";")[0]
        if "/login" in request.url:
            if not self.works:
                return Response(request.url, status=503)
            self.logins += 1
            sid = f"v{next(self.numbers)}"
            self.pages[sid] = 0
            return Response(f"{SHOP}/login", headers={"Set-Cookie": f"sid={sid}; Path=/; Domain=.shop.example"})
        if "/old" in request.url:
            return Response(request.url, status=302, headers={"Location": "/new"})
        if sid not in self.pages or self.pages[sid] >= self.bans_after:
            self.refused += 1
            return Response(request.url, status=403)
        self.pages[sid] += 1
        return Response(request.url, headers={"X-Visitor": sid})


class Logs(SessionPolicy):
    """Logs in by a redirect, and a token beside the cookie."""

    async def init(self, session: Any, fetch: Any) -> bool:
        answer = await fetch(Request(f"{SHOP}/login"))
        session["token"] = f"token-of-{session.cookie('sid')}"
        session.set_header("X-Token", session["token"])
        return bool(answer.status == 200)


class Patient(Logs):
    """Takes every error for a no."""

    async def init(self, session: Any, fetch: Any) -> bool:
        try:
            return await super().init(session, fetch)
        except IgnoreRequest:
            return False


class Refreshes(Logs):
    refreshed = 0

    async def refresh(self, session: Any, fetch: Any) -> Any:
        type(self).refreshed += 1
        return await self.init(session, fetch)

    def check(self, response: Response, request: Request) -> str:
        return "expired" if response.status == 403 else "good"


class Reads(Logs):
    """Finds out by the text of a page."""

    def check(self, response: Response, request: Request) -> str:
        assert response.request is request
        assert str(response.ip_address) == "127.0.0.1"
        self.seen.append(response.body)  # type: ignore[attr-defined]
        return "expired" if "Please log in" in response.text else "good"


class Says(SessionPolicy):
    """Its check says, or raises, what is set."""

    said: Any = None

    def check(self, response: Response, request: Request) -> Any:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


class Raises(SessionPolicy):
    error: Exception = ValueError("http://joe:s3cret@proxy/ is gone")

    async def init(self, session: Any, fetch: Any) -> bool:
        raise self.error


class Refuses(SessionPolicy):
    async def init(self, session: Any, fetch: Any) -> bool:
        return False


class Closes(Raises):
    error = CloseSpider("no_account_left")


def pool(policy: str, **options: Any) -> dict[str, Any]:
    known = {"policy": f"tests.unit.sessions.policies.{policy}", "size": 1, **options}
    return {"MOCRA_SESSIONS": {"shop.example": known}, "RETRY_TIMES": 5}
