"""What the policies of pools say of answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from scrapy.exceptions import CloseSpider

from mocra_scrapy.models.sessions import BAD, EXPIRED, GOOD, MAKING, VERDICTS
from mocra_scrapy.sessions.policy import SessionPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.http import Response

    from mocra_scrapy.sessions.component import Sessions
    from mocra_scrapy.sessions.pool import Pool

logger = logging.getLogger(__name__)


class Checks:
    """Of one crawler. A policy is asked once for each response: it may count them.

    Args:
        close: called with the reason of a ``CloseSpider``.

    Attributes:
        readable: gives a response without its content codings: what it is asked of comes from next to the downloader.
    """

    def __init__(self, sessions: Sessions, close: Callable[[str], None]) -> None:
        self._sessions, self._close = sessions, close
        self.readable: Callable[[Response], Response] = lambda response: response
        self._said: WeakKeyDictionary[Response, str] = WeakKeyDictionary()

    def refuses(self, request: Request, response: Response) -> bool:
        """Whether *response* says that its session is no good: no cache is to give it to anybody."""
        pool = self.pool_of(request, response)
        return pool is not None and self.said(pool, request, response) != GOOD

    def is_expired(self, request: Request, response: Response) -> bool:
        """Whether *response* says that nobody is logged in any more: its proxy can't help that."""
        pool = self.pool_of(request, response)
        return pool is not None and self.said(pool, request, response) == EXPIRED

    def pool_of(self, request: Request, response: Response) -> Pool | None:
        """The pool that has something to say of *response*."""
        used = self._sessions.used_by(request)
        passes = used is None or request.meta.get(MAKING) or "cached" in response.flags
        return None if used is None or passes else self._sessions.pool_named(used.id)

    def said(self, pool: Pool, request: Request, response: Response) -> str:
        """What the policy of *pool* says."""
        verdict = self._said.get(response)
        if verdict is None:
            verdict = self._said[response] = self._asked(pool, request, response)
        return verdict

    def _asked(self, pool: Pool, request: Request, response: Response) -> str:
        policy = self._sessions.policies[pool.name]
        try:
            if b"Content-Encoding" in response.headers and type(policy).check is not SessionPolicy.check:
                response = self.readable(response)
            said: Any = policy.check(response, request)
        except CloseSpider as error:
            self._close(error.reason)
            return GOOD
        except Exception:
            logger.exception("The check of pool %r failed for %s", pool.name, request)
            self._sessions.count("mocra/sessions/check_failed")
            return BAD
        verdict = GOOD if said in (None, True) else BAD if said is False else said
        if verdict not in VERDICTS:
            logger.error("The check of pool %r said %r for %s: say one of %s", pool.name, said, request, VERDICTS)
            self._sessions.count("mocra/sessions/check_failed")
            return BAD
        return str(verdict)
