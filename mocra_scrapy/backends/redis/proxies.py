"""``RedisProxies``: what is known of the proxies of one pool, all its keys on one shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
from zope.interface import implementer

from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.shards import quote_name
from mocra_scrapy.exceptions import BackendCorrupted
from mocra_scrapy.interfaces import IProxies
from mocra_scrapy.models import ProxyAnswer, ProxyRecord, ProxyReport, ProxyRules, ProxyTurn, ProxyUse
from mocra_scrapy.models.proxies import MOST_BINDINGS, MOST_RECORDS, PAGE, REMEMBER, SHORT

TURN, LEAVE, LOOK, USE, ORDER = (load_script(f"proxies_{verb}") for verb in ("turn", "leave", "look", "use", "order"))


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _report(one: ProxyReport) -> dict[str, Any]:
    return {
        "proxy": one.proxy,
        "site": one.site,
        "good": one.good,
        "bad": one.bad,
        "row": one.row,
        "kind": one.kind,
        "latency": float(one.latency),
        "age": _ms(one.age),
        "probe": one.probe,
    }


def _record(one: Sequence[Any]) -> ProxyRecord:
    proxy, site, success, latency, row, times, wait, is_half_open, why = one
    return ProxyRecord(
        _text(proxy),
        _text(site),
        int(success) / 1e9,
        int(latency) / 1000,
        int(row),
        int(times),
        int(wait) / 1000,
        bool(is_half_open),
        _text(why),
    )


def _pairs(flat: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(_text(flat[i]), flat[i + 1]) for i in range(0, len(flat), 2)]


@implementer(IProxies)
class RedisProxies:
    """See :class:`~mocra_scrapy.interfaces.IProxies`. A turn is sent once."""

    def __init__(self, client: RedisClient, prefix: str, pool: str, rules: ProxyRules) -> None:
        self._client = client
        self._keys = [f"{prefix}:{{+proxies:{quote_name(pool)}}}:pool"]
        self._bounds = {
            "page": PAGE,
            "remember": _ms(REMEMBER),
            "most": MOST_RECORDS,
            "most_bound": MOST_BINDINGS,
            "short": _ms(SHORT),
            "bounds": {
                "failures": rules.failures,
                "several": rules.several,
                "cool_down": _ms(rules.cool_down),
                "ban_cool_down": _ms(rules.ban_cool_down),
                "cool_down_max": _ms(rules.cool_down_max),
                "probe": _ms(rules.probe),
                "site_down": _ms(rules.site_down),
                "sticky": _ms(rules.sticky),
            },
        }

    async def _run(self, script: Any, *args: Any) -> Any:
        answer = await self._client.run(script, self._keys, args)
        try:
            # cmsgpack is older than the bin types: its texts may be any bytes.
            return msgpack.unpackb(answer, raw=True, strict_map_key=False)
        except ValueError as error:
            raise BackendCorrupted(f"{self._keys[0]} is damaged: what is stored of proxies can't be read") from error

    async def turn(self, turn: ProxyTurn) -> ProxyAnswer:
        asked = {
            **self._bounds,
            "worker": turn.worker,
            "number": turn.number,
            "lease": _ms(turn.lease),
            "reports": [_report(one) for one in turn.reports],
            "permits": [(one.proxy, one.number, one.cap) for one in turn.permits],
            "probes": [list(one) for one in turn.probes],
            "bindings": [(one.key, one.proxy, one.instead) for one in turn.bindings],
            "since": turn.since,
        }
        got = await self._run(TURN, msgpack.packb(asked, use_bin_type=False, unicode_errors="surrogateescape"))
        if not got:
            return ProxyAnswer(stale=True)
        version, more, records, granted, probes, bound, short, refresh, out, back, down = got
        return ProxyAnswer(
            version=int(version),
            more=bool(more),
            records=[_record(one) for one in records],
            granted={proxy: int(number) for proxy, number in _pairs(granted)},
            probes=[bool(one) for one in probes],
            bound={key: _text(proxy) for key, proxy in _pairs(bound)},
            is_short=bool(short),
            refresh=int(refresh),
            out=[(_text(proxy), _text(site)) for proxy, site in out],
            back=[(_text(proxy), _text(site)) for proxy, site in back],
            down=[_text(site) for site in down],
        )

    async def leave(self, worker: str) -> None:
        await self._client.run(LEAVE, self._keys, [worker])

    async def look(self, after: int = 0) -> tuple[Sequence[ProxyRecord], int]:
        version, _, records = await self._run(LOOK, str(after), str(PAGE))
        return [_record(one) for one in records], int(version)

    async def use(self) -> ProxyUse:
        permits: dict[str, dict[str, int]] = {}
        for worker, held in await self._run(USE):
            for proxy, number in (held or {}).items():
                permits.setdefault(_text(proxy), {})[_text(worker)] = int(number)
        return ProxyUse(permits)

    async def take_out(self, proxy: str, seconds: float) -> None:
        await self._order("out", proxy, "", seconds)

    async def bring_back(self, proxy: str, site: str = "") -> bool:
        return bool(await self._order("back", proxy, site))

    async def refresh(self) -> int:
        return await self._order("refresh")

    async def _order(self, what: str, proxy: str = "", site: str = "", seconds: float = 0.0) -> int:
        args = [what, proxy, site, str(_ms(seconds)), str(_ms(REMEMBER)), str(MOST_RECORDS)]
        return int(await self._client.run(ORDER, self._keys, args))
