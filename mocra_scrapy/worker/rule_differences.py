"""Workers of one crawl with different limits: said once to people, with what to do, and once when
it is over.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mocra_scrapy.models import RuleSet, RulesInForce, SlotLimit, digest_of
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.codec.dictionaries import Insist
    from mocra_scrapy.models import Exchange
    from mocra_scrapy.runtime.worker_state import WorkerParts

logger = logging.getLogger(__name__)

#: Names of keys, and of workers, that a message has at most.
NAMED = 5
#: What the default limit comes from.
SETTINGS = {
    "interval": "DOWNLOAD_DELAY",
    "concurrency": "CONCURRENT_REQUESTS_PER_DOMAIN",
    "jitter": "RANDOMIZE_DOWNLOAD_DELAY or DOWNLOAD_DELAY_JITTER",
}


class RuleDifferences:
    """Hears of the rules in force with each answer of the queue."""

    def __init__(self, parts: WorkerParts, stats: StatsCollector) -> None:
        self._queue, self._crawl, self._stats = parts.session.queue, parts.crawl, stats
        self._own = parts.session.queue.options.rules
        self._version = 0
        self._told: frozenset[str] = frozenset()  # digests of the others' rules

    def is_news(self, exchange: Exchange) -> bool:
        """Whether :meth:`look` would have anything to do."""
        return exchange.rules != self._version and (exchange.rule_sets > 1 or bool(self._told))

    async def look(self, exchange: Exchange, insist: Insist) -> None:
        """Say what differs, if that is new."""
        if not self.is_news(exchange):
            return
        in_force: RulesInForce = await insist(lambda _: self._queue.rules_in_force())
        self._version = exchange.rules
        others = frozenset(in_force.sets) - {digest_of(self._own)}
        if others and not others <= self._told:
            self._stats.inc_value("mocra/throttle/rules_differ")
            self._warn(in_force, others)
        elif self._told and not others:
            logger.info("All workers of crawl %r have the same limits again", self._crawl)
        self._told = self._told | others if others else others

    def _warn(self, in_force: RulesInForce, others: frozenset[str]) -> None:
        names = sorted(worker for worker, digest in in_force.workers.items() if digest in others)
        what: dict[str, None] = {}
        for digest in sorted(others):
            what.update(dict.fromkeys(differences(self._own, in_force.sets[digest])))
        apart = self._own is None or any(in_force.sets[digest] is None for digest in others)
        logger.warning(
            "%s of crawl %r (%s) %s other limits than this one: %s. %s. Give all workers the same settings; those that"
            " have the old ones can be stopped one by one",
            counted(len(names), "worker"),
            self._crawl,
            listed(names),
            "has" if len(names) == 1 else "have",
            "; ".join(what),
            "Workers with MOCRA_THROTTLE_SCOPE = 'worker' keep to no limit of the others, who share the strictest"
            if apart
            else "While both live the strictest of these hold for all",
        )


def listed(names: list[str]) -> str:
    """``a, b, … (7 in all)``."""
    return ", ".join(names) if len(names) <= NAMED else f"{', '.join(names[:NAMED])}, … ({len(names)} in all)"


def differences(own: RuleSet | None, other: RuleSet | None) -> Iterator[str]:
    """What *own* and *other* say differently, in terms of settings."""
    if own is None or other is None:
        here, there = ("cluster" if rules is not None else "worker" for rules in (own, other))
        yield f"MOCRA_THROTTLE_SCOPE is {here!r} here, {there!r} there"
        return
    for part, setting in SETTINGS.items():
        here, there = getattr(own.default, part), getattr(other.default, part)
        if here != there:
            yield f"{setting} is {here:g} here, {there:g} there"
    if own.default.floor != other.default.floor and own.default.interval == other.default.interval:
        yield f"AutoThrottle goes down to {own.default.floor:g} s here, {other.default.floor:g} s there"
    changed = sorted(name for name in {**own.names, **other.names} if _said(own, name) != _said(other, name))
    mine, its = dict(own.patterns), dict(other.patterns)
    changed += [pattern for pattern in {**mine, **its} if mine.get(pattern) != its.get(pattern)]
    if changed:
        yield f"MOCRA_THROTTLE or DOWNLOAD_SLOTS differ in {listed(changed)}"
    elif list(mine) != list(its):
        yield "MOCRA_THROTTLE has its patterns in another order"


def _said(rules: RuleSet, name: str) -> SlotLimit | None:
    return rules.names.get(name)
