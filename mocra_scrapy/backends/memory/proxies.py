"""``MemoryProxies``: what is known of proxies, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from zope.interface import implementer

from mocra_scrapy.backends.embedded.proxies import StoredProxies
from mocra_scrapy.backends.embedded.proxy_permits import free_the_dead, leave, take_turn
from mocra_scrapy.interfaces import IProxies
from mocra_scrapy.models import ProxyAnswer, ProxyRecord, ProxyRules, ProxyTurn, ProxyUse


class Pools(Protocol):
    """The part of the store that is used here."""

    proxies: dict[str, StoredProxies]


@implementer(IProxies)
class MemoryProxies:
    """See :class:`~mocra_scrapy.interfaces.IProxies`."""

    def __init__(self, store: Pools, pool: str, rules: ProxyRules, clock: Callable[[], float]) -> None:
        self._stored = store.proxies.setdefault(pool, StoredProxies())
        self._rules, self._clock = rules, clock

    async def turn(self, turn: ProxyTurn) -> ProxyAnswer:
        return take_turn(self._stored, turn, self._rules, self._clock())

    async def leave(self, worker: str) -> None:
        leave(self._stored, worker)

    async def look(self, after: int = 0) -> tuple[Sequence[ProxyRecord], int]:
        stored, now = self._stored, self._clock()
        found = stored.since(after)
        records = [stored.told(proxy, site, record, now) for proxy, site, record in found]
        return records, found[-1][2].version if found else after

    async def use(self) -> ProxyUse:
        free_the_dead(self._stored, self._clock())
        permits: dict[str, dict[str, int]] = {}
        for worker, holder in self._stored.workers.items():
            for proxy, number in holder.permits.items():
                permits.setdefault(proxy, {})[worker] = number
        return ProxyUse(permits)

    async def take_out(self, proxy: str, seconds: float) -> None:
        self._stored.take_out(proxy, seconds, self._clock())

    async def bring_back(self, proxy: str, site: str = "") -> bool:
        return self._stored.bring_back(proxy, site, self._clock())

    async def refresh(self) -> int:
        self._stored.refreshes += 1
        return self._stored.refreshes
