"""The settings of the cache: what a namespace may hold, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.cache import LARGEST_VALUE, LEAST_BYTES, LONGEST_TTL, PARTS
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

#: What :meth:`mocra_scrapy.Mocra.cache` may be told of a namespace.
ARGUMENTS = (
    "ttl",
    "max_entries",
    "max_bytes",
    "max_value_bytes",
    "local_entries",
    "local_bytes",
    "local_age",
    "on_outage",
    "train",
)
ON_OUTAGE = ("raise", "miss")


def read_caches(settings: BaseSettings) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What holds for every namespace, and what is different in some.

    Raises:
        ConfigurationError: names the first setting that is wrong, and the fix.
    """
    read = SettingsReader(settings)
    everywhere: dict[str, Any] = {
        "ttl": read.number("MOCRA_CACHE_TTL", 0.001, LONGEST_TTL, "a time in seconds"),
        "max_entries": read.whole("MOCRA_CACHE_MAX_ENTRIES", 1, 10**10, "a number of entries"),
        "max_bytes": read.whole("MOCRA_CACHE_MAX_BYTES", LEAST_BYTES, 2**50, "a size in bytes"),
        "max_value_bytes": read.whole("MOCRA_CACHE_MAX_VALUE_BYTES", 1, LARGEST_VALUE, "a size in bytes"),
        "on_outage": read.choice("MOCRA_CACHE_ON_OUTAGE", ON_OUTAGE),
    }
    if everywhere["max_value_bytes"] > everywhere["max_bytes"] // PARTS:
        raise ConfigurationError(
            "MOCRA_CACHE_MAX_VALUE_BYTES",
            f"{everywhere['max_value_bytes']} is more than a sixteenth of MOCRA_CACHE_MAX_BYTES = {everywhere['max_bytes']}",
            f"Set {everywhere['max_bytes'] // PARTS} at most, or a larger MOCRA_CACHE_MAX_BYTES",
        )
    special = read.mapping("MOCRA_CACHES")
    for namespace, arguments in special.items():
        if not isinstance(arguments, Mapping):
            raise ConfigurationError(
                f"MOCRA_CACHES[{namespace!r}]", f"{arguments!r} is not a dict", 'Set a dict, as {"ttl": 60}'
            )
        unknown = sorted(str(name) for name in arguments if name not in ARGUMENTS)
        if unknown:
            raise ConfigurationError(
                f"MOCRA_CACHES[{namespace!r}]", f"{unknown[0]!r} is unknown", f"Known are {', '.join(ARGUMENTS)}"
            )
    return everywhere, {str(namespace): dict(arguments) for namespace, arguments in special.items()}
