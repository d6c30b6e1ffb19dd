"""What a request does that can't go, or has to go once more."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any

from scrapy.exceptions import IgnoreRequest

from mocra_scrapy.engine.hooks import EngineHooks
from mocra_scrapy.models.proxies import BAN, DOUBT
from mocra_scrapy.models.sessions import MAKING
from mocra_scrapy.politeness.site_feedback import SiteFeedback
from mocra_scrapy.proxies.component import Proxies
from mocra_scrapy.settings.proxies import CLOSE, DIRECT

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.proxies.fetches import Asked
    from mocra_scrapy.runtime import Mocra

logger = logging.getLogger(__name__)

#: Seconds that a request of the queue waits here for a proxy that is only busy; longer it waits in
#: the queue.
NEAR = 2.0
#: Seconds that it waits there, at least and at most, and where nobody knows.
LEAST, MOST, UNKNOWN = 1.0, 60.0, 10.0
#: The reason with which a crawl ends that has no proxy.
NO_PROXIES = "mocra_no_proxies"


class NoProxy(IgnoreRequest):
    """There was none. ``wait``: seconds after which there may be one."""

    def __init__(self, text: str, wait: float) -> None:
        super().__init__(text)
        self.wait = wait


class PuttingOff:
    """A component of :class:`~mocra_scrapy.runtime.Mocra`, beside the pool."""

    def __init__(self, mocra: Mocra) -> None:
        stats = mocra.crawler.stats
        assert stats is not None
        self._mocra, self._stats = mocra, stats
        self._pool = mocra.component(Proxies)
        self._feedback = mocra.component(SiteFeedback)
        self._engine: EngineHooks | None = None
        self._said: set[str] = set()

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    # ------------------------------------------------------------------ none now

    async def hold(self, request: Request, asked: Asked, delivery: Any) -> Request | None:
        """*request* can't go now: wait for a moment, then it goes back into the queue, or what
        ``MOCRA_PROXY_ON_EMPTY`` says.
        """
        fetches, end = self._pool.fetches, time.monotonic() + NEAR
        while not fetches.can_go(asked):
            if fetches.retire_session(request, asked):
                return self.put_off(request, LEAST, delivery)
            outlook = fetches.outlook(asked)
            if outlook != 0:
                if delivery is None or self._pool.options.on_empty == DIRECT:
                    return None  # it waits, or goes without one, where it would be taken
                self._is_settled_otherwise(request, asked)
                return self.put_off(request, self._wait(asked, outlook), delivery)
            left = end - time.monotonic()
            if left <= 0:
                return self.put_off(request, LEAST, delivery)
            await fetches.wait(asked, left)
        return None

    async def take(self, request: Request, asked: Asked, delivery: Any) -> None:
        """Wait until *request* may go through a proxy.

        Raises:
            NoProxy: that takes too long.
        """
        making = request.meta.get(MAKING)
        if making is not None:
            making.without_proxy = True
        await self._take(request, asked, delivery)
        if making is not None:
            making.without_proxy = False

    async def _take(self, request: Request, asked: Asked, delivery: Any) -> None:
        fetches = self._pool.fetches
        longest = NEAR if delivery is not None else self._mocra.options.bypass_max_wait
        end = time.monotonic() + longest
        while not fetches.take(request, asked):
            outlook = fetches.outlook(asked)
            if outlook != 0 and self._is_settled_otherwise(request, asked):
                return
            left = end - time.monotonic()
            if left <= 0 or (outlook != 0 and delivery is not None):
                wait = self._wait(asked, outlook)
                raise NoProxy(f"There is no proxy for {request} (MOCRA_PROXIES) within MOCRA_BYPASS_MAX_WAIT", wait)
            await fetches.wait(asked, min(left, outlook or left))

    def _is_settled_otherwise(self, request: Request, asked: Asked) -> bool:
        """Whether *request* is not to wait: it goes without a proxy, or the crawl ends."""
        on_empty = self._pool.options.on_empty
        if on_empty == DIRECT:
            self._stats.inc_value("mocra/proxy/direct")
            self._say(
                "direct",
                "There is no proxy for %s: requests go without one (MOCRA_PROXY_ON_EMPTY = 'direct')",
                asked.site,
            )
            return True
        if on_empty == CLOSE:
            self._say("close", "There is no proxy for %s: the crawl ends (MOCRA_PROXY_ON_EMPTY = 'close')", asked.site)
            if self._engine is None:
                self._engine = EngineHooks(self._mocra.crawler)
            self._engine.close_spider(NO_PROXIES)
            raise NoProxy(f"There is no proxy for {request}, and MOCRA_PROXY_ON_EMPTY is 'close'", LEAST)
        self._say(
            "wait",
            "There is no proxy for %s: its requests wait in the queue (MOCRA_PROXY_ON_EMPTY = 'wait')",
            asked.site,
        )
        return False

    def _wait(self, asked: Asked, outlook: float | None) -> float:
        """Seconds after which it is worth another look. Where all requests of a slot wait for the same,
        the queue keeps the others.
        """
        wait = UNKNOWN if outlook is None else max(LEAST, min(MOST, outlook))
        if (
            outlook != 0
            and asked.key is None
            and not asked.wish.tags
            and not asked.wish.country
            and self._feedback.options.cluster
        ):
            self._feedback.hold(asked.site, wait, "there is no proxy for it")
        return wait + random.uniform(0, min(1.0, wait / 4))  # noqa: S311

    def put_off(self, request: Request, wait: float, delivery: Any) -> Request | None:
        """*request* goes back into the queue for so many seconds, as if it had not been handed out;
        ``None``: it did not come from there.
        """
        if delivery is None:
            return None
        again = request.copy()
        again.dont_filter = True
        again.meta["mocra_failures"] = delivery.failures.kept()
        again.meta["mocra_delay"] = max(again.meta.get("mocra_delay") or 0.0, wait)
        self._stats.inc_value("mocra/proxy/put_off")
        return again

    def _say(self, kind: str, text: str, *args: Any) -> None:
        """Once each: it is so for a million requests."""
        if kind not in self._said:
            self._said.add(kind)
            logger.warning(text + "; no more of these are logged", *args)

    # ------------------------------------------------------------------ once more

    def once_more(self, request: Request, verdict: str) -> Request | None:
        """*request* through another proxy; ``None``: its failure counts as a usual one, because the site
        is at fault, or because it had so many.
        """
        meta = request.meta
        if meta.get("dont_retry") or (verdict in (DOUBT, BAN) and not self._pool.is_of_proxy(request)):
            return None
        tries = meta.get("mocra_proxy_tries", 0)
        if not isinstance(tries, int) or tries >= self._pool.options.tries:
            self._stats.inc_value("mocra/proxy/given_up")
            return None
        again = request.copy()
        again.dont_filter = True
        again.meta["mocra_proxy_tries"] = tries + 1
        again.meta.pop("dont_cache", None)
        self._stats.inc_value("mocra/proxy/retried")
        logger.debug(
            "%s goes through another proxy, %d of %d (%s)", request, tries + 1, self._pool.options.tries, verdict
        )
        return again
