"""The entries of ``MOCRA_THROTTLE``, read and checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import LONGEST, Quota, SlotLimit
from mocra_scrapy.models.rule_sets import smallest
from mocra_scrapy.settings.checks import SECONDS, UNIT, UNITS_NAMED, setting_number

KEYS = (
    "preset",
    "rate",
    "delay",
    "delay_factor",
    "delay_min",
    "delay_max",
    "burst",
    "concurrency",
    "jitter",
    "quota",
    "scopes",
)
#: Names that stand for a whole entry: as polite as the defaults of other crawlers.
PRESETS: Mapping[str, Mapping[str, float]] = {
    # delayFactor 5.0, minDelayMs 3000, maxDelayMs 30000 of its DispositionProcessor
    "heritrix": {"delay_factor": 5.0, "delay_min": 3.0, "delay_max": 30.0, "concurrency": 1},
    # fetcher.server.delay 5.0, fetcher.threads.per.queue 1
    "nutch": {"delay_factor": 0.0, "delay_min": 5.0, "delay_max": 5.0, "concurrency": 1},
}
#: What a rule says of a limit.
PARTS = ("interval", "burst", "concurrency", "jitter", "quotas")
#: Windows that one slot or scope may have.
MOST_QUOTAS = 4

_RATE = re.compile(rf"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)?\s*{UNIT}\s*", re.IGNORECASE)


class Pace(NamedTuple):
    """The delay from the end of a response to the next request: *factor* times what it took, from
    *least* to *most* seconds.
    """

    factor: float
    least: float
    most: float

    def delay(self, latency: float) -> float:
        """Seconds from the end of a response that took *latency* seconds."""
        return min(max(self.factor * latency, self.least), self.most)

    def interval(self, latency: float) -> float:
        """Seconds between two requests, when a response takes *latency* seconds."""
        return self.delay(latency) + latency


@dataclass(frozen=True, slots=True)
class Rule:
    """An entry of ``MOCRA_THROTTLE``; ``None``: as Scrapy's settings say."""

    interval: float | None = None
    burst: int | None = None
    concurrency: int | None = None
    jitter: float | None = None
    quotas: tuple[Quota, ...] | None = None
    scopes: tuple[str, ...] = ()
    pace: Pace | None = None

    def over(self, limit: SlotLimit) -> SlotLimit:
        told = {f: v for f in PARTS if (v := getattr(self, f)) is not None}
        if "interval" in told:
            told["floor"] = told["interval"]
            told.setdefault("jitter", 0.0)  # a rate is meant as it is written
        return replace(limit, **told)


def parse_rate(text: Any, subject: str) -> float:
    """Seconds between two requests, of ``"60/m"``, ``"5/s"``, ``"1/10s"``, ``"0.2/s"``, or a number
    a second.

    Raises:
        ConfigurationError: it is none of these, or less than one in 366 days.
    """
    fix = 'Write a rate as "60/m", "5/s", "1/10s" or "0.2/s"'
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        count, seconds = float(text), 1.0
    else:
        match = _RATE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ConfigurationError(subject, f"{text!r} is not a rate", f"{fix}; {UNITS_NAMED}")
        count, seconds = float(match[1]), float(match[2] or 1) * SECONDS[match[3].lower()]
    if not (count > 0 and seconds > 0 and math.isfinite(count)):
        raise ConfigurationError(subject, f"{text!r} is a rate of nothing", f"{fix}; to stop a slot, pause it")
    interval = seconds / count
    if not 1e-6 <= interval <= LONGEST:
        raise ConfigurationError(subject, f"{text!r} is out of range", "Write a rate from one in a year to 1000000/s")
    return interval


