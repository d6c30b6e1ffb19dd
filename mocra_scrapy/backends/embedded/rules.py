"""The rule sets of the workers that live, and what they say of a name together."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from mocra_scrapy.models import UNLIMITED, RuleSet, RulesInForce, SlotLimit, digest_of, strictest

#: Names of which it is remembered what the rules say.
MOST_KNOWN = 100_000


class Rules:
    """What is in force: of all rules the strictest.

    Args:
        of: worker -> its rule set; ``None``: it is polite for itself. A mapping of any kind.

    Attributes:
        version: grows with each change.
        has_quotas: whether any limit in force has one.
    """

    def __init__(self, of: MutableMapping[str, RuleSet | None]) -> None:
        self._of = of
        self.version = 0
        self.has_quotas = False
        self._sets: tuple[RuleSet, ...] = ()
        self._digests: frozenset[str] = frozenset()
        self._known: dict[str, SlotLimit] = {}

    def know(self, worker: str, rules: RuleSet | None) -> None:
        """*worker* lives, and brings *rules*."""
        known = worker in self._of
        if not known or digest_of(self._of[worker]) != digest_of(rules):
            self._of[worker] = rules
            self._look()

    def forget(self, worker: str) -> None:
        """*worker* left or died."""
        if worker in self._of:
            del self._of[worker]
            self._look()

    def _look(self) -> None:
        sets = {digest_of(rules): rules for rules in self._of.values()}
        if sets.keys() != self._digests:
            self.version += 1
            self._digests = frozenset(sets)
        self._use(tuple(rules for rules in sets.values() if rules is not None))

    def _use(self, sets: tuple[RuleSet, ...]) -> None:
        if sets != self._sets:
            self._sets = sets
            self.has_quotas = any(rules.has_quotas for rules in sets)
            self._known.clear()

    @contextmanager
    def beside(self, rules: RuleSet | None) -> Iterator[None]:
        """While this lasts *rules* count, too, whoever's they are."""
        before = self._sets
        if rules is not None and rules.digest not in self._digests:
            self._use((*before, rules))
        try:
            yield
        finally:
            self._use(before)

    @property
    def different(self) -> int:
        """How many different rule sets there are, one of them perhaps that of workers without any."""
        return len(self._digests)

    def limit_of(self, name: str) -> SlotLimit:
        """What the settings of all workers say together."""
        limit = self._known.get(name)
        if limit is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            limit = strictest(rules.of(name) for rules in self._sets) if self._sets else UNLIMITED
            self._known[name] = limit
        return limit

    def in_force(self) -> RulesInForce:
        """For people."""
        sets = {digest_of(rules): rules for rules in self._of.values()}
        return RulesInForce(self.version, sets, {worker: digest_of(rules) for worker, rules in self._of.items()})
