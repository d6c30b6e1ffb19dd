"""The rest of the rules of :class:`~mocra_scrapy.interfaces.IProxies`: permits, bindings, and one
turn as a whole, on what :mod:`mocra_scrapy.backends.embedded.proxies` stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mocra_scrapy.backends.embedded.proxies import Holder, Judgement, StoredProxies
from mocra_scrapy.models.proxies import (
    MOST_BINDINGS,
    PAGE,
    SHORT,
    Binding,
    PermitWish,
    ProxyAnswer,
    ProxyRules,
    ProxyTurn,
)


def free_the_dead(stored: StoredProxies, now: float) -> None:
    """Permits of workers that were silent for too long are nobody's."""
    for name in [name for name, holder in stored.workers.items() if holder.until <= now]:
        leave(stored, name)


def leave(stored: StoredProxies, worker: str) -> None:
    """*worker* holds nothing any more."""
    holder = stored.workers.pop(worker, None)
    if holder is not None:
        _take(stored, holder, {})


def _take(stored: StoredProxies, holder: Holder, permits: Mapping[str, int]) -> None:
    """*holder* has these and no others."""
    for proxy in {*holder.permits, *permits}:
        left = stored.taken.get(proxy, 0) + permits.get(proxy, 0) - holder.permits.get(proxy, 0)
        if left:
            stored.taken[proxy] = left
        else:
            stored.taken.pop(proxy, None)
    holder.permits = {proxy: number for proxy, number in permits.items() if number}


def grant(stored: StoredProxies, holder: Holder, wishes: Sequence[PermitWish], now: float) -> dict[str, int]:
    """What *holder* has of what it wants."""
    granted: dict[str, int] = {}
    for wish in wishes:
        others = stored.taken.get(wish.proxy, 0) - holder.permits.get(wish.proxy, 0)
        granted[wish.proxy] = max(0, min(wish.number, wish.cap - others))
        if granted[wish.proxy] < min(wish.number, wish.cap):
            stored.short_until = now + SHORT
    _take(stored, holder, granted)
    return granted


def bind(stored: StoredProxies, one: Binding, rules: ProxyRules, now: float) -> str:
    """The proxy that the key of *one* has now."""
    known, until = stored.bindings.pop(one.key, ("", 0.0))
    if until <= now or known == one.instead:
        known = one.proxy
    stored.bindings[one.key] = (known, now + rules.sticky)
    while len(stored.bindings) > MOST_BINDINGS:
        del stored.bindings[next(iter(stored.bindings))]
    return known


def tidy_bindings(stored: StoredProxies, now: float) -> None:
    """Those that were not used for too long: the first ones."""
    for key, (_, until) in list(stored.bindings.items())[:100]:
        if until > now:
            break
        del stored.bindings[key]


def take_turn(stored: StoredProxies, turn: ProxyTurn, rules: ProxyRules, now: float) -> ProxyAnswer:
    """All of one call."""
    free_the_dead(stored, now)
    holder = stored.workers.get(turn.worker) or Holder()
    if turn.number <= holder.number:
        return ProxyAnswer(stale=True)
    stored.workers[turn.worker] = holder
    holder.number, holder.until = turn.number, now + turn.lease
    said = Judgement()
    for report in turn.reports:
        stored.report(report, rules, now, said)
    granted = grant(stored, holder, turn.permits, now)
    probes = [stored.probe(turn.worker, proxy, site, rules, now) for proxy, site in turn.probes]
    bound = {one.key: bind(stored, one, rules, now) for one in turn.bindings}
    stored.trim(now)
    tidy_bindings(stored, now)
    changed = stored.since(turn.since)
    return ProxyAnswer(
        version=changed[-1][2].version if changed else stored.version,
        more=len(changed) >= PAGE,
        records=[stored.told(proxy, site, record, now) for proxy, site, record in changed],
        granted=granted,
        probes=probes,
        bound=bound,
        is_short=stored.short_until > now,
        refresh=stored.refreshes,
        out=said.out,
        back=said.back,
        down=said.down,
    )
