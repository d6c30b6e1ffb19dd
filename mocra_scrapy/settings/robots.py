"""The setting about robots.txt: for how long all workers use what one of them fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mocra_scrapy.settings.reader import SettingsReader

#: Seconds after which no robots.txt is used any more (7 days).
LONGEST_AGE = 7 * 86_400.0


def read_max_age(read: SettingsReader) -> float:
    """Seconds for which a robots.txt need not be asked for again.

    Raises:
        ConfigurationError: ``MOCRA_ROBOTS_MAX_AGE`` is wrong.
    """
    return read.number("MOCRA_ROBOTS_MAX_AGE", 1, LONGEST_AGE, "a time in seconds")
