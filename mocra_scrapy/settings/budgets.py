"""``MOCRA_BUDGETS``: how much of each slot, registrable domain and seed a crawl may have.

::

    {"slot": {"pages": 1000, "depth": 5},               # of each slot; the same as {"*": {…}}
     "domain": {"*": {"pages": 5000, "time": "2h"}, "example.com": {"bytes": "2 GB", "time": None}},
     "seed": {"queued": 100}}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import BudgetLimits
from mocra_scrapy.models.budgets import COUNTED, KINDS, kind_of_budget
from mocra_scrapy.settings.checks import UNITS_NAMED, WrongValue, number, setting_number, time_span
from mocra_scrapy.settings.domains import registrable_domain
from mocra_scrapy.settings.reader import SettingsReader
from mocra_scrapy.settings.slot_names import check_pattern, names_of

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

NAME = "MOCRA_BUDGETS"
#: What a kind may be limited in.
BUDGETS = (*COUNTED, "depth")
#: The greatest of any of them.
MOST = 10**15
#: Stands for every name.
ALL = "*"

#: Kind -> name or pattern -> budget -> number, or ``None``: no limit. As JSON has it.
Plain = Mapping[str, Mapping[str, Mapping[str, Any]]]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b(?:ytes?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one name. *depth*: of a request's ``meta["depth"]``; the rest is counted in the store."""

    counted: BudgetLimits
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class BudgetRules:
    """The budgets of one worker; false where there are none.

    Attributes:
        plain: what the setting says, checked.
    """

    plain: Plain = field(default_factory=dict)
    _known: dict[str, Limits | None] = field(default_factory=dict, compare=False, repr=False)

    def __bool__(self) -> bool:
        return bool(self.plain)

    def has(self, kind: str) -> bool:
        return kind in self.plain

    def of(self, name: str) -> Limits | None:
        """The limits of a name (``domain:example.com``); ``None``: it has none."""
        if name not in self._known:
            if len(self._known) >= 100_000:
                self._known.clear()
            self._known[name] = self._look_up(*kind_of_budget(name))
        return self._known[name]

    @property
    def known(self) -> list[str]:
        """Names that were asked for, and have limits."""
        return [name for name, limits in self._known.items() if limits is not None]

    def _look_up(self, kind: str, of: str) -> Limits | None:
        rules = self.plain.get(kind, {})
        matching = next((r for p, r in rules.items() if p not in (ALL, of) and _matches(of, p)), {})
        said = {**rules.get(ALL, {}), **matching, **(rules.get(of, {}) if of != ALL else {})}
        found = {budget: limit for budget, limit in said.items() if limit is not None}
        if not found:
            return None
        depth = found.pop("depth", None)
        return Limits(BudgetLimits(**found), depth)

    def changed(self, live: Plain) -> BudgetRules:
        """With what was changed while the crawl runs: budget by budget, before what the settings say."""
        kinds: dict[str, dict[str, Mapping[str, Any]]] = {}
        for kind in KINDS:
            own, new = self.plain.get(kind, {}), live.get(kind, {})
            names = [*(name for name in new if name not in own), *own]  # of patterns the first counts
            if names:
                kinds[kind] = {name: {**own.get(name, {}), **new.get(name, {})} for name in names}
        return BudgetRules(kinds)


def _matches(name: str, pattern: str) -> bool:
    return bool(set(pattern) & set("*?[")) and fnmatchcase(name, pattern)


def read_budgets(settings: BaseSettings) -> BudgetRules:
    """The budgets of a crawl.

    Raises:
        ConfigurationError: names the part of the setting that is wrong, and the fix.
    """
    return BudgetRules(checked_budgets(SettingsReader(settings).mapping(NAME)))


def checked_budgets(value: Any) -> Plain:
    """*value* in its long form, with numbers for texts.

    Raises:
        ConfigurationError: see :func:`read_budgets`.
    """
    if not isinstance(value, Mapping):
        raise ConfigurationError(NAME, f"{value!r} is not a dict", 'Set a dict, as {"slot": {"pages": 1000}}')
    for kind in value:
        if kind not in KINDS:
            raise ConfigurationError(NAME, f"{kind!r} is unknown", f"Use {', '.join(KINDS)}")
    return {kind: _kind(f"{NAME}[{kind!r}]", kind, value[kind]) for kind in KINDS if value.get(kind) not in (None, {})}


def _kind(subject: str, kind: str, value: Any) -> dict[str, dict[str, Any]]:
    fix = f'Set the budgets of each {kind}, as {{"pages": 1000}}, or of some by name: {{"*": {{"pages": 1000}}}}'
    if not isinstance(value, Mapping):
        raise ConfigurationError(subject, f"{value!r} is not a dict", fix)
    nested = [isinstance(one, Mapping) for one in value.values()]
    if any(nested) and not all(nested):
        raise ConfigurationError(subject, "it has both names and budgets", fix)
    if not any(nested):
        return {ALL: _limits(subject, value)}
    rules: dict[str, dict[str, Any]] = {}
    for key, one in value.items():
        where = f"{subject}[{key!r}]"
        for name in _names(where, kind, key):
            if name == key or name not in rules:
                rules[name] = _limits(where, one)
    return rules


def _names(subject: str, kind: str, key: Any) -> tuple[str, ...]:
    if not isinstance(key, str) or not key.strip():
        raise ConfigurationError(subject, f"{key!r} is no name", f"Name a {kind}, or use a pattern or '*'")
    if key.startswith("@"):
        raise ConfigurationError(subject, "scopes have no budgets", "Name a slot, a domain or a seed")
    if set(key) & set("*?["):
        check_pattern(key, subject)
        return (key,)
    if kind == "slot":
        return names_of(key, subject)
    if kind == "domain":
        (*_, host) = names_of(key, subject)
        domain = registrable_domain(host)
        if domain != host.lower().rstrip("."):
            raise ConfigurationError(
                subject,
                f"it is a host of the registrable domain {domain!r}",
                f'Write {domain!r}, or move it to "slot"',
            )
        return (domain,)
    return (key,)


def _limits(subject: str, value: Mapping[str, Any]) -> dict[str, Any]:
    for budget in value:
        if budget not in BUDGETS:
            raise ConfigurationError(subject, f"{budget!r} is unknown", f"Use {', '.join(BUDGETS)}")
    limits: dict[str, Any] = {}
    for budget, limit in value.items():
        read: Callable[[str, Any], Any] = _READERS.get(budget, _whole)
        limits[budget] = None if limit is None else read(f"{subject}[{budget!r}]", limit)
    return limits


def _whole(subject: str, value: Any) -> int:
    return int(setting_number(subject, value, 0, MOST, whole=True))


def _size(subject: str, value: Any) -> int:
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        what = 'a number of bytes, as 500000000 or "500 MB"'
        return int(setting_number(subject, value, 0, MOST, what=what, whole=True))
    size = float(match[1]) * (1024 if match[3] else 1000) ** "_kmgt".index(match[2].lower() or "_")
    return int(setting_number(subject, round(size), 0, MOST, whole=True))


def _time(subject: str, value: Any) -> float:
    seconds = time_span(value)
    hint = f'Set seconds, as 7200, or a time, as "2h"; {UNITS_NAMED}'
    try:
        return number(value if seconds is None else seconds, 0, 1e9, what="a time", hint=hint)
    except WrongValue as error:
        raise error.at(subject) from None


_READERS: Mapping[str, Callable[[str, Any], Any]] = {"bytes": _size, "time": _time}
