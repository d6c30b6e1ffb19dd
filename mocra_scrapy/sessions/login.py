"""Making a session: the policy's ``init`` or ``refresh``, with a ``fetch`` that stays in it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from scrapy.exceptions import CloseSpider
from scrapy.http.request import NO_CALLBACK

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.models.redaction import redact_error
from mocra_scrapy.models.sessions import MAKING, Making

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from mocra_scrapy.models.sessions import Session
    from mocra_scrapy.sessions.policy import SessionPolicy

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def make(
    crawler: Crawler,
    policy: SessionPolicy,
    session: Session,
    *,
    refresh: bool,
    timeout: float,
    count: Callable[[str], None],
    close: Callable[[str], None],
) -> bool | None:
    """Whether *session* is usable now. What the policy raises is told and counts as a failure; ``None``:
    there was no proxy for it, which is nobody's failure.

    Args:
        timeout: seconds that it may take.
        count: called with ``mocra/sessions/init_bad``: the policy said no; ``…/init_failed``: it raised,
            or took too long.
        close: called with the reason of a ``CloseSpider``.
    """
    making = Making()

    async def fetch(request: Request) -> Response:
        making.without_proxy = False
        own = {"mocra_session": session.id, MAKING: making}
        # A page of an HTTP cache would make another visitor's session once more, or one that is over.
        asked = request.replace(
            meta={"dont_cache": True, **request.meta, **own}, callback=NO_CALLBACK, dont_filter=True
        )
        assert crawler.engine is not None
        return await crawler.engine.download_async(asked)

    step: Any = policy.refresh if refresh else policy.init
    answer: Any
    what = "refreshed" if refresh else "made"
    try:
        answer = await asyncio.wait_for(_elsewhere(step(session, fetch)), timeout)
    except CloseSpider as error:
        close(error.reason)
        return False
    except Exception as error:
        if not making.without_proxy:
            _tell(session, error, what, timeout)
            count("mocra/sessions/init_failed")
            return False
        answer = False
    if making.without_proxy and answer is False:
        logger.debug("Session %s is not %s yet: there is no proxy for it", session.id, what)
        return None
    if answer is False:
        logger.warning("Session %s could not be %s: the policy said so", session.id, what)
        count("mocra/sessions/init_bad")
        return False
    logger.debug("Session %s is %s", session.id, what)
    return True


def _tell(session: Session, error: Exception, what: str, timeout: float) -> None:
    if isinstance(error, asyncio.TimeoutError):
        logger.error("Session %s was not %s within %g s (init_timeout)", session.id, what, timeout)
        return
    logger.error("Session %s could not be %s: %s", session.id, what, redact_error(f"{type(error).__name__}: {error}"))
    lines = "".join(traceback.format_exception(error))
    logger.debug("Session %s: %s", session.id, redact_error(lines))


async def _elsewhere(work: Awaitable[T]) -> T:
    """*work*, which is nobody's child: the page that asked for the session may be gone before it is made,
    and what is fetched is none of that page's.
    """

    async def do() -> T:
        return await work

    task: asyncio.Task[T] = contextvars.Context().run(lambda: asyncio.get_running_loop().create_task(do()))
    try:
        return await asyncio.shield(task)
    finally:
        await end_tasks([task])
