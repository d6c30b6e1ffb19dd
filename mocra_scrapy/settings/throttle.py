"""Which limit a slot or scope has, by Scrapy's settings and ``MOCRA_THROTTLE``; read once, checked,
and then looked up.

==================================================  ==============================================================
``DOWNLOAD_DELAY``, ``spider.download_delay``       interval of every slot
``RANDOMIZE_DOWNLOAD_DELAY``,                       how much intervals vary
``DOWNLOAD_DELAY_JITTER``
``CONCURRENT_REQUESTS_PER_DOMAIN`` (``_PER_IP``)    permits of every slot
``DOWNLOAD_SLOTS``                                  ``delay``, ``concurrency``, ``jitter``, ``randomize_delay`` of one slot
``MOCRA_THROTTLE``                                  slot, pattern or ``@scope`` -> a rule, see ``throttle_rules.py``
==================================================  ==============================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import LONGEST, RuleSet, SlotLimit, slot_name
from mocra_scrapy.settings.checks import setting_number
from mocra_scrapy.settings.reader import SettingsReader
from mocra_scrapy.settings.slot_names import check_pattern, names_of
from mocra_scrapy.settings.throttle_rules import Pace, Rule, read_rule

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.settings import BaseSettings

SCOPES = ("cluster", "worker")
ON_OUTAGE = ("wait", "share")
#: ``meta["mocra_scopes"]``: the names of scopes, without ``@``, that a request counts for beside
#: its slot.
META_SCOPES = "mocra_scopes"


@dataclass(slots=True)
class Limits:
    """The limits of one crawl. ``cluster``: whether they hold for all workers together.

    Attributes:
        default: of a slot that nothing is said of.
        own: what is said of single slots and scopes.
        patterns: what is said of all slots that match; the first one that does counts.
    """

    cluster: bool
    on_outage: str
    default: SlotLimit
    slots: Mapping[str, SlotLimit] = field(default_factory=dict)
    own: Mapping[str, Rule] = field(default_factory=dict)
    patterns: Mapping[str, Rule] = field(default_factory=dict)
    _known: dict[str, tuple[SlotLimit, tuple[str, ...], Pace | None]] = field(default_factory=dict)

    def _look_up(self, name: str) -> tuple[SlotLimit, tuple[str, ...], Pace | None]:
        if name.startswith("@"):
            return self.own.get(name, Rule()).over(SlotLimit()), (), None
        rule = self.own.get(name) or next((r for p, r in self.patterns.items() if fnmatchcase(name, p)), Rule())
        return rule.over(self.slots.get(name, self.default)), rule.scopes, rule.pace

    def _find(self, name: str) -> tuple[SlotLimit, tuple[str, ...], Pace | None]:
        found = self._known.get(name)
        if found is None:
            if len(self._known) > 100_000:
                self._known.clear()
            found = self._known[name] = self._look_up(name)
        return found

    def of(self, name: str) -> SlotLimit:
        """The limit of a slot or, with ``@``, of a scope."""
        return self._find(name)[0]

    def pace_of(self, name: str) -> Pace | None:
        """How the delay of a slot depends on its response times; ``None``: it does not."""
        return self._find(name)[2] if self.own or self.patterns else None

    def rule_set(self) -> RuleSet | None:
        """What the store is told; ``None``: each worker is polite for itself."""
        if not self.cluster:
            return None
        names = {name: self.of(name) for name in (*self.slots, *self.own)}
        return RuleSet(
            self.default, names, tuple((text, rule.over(self.default)) for text, rule in self.patterns.items())
        )

    @property
    def uses_scopes(self) -> bool:
        return any(name.startswith("@") for name in self.own)

    def scopes_of(self, slot: str, request: Request) -> tuple[str, ...]:
        """The scopes that *request* counts for, sorted, each with its ``@``.

        Raises:
            ConfigurationError: ``meta["mocra_scopes"]`` names one that ``MOCRA_THROTTLE`` doesn't.
        """
        wished = request.meta.get(META_SCOPES)
        if not wished and not self.own and not self.patterns:
            return ()
        mine = self._find(slot)[1]
        if not wished:
            return mine
        names = [wished] if isinstance(wished, str) else list(wished)
        for name in names:
            if f"@{name}" not in self.own:
                needs = "" if self.cluster else ", which needs MOCRA_THROTTLE_SCOPE = 'cluster'"
                raise ConfigurationError(
                    f"meta[{META_SCOPES!r}]",
                    f"MOCRA_THROTTLE has no scope {name!r}",
                    f"Set one: MOCRA_THROTTLE = {{'@{name}': '60/m'}}{needs}",
                )
        return tuple(sorted({*mine, *(f"@{name}" for name in names)}))


def _slot(subject: str, settings: Any, default: SlotLimit) -> SlotLimit:
    """One entry of ``DOWNLOAD_SLOTS``; ``jitter`` goes before the older ``randomize_delay``."""
    interval = setting_number(f"{subject}['delay']", settings.get("delay", default.interval), 0, LONGEST)
    permits = settings.get("concurrency", default.concurrency)
    permits = int(setting_number(f"{subject}['concurrency']", permits, 0, 1_000_000, whole=True))
    jitter = default.jitter
    if "jitter" in settings:
        jitter = setting_number(f"{subject}['jitter']", settings["jitter"], 0, 1)
    elif "randomize_delay" in settings:
        jitter = 0.5 if settings["randomize_delay"] else 0.0
    return SlotLimit(interval, 1, permits, jitter, interval if "delay" in settings else default.floor)


def _default_jitter(settings: BaseSettings) -> float:
    """As the running Scrapy does: ``DOWNLOAD_DELAY_JITTER`` (2.18 and later) unless the older
    setting stands above it.
    """
    old, new = (settings.getpriority(name) or 0 for name in ("RANDOMIZE_DOWNLOAD_DELAY", "DOWNLOAD_DELAY_JITTER"))
    if settings.get("DOWNLOAD_DELAY_JITTER") is not None and old <= new:
        return min(1.0, max(0.0, settings.getfloat("DOWNLOAD_DELAY_JITTER")))
    return 0.5 if settings.getbool("RANDOMIZE_DOWNLOAD_DELAY", True) else 0.0


def _begins_with(settings: BaseSettings, default: SlotLimit) -> SlotLimit:
    """What AutoThrottle begins with, where ours is in use (see ``_placing``)."""
    components = {**settings.getdict("EXTENSIONS_BASE"), **settings.getdict("EXTENSIONS")}
    ours = "mocra_scrapy.extensions.autothrottle"
    placed = [
        at for key, at in components.items() if ours in (getattr(key, "__module__", ""), str(key).rpartition(".")[0])
    ]
    in_use = bool(placed) and None not in placed and settings.getfloat("AUTOTHROTTLE_TARGET_CONCURRENCY") > 0
    if not in_use or not settings.getbool("AUTOTHROTTLE_ENABLED"):
        return default
    start = setting_number("AUTOTHROTTLE_START_DELAY", settings.get("AUTOTHROTTLE_START_DELAY"), 0, LONGEST)
    return replace(default, interval=max(default.interval, start))


def read_limits(settings: BaseSettings, delay: float | None = None) -> Limits:
    """The limits of a crawl; *delay*: seconds that count instead of ``DOWNLOAD_DELAY``.

    Raises:
        ConfigurationError: names the setting and the part of it that is wrong.
    """
    read = SettingsReader(settings)
    if delay is None:
        delay = settings.get("DOWNLOAD_DELAY") or 0
    per_domain = settings.getint("CONCURRENT_REQUESTS_PER_IP", 0) or settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN")
    delay = setting_number("DOWNLOAD_DELAY", delay, 0, LONGEST)
    default = SlotLimit(delay, 1, max(0, per_domain), _default_jitter(settings), delay)
    default = _begins_with(settings, default)
    slots = {
        slot_name(name): _slot(f"DOWNLOAD_SLOTS[{name!r}]", s, default)
        for name, s in settings.getdict("DOWNLOAD_SLOTS").items()
    }
    rules = {str(name): read_rule(str(name), value) for name, value in read.mapping("MOCRA_THROTTLE").items()}
    rules = {
        name: rule  # in their order; what is named itself goes before what also stands for it
        for key, rule in rules.items()
        for name in names_of(key, f"MOCRA_THROTTLE[{key!r}]")
        if name == key or name not in rules
    }
    patterns = {name: rule for name, rule in rules.items() if not name.startswith("@") and set(name) & set("*?[")}
    for name in patterns:
        check_pattern(name, f"MOCRA_THROTTLE[{name!r}]")
    own = {name: rule for name, rule in rules.items() if name not in patterns}
    for name, rule in rules.items():
        for scope in rule.scopes:
            if scope not in own:
                raise ConfigurationError(
                    f"MOCRA_THROTTLE[{name!r}]['scopes']", f"there is no {scope!r}", f"Add {scope!r} to MOCRA_THROTTLE"
                )
    cluster = read.choice("MOCRA_THROTTLE_SCOPE", SCOPES) == "cluster"
    if rules and not cluster:
        raise ConfigurationError(
            "MOCRA_THROTTLE",
            'it has rules, but MOCRA_THROTTLE_SCOPE is "worker"',
            'Use DOWNLOAD_SLOTS, or set MOCRA_THROTTLE_SCOPE = "cluster"',
        )
    return Limits(cluster, read.choice("MOCRA_THROTTLE_ON_OUTAGE", ON_OUTAGE), default, slots, own, patterns)
