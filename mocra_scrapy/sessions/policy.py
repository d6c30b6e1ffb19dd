"""``SessionPolicy``: how sessions of a pool are made, and what answers say of them. Subclass it, and name
the subclass in ``MOCRA_SESSIONS``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mocra_scrapy.models.sessions import BAD, GOOD

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

    from mocra_scrapy.models.sessions import Session
    from mocra_scrapy.settings.sessions import PoolOptions

#: Fetches a request in the session that is being made: with its cookies and headers, redirects followed.
Fetch = Callable[["Request"], Awaitable["Response"]]


class SessionPolicy:
    """Makes sessions that need nothing, and takes an answer with one of ``bad_statuses`` for a bad one.

    ::

        class Shop(SessionPolicy):
            async def init(self, session, fetch):
                page = await fetch(Request("https://shop.example/login"))
                answer = await fetch(FormRequest.from_response(page, formdata={
                    "user": self.crawler.settings["SHOP_USER"],
                    "password": os.environ["SHOP_PASSWORD"],
                }))
                session["csrf"] = answer.css("meta[name=csrf]::attr(content)").get()
                return b"Welcome" in answer.body

            def check(self, response, request):
                return "expired" if response.url.endswith("/login") else super().check(response, request)

    An ``async def refresh(self, session, fetch)`` in a subclass is called for a session that has expired,
    and answers like :meth:`init`. Without one another session is made.
    """

    #: See the class.
    refresh: Callable[[Session, Fetch], Awaitable[Any]] | None = None

    def __init__(self, crawler: Crawler, pool: str, options: PoolOptions) -> None:
        self.crawler, self.pool, self.options = crawler, pool, options

    @classmethod
    def from_crawler(cls, crawler: Crawler, pool: str, options: PoolOptions) -> Self:
        return cls(crawler, pool, options)

    async def init(self, session: Session, fetch: Fetch) -> bool | None:
        """Make *session* usable: log in, accept a banner, get a token. One worker runs it for one
        session. ``False``: that did not work; anything else: it did.
        """
        return None

    def check(self, response: Response, request: Request) -> str | bool | None:
        """What *response* says of the session it was fetched with: ``"good"`` (or ``True``, ``None``),
        ``"bad"`` (or ``False``), ``"expired"``. Called once for each page, before its callback, with its body
        decompressed.
        """
        return BAD if response.status in self.options.bad_statuses else GOOD
