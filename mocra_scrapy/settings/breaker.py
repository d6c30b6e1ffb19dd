"""``MOCRA_BREAKER``: ``None``, the name of a preset, or a dict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import BreakerRules, Threshold
from mocra_scrapy.models.failure_kinds import GROUPS, KINDS
from mocra_scrapy.settings.checks import setting_number
from mocra_scrapy.settings.failures import read_failure_options
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

NAME = "MOCRA_BREAKER"
#: ``mocra``: what mocra allows a module and a task, within a time. ``share``: for crawls of any
#: size.
PRESETS: dict[str, dict[str, Any]] = {
    "mocra": {"slot": {"failures": 10, "window": 60}, "crawl": {"failures": 100, "window": 600}},
    "share": {
        "slot": {"share": 0.5, "least": 20, "window": 60},
        "crawl": {"share": 0.5, "least": 200, "window": 300},
    },
}
KEYS = ("preset", "slot", "crawl", "hold", "longest", "probes", "ramp")
PARTS = ("failures", "share", "least", "window", "count")
SLOW_PARTS = ("slow", "slow_share")  # of slots
#: What counts where nothing is said: a host is not at fault for our callback.
COUNT = {"slot": ("download", "status"), "crawl": ("download", "status", "parse", "pipeline")}
WINDOW = {"slot": 60.0, "crawl": 600.0}


def read_breaker(settings: BaseSettings) -> BreakerRules | None:
    """The rules of a crawl; ``None``: no breaker.

    Raises:
        ConfigurationError: names the part that is wrong, and the fix.
    """
    value = _value(SettingsReader(settings).value(NAME))
    if value is None:
        return None
    rules = BreakerRules()
    slot, crawl = _threshold(value, "slot"), _threshold(value, "crawl")
    if slot is None and crawl is None:
        raise ConfigurationError(NAME, "it has no threshold", 'Add "slot", "crawl" or a "preset", or set it to None')
    hold = setting_number(f"{NAME}['hold']", value.get("hold", rules.hold), 0.1, 86_400)
    longest = setting_number(f"{NAME}['longest']", value.get("longest", max(hold, rules.longest)), hold, 7 * 86_400)
    probes = int(setting_number(f"{NAME}['probes']", value.get("probes", rules.probes), 1, 1000, whole=True))
    if slot is not None and settings.get("MOCRA_THROTTLE_SCOPE") == "worker":
        raise ConfigurationError(
            f"{NAME}['slot']",
            'slots are held by the cluster, but MOCRA_THROTTLE_SCOPE is "worker"',
            'Take it out (a preset\'s with "slot": None), or set MOCRA_THROTTLE_SCOPE = "cluster"',
        )
    openings = read_failure_options(settings).stall_openings
    ramp = setting_number(f"{NAME}['ramp']", value.get("ramp", 0), 0, 86_400)
    return BreakerRules(slot, crawl, hold, longest, probes, openings, ramp)


def _value(value: Any) -> dict[str, Any] | None:
    """A dict in full; a text is a preset's name, or JSON from the command line."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "n", '"'):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ConfigurationError(
                NAME, f"it is not valid JSON: {error}", 'Write, for example, {"preset": "mocra"}'
            ) from None
        if value is None:
            return None
    if isinstance(value, str):
        value = {"preset": value}
    if not isinstance(value, Mapping):
        raise ConfigurationError(NAME, f"{value!r} is not a rule", f"Set a dict, None, or one of {_list(PRESETS)}")
    for key in value:
        if key not in KEYS:
            raise ConfigurationError(NAME, f"{key!r} is unknown", f"Use {', '.join(KEYS)}")
    preset = value.get("preset")
    if preset is not None and preset not in tuple(PRESETS):  # anything may stand there, also what can't be a key
        raise ConfigurationError(f"{NAME}['preset']", f"{preset!r} is unknown", f"Set one of {_list(PRESETS)}")
    return {**PRESETS.get(preset or "", {}), **{key: part for key, part in value.items() if key != "preset"}}


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _threshold(value: Mapping[str, Any], level: str) -> Threshold | None:
    part = value.get(level)
    if part is None:
        return None
    subject = f"{NAME}[{level!r}]"
    if not isinstance(part, Mapping):
        raise ConfigurationError(subject, f"{part!r} is not a threshold", 'Set a dict: {"failures": 10, "window": 60}')
    for key in part:
        parts = (*PARTS, *SLOW_PARTS) if level == "slot" else PARTS
        if key not in parts:
            raise ConfigurationError(subject, f"{key!r} is unknown", f"Use {', '.join(parts)}")
    failures = int(setting_number(f"{subject}['failures']", part.get("failures", 0), 0, 1_000_000_000, whole=True))
    share = setting_number(f"{subject}['share']", part.get("share", 0), 0, 1)
    least = int(setting_number(f"{subject}['least']", part.get("least", 20), 1, 1_000_000_000, whole=True))
    window = setting_number(f"{subject}['window']", part.get("window", WINDOW[level]), 1, 7 * 86_400)
    slow = setting_number(f"{subject}['slow']", part.get("slow", 0), 0, 86_400)
    slow_share = setting_number(f"{subject}['slow_share']", part.get("slow_share", 0.5 if slow else 0), 0, 1)
    if slow and not slow_share:
        raise ConfigurationError(f"{subject}['slow_share']", "0 is no part", "Set a part, for example 0.5")
    if not failures and not share and not slow:
        wanted = '"failures", "share", "slow", or several' if level == "slot" else '"failures", "share", or both'
        raise ConfigurationError(subject, "nothing would pass it", f"Set {wanted}")
    kinds = _kinds(part.get("count", COUNT[level]), f"{subject}['count']")
    return Threshold(window, failures, share, least, kinds, slow, slow_share if slow else 0.0)


def _kinds(names: Any, subject: str) -> frozenset[str]:
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, (list, tuple, set, frozenset)) or not names:
        raise ConfigurationError(
            subject, f"{names!r} is not a list of names", f"List some of {_list((*GROUPS, *KINDS))}"
        )
    found: set[str] = set()
    for name in names:
        if isinstance(name, str) and name in GROUPS:
            found |= GROUPS[name]
        elif name in KINDS:
            found.add(name)
        else:
            raise ConfigurationError(
                subject, f"{name!r} is not a kind of failure", f"List some of {_list((*GROUPS, *KINDS))}"
            )
    return frozenset(found)
