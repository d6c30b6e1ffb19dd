"""The one check of a number: in settings, in their parts, in the jobs file of ``scrapy cron``, and
in what is changed while a crawl runs. Pure.
"""

from __future__ import annotations

import math
import re
from typing import Any

from mocra_scrapy.exceptions import ConfigurationError

_UNITS = {1.0: "s sec second seconds", 60.0: "m min minute minutes", 3600.0: "h hour hours", 86_400.0: "d day days"}
#: Unit of time, in small letters -> seconds.
SECONDS = {unit: seconds for seconds, units in _UNITS.items() for unit in units.split()}
#: A unit in a pattern that ignores case; only these: "2months" is no two minutes.
UNIT = f"({'|'.join(SECONDS)})"
#: For the fix of a message.
UNITS_NAMED = f"units of time are {', '.join(SECONDS)}"
_SPAN = re.compile(rf"(\d+(?:\.\d+)?)\s*{UNIT}", re.IGNORECASE | re.ASCII)


class WrongValue(ValueError):
    """A value that can't be used; ``problem`` and ``fix`` are sentences without a full stop. Whoever
    knows where the value stands makes a :class:`~mocra_scrapy.exceptions.ConfigurationError` of it.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}. {fix}")
        self.problem, self.fix = problem, fix

    def at(self, subject: str) -> ConfigurationError:
        return ConfigurationError(subject, self.problem, self.fix)


def number(
    value: Any,
    least: float,
    most: float,
    *,
    what: str = "",
    whole: bool = False,
    text: bool = True,
    hint: str = "",
) -> float:
    """*value* as a number from *least* to *most*, both included.

    Args:
        what: what is meant, with its article: "a time in seconds".
        whole: without a fraction.
        text: whether a text will do (``-s``, the environment).
        hint: the fix where *value* is no number at all.

    Raises:
        WrongValue: it is none, or out of range.
    """
    kind = "a whole number" if whole else "a number"
    try:
        found = math.nan if isinstance(value, bool) or (isinstance(value, str) and not text) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    fix = f"Set {kind} from {_shown(least)} to {_shown(most)}"
    if math.isnan(found):
        raise WrongValue(f"{value!r} is not {what or kind}", hint or fix)
    if whole and not found.is_integer():
        raise WrongValue(f"{value!r} is not a whole number", fix)
    if not least <= found <= most:
        raise WrongValue(f"{value!r} is {f'not {what}' if what else 'out of range'}", fix)
    return found


def time_span(text: Any) -> float | None:
    """Seconds, of ``90s``, ``10 min``, ``1.5h`` or ``2 days``; ``None``: it is none of these."""
    match = _SPAN.fullmatch(text.strip()) if isinstance(text, str) else None
    return None if match is None else float(match[1]) * SECONDS[match[2].lower()]


def setting_number(
    subject: str, value: Any, least: float, most: float, *, what: str = "", whole: bool = False
) -> float:
    """The same for a setting or a part of one.

    Args:
        subject: its name: ``MOCRA_LEASE``, ``MOCRA_BREAKER['hold']``.

    Raises:
        ConfigurationError: names *subject*, the value and the fix.
    """
    try:
        return number(value, least, most, what=what, whole=whole)
    except WrongValue as error:
        raise error.at(subject) from None


def _shown(bound: float) -> str:
    """1000000 rather than 1e+06."""
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"
