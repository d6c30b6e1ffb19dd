"""The setting about robots.txt: for how long all workers use what one of them fetched."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mocra_scrapy.settings.reader import SettingsReader
    from mocra_scrapy.settings.throttle import Limits

logger = logging.getLogger(__name__)

#: Seconds after which no robots.txt is used any more (7 days).
LONGEST_AGE = 7 * 86_400.0


def read_max_age(read: SettingsReader) -> float:
    """Seconds for which a robots.txt need not be asked for again.

    Raises:
        ConfigurationError: ``MOCRA_ROBOTS_MAX_AGE`` is wrong.
    """
    return read.number("MOCRA_ROBOTS_MAX_AGE", 1, LONGEST_AGE, "a time in seconds")


def warn_of_quotas(limits: Limits, max_age: float) -> None:
    """Of those that robots.txt uses up alone: when the next request may leave, the file is too old again, and comes
    before pages.
    """
    for name, rule in (*limits.own.items(), *limits.patterns.items()):
        for quota in rule.quotas or ():
            if quota.most == 1 and quota.window >= max_age:
                logger.warning(
                    "MOCRA_THROTTLE[%r]: its quota is one request in %g s, and robots.txt, which counts, is fetched anew"
                    " after %g s (MOCRA_ROBOTS_MAX_AGE): no page will ever be fetched. Allow two requests, raise"
                    " MOCRA_ROBOTS_MAX_AGE, or don't obey robots.txt",
                    name,
                    quota.window,
                    max_age,
                )
