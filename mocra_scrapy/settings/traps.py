"""``MOCRA_TRAPS``: which links lead into a trap, a part of a site without end."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.checks import setting_number
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

NAME = "MOCRA_TRAPS"
#: No rule needs a larger bound.
MOST = 100_000


@dataclass(frozen=True, slots=True)
class TrapRules:
    """What a link may have at most; 0: any number of it.

    The path's rules are those of Heritrix (``TooManyPathSegmentsDecideRule`` with 20 segments,
    ``PathologicalPathDecideRule``), but for repetitions that need not follow one another.

    Attributes:
        segment_repeats: times that one segment stands in the path: ``/a/b/a/b/a/b/a`` has 4 of
            ``a``.
        path_depth: segments of the path.
        url_length: characters of the URL.
        parameters: parameters of the query.
    """

    segment_repeats: int = 3
    path_depth: int = 20
    url_length: int = 1000
    parameters: int = 20

    def broken_by(self, url: str) -> str:
        """The first rule that *url* breaks; empty: none."""
        if self.url_length and len(url) > self.url_length:
            return "url_length"
        parts = urlsplit(url)
        if self.parameters and parts.query.count("&") + parts.query.count(";") + bool(parts.query) > self.parameters:
            return "parameters"
        segments = parts.path.strip("/").split("/")
        if self.path_depth and len(segments) > self.path_depth:
            return "path_depth"
        if 0 < self.segment_repeats < max(Counter(segments).values()):
            return "segment_repeats"
        return ""


def read_traps(settings: BaseSettings) -> TrapRules | None:
    """The rules; ``None``: no link is taken for a trap.

    Raises:
        ConfigurationError: names the part that is wrong, and the fix.
    """
    value = _value(SettingsReader(settings).value(NAME))
    if isinstance(value, bool):
        return TrapRules() if value else None
    keys = [one.name for one in fields(TrapRules)]
    for key in value:
        if key not in keys:
            raise ConfigurationError(NAME, f"{key!r} is unknown", f"Use {', '.join(keys)}")
    numbers = {
        key: int(setting_number(f"{NAME}[{key!r}]", 0 if bound is None else bound, 0, MOST, whole=True))
        for key, bound in value.items()
    }
    return TrapRules(**numbers)


def _value(value: Any) -> bool | dict[str, Any]:
    """What ``-s`` gives is a text."""
    if value is None:
        return False
    if isinstance(value, (bool, dict)):
        return value
    text = str(value).strip()
    if text.lower() in ("1", "true", "0", "false", "none", ""):
        return text.lower() in ("1", "true")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(
            NAME, f"{value!r} is neither true, false nor a dict", 'Set True, or a dict as {"path_depth": 30}'
        )
    return found