def parse_quotas(value: Any, subject: str) -> tuple[Quota, ...]:
    """``"1000/day"``, ``"100/10m"``, or a list of them, by window.

    Raises:
        ConfigurationError: it is none of these, or more than :data:`MOST_QUOTAS`.
    """
    fix = 'Write "1000/day", "100/h" or "100/10m", or a list: ["100/h", "1000/day"]'
    texts = value if isinstance(value, (list, tuple)) else [value]
    quotas = []
    for text in texts:
        match = _RATE.fullmatch(text) if isinstance(text, str) else None
        if match is None or "." in match[1]:
            raise ConfigurationError(
                subject, f"{text!r} is not a number of requests in a time", f"{fix}; {UNITS_NAMED}"
            )
        count, window = int(match[1]), float(match[2] or 1) * SECONDS[match[3].lower()]
        if not (1 <= count <= 1e9 and 1 <= window <= LONGEST):
            raise ConfigurationError(subject, f"{text!r} is out of range", f"{fix}; a second to 366 days")
        quotas.append(Quota(count, window))
    if not 0 < len(smallest(quotas)) <= MOST_QUOTAS:
        raise ConfigurationError(subject, f"it has {len(quotas)} windows", f"Leave 1 to {MOST_QUOTAS}")
    return smallest(quotas)


def read_rule(name: str, value: Any) -> Rule:
    """The entry of *name*.

    Raises:
        ConfigurationError: names the part of it that is wrong.
    """
    subject = f"MOCRA_THROTTLE[{name!r}]"
    value = _without_preset(subject, value)
    if not isinstance(value, Mapping):
        return Rule(interval=parse_rate(value, subject))
    for key in value:
        if key not in KEYS:
            raise ConfigurationError(subject, f"{key!r} is unknown", f"Use {', '.join(KEYS)}")
    ways = [key for key in ("rate", "delay", "delay_factor") if key in value]
    if len(ways) > 1:
        raise ConfigurationError(subject, f"it has a {' and a '.join(ways)}", "Leave one of them out")
    interval: float | None = None
    pace = _pace(name, subject, value)
    if pace is not None:
        interval = pace.least
    elif "rate" in value:
        interval = parse_rate(value["rate"], f"{subject}['rate']")
    elif "delay" in value:
        interval = setting_number(f"{subject}['delay']", value["delay"], 0, LONGEST)
    scopes = value.get("scopes", ())
    scopes = [scopes] if isinstance(scopes, str) else scopes
    if not isinstance(scopes, (list, tuple, set)) or not all(isinstance(s, str) and s for s in scopes):
        raise ConfigurationError(
            f"{subject}['scopes']", f"{scopes!r} are not names", "Write a list of names, without @"
        )
    if scopes and name.startswith("@"):
        raise ConfigurationError(subject, "a scope has scopes", "Name the scopes at the slots")
    whole = {
        key: int(setting_number(f"{subject}[{key!r}]", value[key], least, 1_000_000, whole=True))
        for key, least in (("burst", 1), ("concurrency", 0))
        if key in value
    }
    jitter = setting_number(f"{subject}['jitter']", value["jitter"], 0, 1) if "jitter" in value else None
    quotas = parse_quotas(value["quota"], f"{subject}['quota']") if "quota" in value else None
    scopes = tuple(sorted(f"@{s}" for s in scopes))
    return Rule(interval, whole.get("burst"), whole.get("concurrency"), jitter, quotas, scopes, pace)


def _without_preset(subject: str, value: Any) -> Any:
    """*value* with what its preset says; its own keys go before."""
    if isinstance(value, str) and value.strip().isalpha():
        value = {"preset": value.strip()}
    if not isinstance(value, Mapping) or "preset" not in value:
        return value
    preset = PRESETS.get(str(value["preset"]).lower())
    if preset is None:
        raise ConfigurationError(
            subject, f"{value['preset']!r} is not a rate or preset", f'Use {" or ".join(PRESETS)}, or a rate: "60/m"'
        )
    return {**preset, **{key: said for key, said in value.items() if key != "preset"}}


def _pace(name: str, subject: str, value: Mapping[str, Any]) -> Pace | None:
    if "delay_factor" not in value:
        for key in ("delay_min", "delay_max"):
            if key in value:
                raise ConfigurationError(subject, f"it has a {key} and no delay_factor", "Add one, or write a delay")
        return None
    if name.startswith("@"):
        raise ConfigurationError(
            subject, "a scope has a delay_factor", "Set it at the slots, which have response times"
        )
    factor = setting_number(f"{subject}['delay_factor']", value["delay_factor"], 0, 1000)
    least = setting_number(f"{subject}['delay_min']", value.get("delay_min", 0), 0, LONGEST)
    most = setting_number(f"{subject}['delay_max']", value.get("delay_max", max(60.0, least)), least, LONGEST)
    return Pace(factor, least, most)
