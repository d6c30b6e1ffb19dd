"""What may be said of a namespace of :meth:`mocra_scrapy.Mocra.cache`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mocra_scrapy.cache.local_layer import LocalBounds
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import CacheBounds
from mocra_scrapy.models.cache import LONGEST_TTL, PARTS
from mocra_scrapy.settings.cache import ARGUMENTS, ON_OUTAGE
from mocra_scrapy.settings.checks import setting_number


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """One namespace.

    Attributes:
        ttl: seconds that an entry lasts for which nothing else is said.
        bounds: what the namespace may hold.
        local: what this process keeps of it.
        on_outage: ``"raise"``, or ``"miss"``: without an answer of the backend nothing is there, and
            nothing is stored.
        train: whether a compression dictionary is made of the values. It holds pieces of them, and
            outlives them.
    """

    ttl: float = 86_400.0
    bounds: CacheBounds = field(default_factory=CacheBounds)
    local: LocalBounds = field(default_factory=LocalBounds)
    on_outage: str = "raise"
    train: bool = True


def cache_options(namespace: str, arguments: Mapping[str, Any]) -> CacheOptions:
    """*arguments* as options: ``ttl``, ``max_entries``, ``max_bytes``, ``max_value_bytes`` (default:
    16 MiB, or a sixteenth of *max_bytes*), ``local_entries``, ``local_bytes``, ``local_age``,
    ``on_outage``, ``train``.

    Raises:
        ConfigurationError: names the namespace and the argument, and the fix.
    """
    subject = f"cache {namespace!r}"
    for unknown in sorted(arguments.keys() - set(ARGUMENTS)):
        raise ConfigurationError(subject, f"{unknown!r} is unknown", f"Known are {', '.join(ARGUMENTS)}")

    def number(name: str, default: float, least: float, most: float, *, whole: bool = True) -> float:
        return setting_number(f"{subject}, {name}", arguments.get(name, default), least, most, whole=whole)

    usual, local = CacheBounds(), LocalBounds()
    max_bytes = int(number("max_bytes", usual.max_bytes, PARTS * 4096, 2**50))
    bounds = CacheBounds(
        int(number("max_entries", usual.max_entries, 1, 10**10)),
        max_bytes,
        int(number("max_value_bytes", min(usual.max_value_bytes, max_bytes // PARTS), 1, max_bytes // PARTS)),
    )
    on_outage, train = arguments.get("on_outage", "raise"), arguments.get("train", True)
    if on_outage not in ON_OUTAGE:
        raise ConfigurationError(subject, f"on_outage {on_outage!r} is unknown", "Choose 'raise' or 'miss'")
    if not isinstance(train, bool):
        raise ConfigurationError(subject, f"train {train!r} is neither True nor False", "Choose one of them")
    return CacheOptions(
        ttl=number("ttl", CacheOptions().ttl, 0.001, LONGEST_TTL, whole=False),
        bounds=bounds,
        local=LocalBounds(
            int(number("local_entries", local.entries, 0, 10**7)),
            int(number("local_bytes", local.bytes, 0, 2**36)),
            number("local_age", local.age, 0.0, 3600.0, whole=False),
        ),
        on_outage=on_outage,
        train=train,
    )
