"""A worker that tells of proxies, by the rules of a small pool."""

from __future__ import annotations

from typing import Any

from mocra_scrapy.interfaces import IProxies
from mocra_scrapy.models import ProxyAnswer, ProxyRecord, ProxyReport, ProxyRules, ProxyTurn

from .harness import Harness

RULES = ProxyRules(failures=3, cool_down=30.0, ban_cool_down=300.0, cool_down_max=3600.0, several=3, site_down=60.0)


class Worker:
    """Numbers its turns, and knows what it was told."""

    def __init__(self, proxies: IProxies, name: str = "w1") -> None:
        self.proxies, self.name, self.number = proxies, name, 0
        self.known: dict[tuple[str, str], ProxyRecord] = {}
        self.version = 0

    async def turn(self, *reports: ProxyReport, **more: Any) -> ProxyAnswer:
        self.number += 1
        turn = ProxyTurn(self.name, self.number, more.pop("lease", 30.0), reports, since=self.version, **more)
        answer = await self.proxies.turn(turn)
        self.version = answer.version
        self.known.update({(one.proxy, one.site): one for one in answer.records})
        return answer

    async def fails(self, proxy: str, site: str, times: int = 1, kind: str = "doubt", probe: int = 0) -> ProxyAnswer:
        return await self.turn(ProxyReport(proxy, site, bad=times, kind=kind, probe=probe))

    async def works(self, proxy: str, site: str, probe: int = 0) -> ProxyAnswer:
        return await self.turn(ProxyReport(proxy, site, good=1, latency=0.5, probe=probe))

    def is_out(self, proxy: str, site: str) -> bool:
        record = self.known.get((proxy, site))
        return record is not None and record.is_half_open


def worker(harness: Harness, name: str = "w1", second: bool = False, rules: ProxyRules = RULES) -> Worker:
    return Worker(harness.proxies(rules, second=second), name)
