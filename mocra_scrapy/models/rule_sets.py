"""What a worker's settings say of all slots and scopes at once: its *rule set*. The store evaluates
it, so that no name is handed out without its limit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from mocra_scrapy.models.throttle import Quota, SlotLimit

#: Of a scope that no rule names, and of everything where no rule set is in force.
UNLIMITED = SlotLimit()
#: Stands for the rules of a worker that has none: it is polite for itself.
APART = "-"


@dataclass(frozen=True)
class RuleSet:
    """The limits of one worker's settings.

    Attributes:
        default: of each slot that nothing else is said of.
        names: of single slots and scopes (``@…``); a scope that is not named is unlimited.
        patterns: of slots that match, as :func:`fnmatch.fnmatchcase` does; the first that does
            counts. Brackets hold ASCII only. A name goes before them.
    """

    default: SlotLimit = UNLIMITED
    names: Mapping[str, SlotLimit] = field(default_factory=dict)
    patterns: Sequence[tuple[str, SlotLimit]] = ()

    def of(self, name: str) -> SlotLimit:
        """The limit of a slot or scope."""
        limit = self.names.get(name)
        if limit is not None:
            return limit
        if name.startswith("@"):
            return UNLIMITED
        return next((limit for pattern, limit in self.patterns if fnmatchcase(name, pattern)), self.default)

    @cached_property
    def has_quotas(self) -> bool:
        """Whether any limit of it has one."""
        limits = (self.default, *self.names.values(), *(limit for _, limit in self.patterns))
        return any(limit.quotas for limit in limits)

    @cached_property
    def digest(self) -> str:
        """The same for the same rules only."""
        return hashlib.blake2b(self.to_text().encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    def to_text(self) -> str:
        """For :meth:`from_text`; the same text for the same rules."""
        names = [[name, *_parts(limit)] for name, limit in sorted(self.names.items())]
        patterns = [[pattern, *_parts(limit)] for pattern, limit in self.patterns]
        return json.dumps([_parts(self.default), names, patterns], separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> RuleSet:
        """Raises ValueError: it is not one."""
        try:
            default, names, patterns = json.loads(text)
            return cls(
                _limit(*default),
                {name: _limit(*parts) for name, *parts in names},
                tuple((pattern, _limit(*parts)) for pattern, *parts in patterns),
            )
        except TypeError as error:
            raise ValueError(str(error)) from error


def _parts(limit: SlotLimit) -> list[Any]:
    parts = [float(limit.interval), limit.burst, limit.concurrency, float(limit.jitter), float(limit.floor)]
    return [*parts, [[count, float(window)] for count, window in limit.quotas]] if limit.quotas else parts


def _limit(*parts: Any) -> SlotLimit:
    """What :func:`_parts` made."""
    limit = SlotLimit(*parts)
    return replace(limit, quotas=tuple(Quota(*quota) for quota in limit.quotas)) if limit.quotas else limit


def strictest(limits: Iterable[SlotLimit]) -> SlotLimit:
    """The longest interval (with its jitter), the smallest burst, the fewest permits, the highest
    floor, the smallest quota of each window.
    """
    mine = list(limits)
    if len(mine) == 1:
        return mine[0]
    slowest = max(mine, key=lambda limit: (limit.interval, -limit.jitter), default=UNLIMITED)
    return SlotLimit(
        slowest.interval,
        min((limit.burst for limit in mine), default=1),
        min((limit.concurrency for limit in mine if limit.concurrency), default=0),
        slowest.jitter,
        max((limit.floor for limit in mine), default=0.0),
        smallest(quota for limit in mine for quota in limit.quotas),
    )


def smallest(quotas: Iterable[Quota]) -> tuple[Quota, ...]:
    """One for each window, by window: what lets fewest through."""
    counts: dict[float, int] = {}
    for count, window in quotas:
        counts[window] = min(count, counts.get(window, count))
    return tuple(Quota(counts[window], window) for window in sorted(counts))


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """The rules of those workers of a crawl that live.

    Attributes:
        version: grows with each change; 0: there are none.
        sets: by digest; ``None`` for :data:`APART`.
        workers: worker -> digest of its rules.
    """

    version: int = 0
    sets: Mapping[str, RuleSet | None] = field(default_factory=dict)
    workers: Mapping[str, str] = field(default_factory=dict)


def digest_of(rules: RuleSet | None) -> str:
    """By which the store knows *rules*."""
    return APART if rules is None else rules.digest
