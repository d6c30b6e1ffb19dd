"""What may be said of a namespace of :meth:`mocra_scrapy.Mocra.cache`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mocra_scrapy.cache.local_layer import LocalBounds
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import CacheBounds
from mocra_scrapy.models.cache import LARGEST_VALUE, LEAST_BYTES, LONGEST_TTL, PARTS
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


def cache_options(namespace: str, arguments: Mapping[str, Any], usual: Mapping[str, Any] | None = None) -> CacheOptions:
    """*arguments* as options: ``ttl``, ``max_entries``, ``max_bytes``, ``max_value_bytes``,
    ``local_entries``, ``local_bytes``, ``local_age``, ``on_outage``, ``train``.

    Args:
        usual: what holds where *arguments* say nothing. Of ``max_value_bytes`` then a sixteenth of
            ``max_bytes`` at most.

    Raises:
        ConfigurationError: names the namespace and the argument, and the fix.
    """
    subject = f"cache {namespace!r}"
    elsewhere: Mapping[str, Any] = usual or {}
    for unknown in sorted(arguments.keys() - set(ARGUMENTS)):
        raise ConfigurationError(subject, f"{unknown!r} is unknown", f"Known are {', '.join(ARGUMENTS)}")

    def value(name: str, default: Any) -> Any:
        return arguments.get(name, elsewhere.get(name, default))

    def seconds(name: str, default: float, least: float, most: float) -> float:
        return setting_number(f"{subject}, {name}", value(name, default), least, most, what="a time in seconds")

    def whole(name: str, default: Any, least: int, most: int) -> int:
        return int(setting_number(f"{subject}, {name}", value(name, default), least, most, whole=True))

    bounds, local = CacheBounds(), LocalBounds()
    max_bytes = whole("max_bytes", bounds.max_bytes, LEAST_BYTES, 2**50)
    largest = min(max_bytes // PARTS, LARGEST_VALUE)
    if "max_value_bytes" not in arguments:
        wished = elsewhere.get("max_value_bytes", bounds.max_value_bytes)
        elsewhere = {**elsewhere, "max_value_bytes": min(wished, largest)}
    on_outage, train = value("on_outage", "raise"), value("train", True)
    if on_outage not in ON_OUTAGE:
        raise ConfigurationError(subject, f"on_outage {on_outage!r} is unknown", "Choose 'raise' or 'miss'")
    if not isinstance(train, bool):
        raise ConfigurationError(subject, f"train {train!r} is neither True nor False", "Choose one of them")
    return CacheOptions(
        ttl=seconds("ttl", CacheOptions().ttl, 0.001, LONGEST_TTL),
        bounds=CacheBounds(
            whole("max_entries", bounds.max_entries, 1, 10**10), max_bytes, whole("max_value_bytes", None, 1, largest)
        ),
        local=LocalBounds(
            whole("local_entries", local.entries, 0, 10**7),
            whole("local_bytes", local.bytes, 0, 2**36),
            seconds("local_age", local.age, 0.0, 3600.0),
        ),
        on_outage=on_outage,
        train=train,
    )
