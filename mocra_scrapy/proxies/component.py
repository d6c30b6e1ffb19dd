"""``Proxies``: the proxy pool of one crawler."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.request import proxy_bypass
from weakref import WeakKeyDictionary

from mocra_scrapy import signals
from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.engine.hooks import EngineHooks
from mocra_scrapy.exceptions import ConfigurationError, MocraError, NotSupported
from mocra_scrapy.interfaces import IProxyPools
from mocra_scrapy.models.proxies import BAN, CREDENTIALS, DOUBT, FAILURES, MARK, PROXY
from mocra_scrapy.proxies.choices import Choices
from mocra_scrapy.proxies.fetches import Fetches
from mocra_scrapy.proxies.reports import Reports
from mocra_scrapy.proxies.sticky import Sticky
from mocra_scrapy.proxies.supply import Supply
from mocra_scrapy.proxies.turns import Turns
from mocra_scrapy.proxies.verdicts import Judge
from mocra_scrapy.proxies.wants import Wants
from mocra_scrapy.settings.proxies import read_proxies

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.models import ProxyAnswer, Term
    from mocra_scrapy.proxies.fetches import Taken
    from mocra_scrapy.runtime import Mocra

logger = logging.getLogger(__name__)

#: Seconds after which a provider that gave nothing is asked again.
AGAIN = 10.0
STATS = {
    PROXY: "mocra/proxy/failed",
    CREDENTIALS: "mocra/proxy/refused",
    DOUBT: "mocra/proxy/doubted",
    BAN: "mocra/proxy/banned",
}
WHY = {
    PROXY: "nobody gets through it",
    CREDENTIALS: "it refuses our credentials",
    DOUBT: "requests through it fail",
    BAN: "the site refuses it",
    "hand": "a person took it out",
}


def pool_name(mocra: Mocra, given: str | None) -> str:
    """``MOCRA_PROXY_POOL``, the project by default."""
    return given or mocra.options.project


class Proxies:
    """A component of :class:`~mocra_scrapy.runtime.Mocra`, there where ``MOCRA_PROXIES`` is set.

    Attributes:
        fetches: the choice of a proxy, and what came of it.
        verdicts: what was said of the proxy of a request, while it is on its way back.
    """

    def __init__(self, mocra: Mocra) -> None:
        """Raises ConfigurationError: a setting is wrong, or ``MOCRA_PROXIES`` is not set; NotSupported:
        the backend has no proxy pools.
        """
        options = read_proxies(mocra.settings)
        if options is None:
            raise ConfigurationError(
                "MOCRA_PROXIES", "there is no provider, so there is no pool", "Name where proxies come from"
            )
        if not IProxyPools.providedBy(mocra.backend):
            raise NotSupported(
                "MOCRA_PROXIES", f"{mocra.backend.url} has no proxy pools", "Use a Redis URL or memory://"
            )
        crawler, stats = mocra.crawler, mocra.crawler.stats
        assert stats is not None
        self.options, self._mocra, self._stats = options, mocra, stats
        self.pool = pool_name(mocra, options.pool)
        self.store = mocra.backend.proxies(self.pool, options.rules)
        self.choices = Choices()
        self._supply = Supply(options, crawler, self.choices, stats)
        wants = Wants(self.choices, min(64, max(4, crawler.settings.getint("CONCURRENT_REQUESTS"))))
        self._reports = Reports(self.choices.clock)
        self._turns = Turns(
            self.store,
            mocra.worker,
            self.choices,
            wants,
            self._reports,
            sweep=self._sweep,
            heard=self._answered,
            refreshed=self._refreshed,
        )
        self._sticky = Sticky(self.choices, self._turns, options.rules.sticky)
        self._engine: EngineHooks | None = None
        self.fetches = Fetches(
            self.choices,
            wants,
            self._reports,
            self._turns,
            self._sticky,
            rules=options.rules,
            slot_of=self.slot_of,
            session_of=getattr(mocra, "session_of", lambda _: None),
            secret=options.secret_key,
        )
        self.judge = Judge(options, crawler)
        self.verdicts: WeakKeyDictionary[Request, str] = WeakKeyDictionary()
        self._told_lost = 0
        self._reading: asyncio.Task[None] | None = None
        self._freeing: set[asyncio.Task[None]] = set()
        crawler.signals.connect(self._worker_died, signals.worker_died)
        if options.refresh:
            with contextlib.suppress(NotSupported):
                mocra.leader(f"proxies:{self.pool}").task(self._lead)

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        """Read the providers, and begin to share what is known of their proxies.

        Raises:
            ConfigurationError: none of the proxies can be used by the download handler.
        """
        if not await self._supply.read():
            self._reading = asyncio.create_task(self._read_again(), name="mocra proxies supply")
        if not self.choices.members:
            logger.warning(
                "MOCRA_PROXIES: there is no proxy yet; requests do what MOCRA_PROXY_ON_EMPTY = %r says",
                self.options.on_empty,
            )
        self._turns.start()

    async def close(self) -> None:
        await end_tasks([*self._freeing, *([] if self._reading is None else [self._reading])])
        await self._turns.close()

    async def _lead(self, term: Term) -> None:
        """The leader says when providers are read, for all."""
        while True:
            await asyncio.sleep(self.options.refresh)
            try:
                await self.store.refresh()
            except MocraError as error:
                logger.debug("Nobody was told to read the providers of proxies: %s", error)

    def _worker_died(self, worker: str) -> None:
        """*worker* is known to be dead: nobody need wait until its permits end."""
        task = asyncio.ensure_future(self._free(worker))
        self._freeing.add(task)
        task.add_done_callback(self._freeing.discard)

    async def _free(self, worker: str) -> None:
        try:
            await self.store.leave(worker)
        except MocraError as error:
            logger.debug("Permits of %s for proxies: %s", worker, error)
        self._turns.wake()

    def _refreshed(self) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_now(), name="mocra proxies supply")

    async def _read_now(self) -> None:
        self._stats.inc_value("mocra/proxy/refreshed")
        if not await self._read():
            await self._read_again()

    async def _read_again(self) -> None:
        complete = False
        while not complete:
            await asyncio.sleep(AGAIN)
            complete = await self._read()

    def _sweep(self) -> None:
        self.fetches.sweep()

    async def _read(self) -> bool:
        before = set(self.choices.members)
        try:
            complete = await self._supply.read()
        except ConfigurationError as error:
            logger.error("The proxies that were read can't be used, the last ones stay: %s", error)
            return True
        if set(self.choices.members) - before:
            self._turns.learn_anew()
        self._turns.wake()
        return complete

    # ------------------------------------------------------------------ news

    def _answered(self, answer: ProxyAnswer) -> None:
        self._sticky.heard()
        lost = self._turns.lost + self._reports.lost
        if lost > self._told_lost:
            self._stats.inc_value("mocra/proxy/reports_lost", lost - self._told_lost)
            self._told_lost = lost
        for proxy, site in answer.out:
            self._stats.inc_value("mocra/proxy/out")
            member = self.choices.members.get(proxy)
            why = "" if member is None else member.at(site).why
            level = logging.ERROR if why == CREDENTIALS else logging.INFO
            where = f"for {site}" if site else "for all sites"
            logger.log(level, "Proxy %s is out %s: %s", proxy, where, WHY.get(why, "requests through it fail"))
            self._tell(signals.proxy_out, proxy=proxy, site=site, why=why)
        for proxy, site in answer.back:
            self._stats.inc_value("mocra/proxy/back")
            logger.info("Proxy %s is back for %s", proxy, site or "all sites")
            self._tell(signals.proxy_back, proxy=proxy, site=site)
        for site in answer.down:
            self._stats.inc_value("mocra/proxy/site_down")
            logger.warning("Site %s fails through all proxies: it counts as down, and no proxy for it", site)
            self._tell(signals.proxy_site_down, site=site)

    def _tell(self, signal: object, **arguments: Any) -> None:
        crawler = self._mocra.crawler
        crawler.signals.send_catch_log(signal, spider=crawler.spider, **arguments)

    # ------------------------------------------------------------------ of one request

    def slot_of(self, request: Request) -> str:
        """Its download slot."""
        if self._engine is None:
            self._engine = EngineHooks(self._mocra.crawler)
        return self._engine.slot_of(request)

    def is_bypassed(self, host: str) -> bool:
        """Whether ``no_proxy`` names *host*, and all proxies are of the environment."""
        members = self.choices.members
        return bool(members) and all(one.proxy.bypassed for one in members.values()) and bool(proxy_bypass(host))

    def judged(self, request: Request, taken: Taken, verdict: str) -> None:
        """*verdict* of the proxy through which *request* went."""
        self.verdicts[request] = verdict
        if verdict in STATS:
            self._stats.inc_value(STATS[verdict])
        if taken.probe:
            self._stats.inc_value("mocra/proxy/probes")
        latency = request.meta.get("download_latency") or 0.0
        self.fetches.judged(taken, verdict, float(latency))

    def tell(self, request: Request, verdict: str) -> None:
        """What somebody else found out of the proxy of *request*, whose answer seemed well: ``ban``."""
        member = self.choices.members.get(request.meta.get(MARK, ""))
        if member is not None and verdict in FAILURES:
            self._stats.inc_value(STATS[verdict])
            self._reports.bad(member.identity, self.slot_of(request), verdict)
            self._turns.kick()

    def is_of_proxy(self, request: Request) -> bool:
        """Whether what came of *request* says nothing of its site."""
        verdict = self.verdicts.get(request)
        if verdict not in FAILURES:
            return False
        return verdict in (PROXY, CREDENTIALS) or not self.fetches.is_down(self.slot_of(request))

    def server_of(self, identity: str) -> Mapping[str, str]:
        """What a browser wants of a proxy: ``server``, ``username``, ``password``. Never leaves this
        process.

        Raises:
            KeyError: there is no such proxy.
        """
        proxy = self.choices.members[identity].proxy
        found = {"server": proxy.address}
        if proxy.username or proxy.password:
            found |= {"username": proxy.username, "password": proxy.password}
        return found
