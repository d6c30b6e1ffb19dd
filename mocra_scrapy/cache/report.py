"""What a namespace tells: counts for stats, and a line in the log when something begins or ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError, UnreadablePayload
    from mocra_scrapy.models import CacheBounds

logger = logging.getLogger(__name__)


class Report:
    """Counts everything, logs each thing once.

    Args:
        namespace: of which cache.
        count: gets a stat's name, and how often.
        misses: whether an outage is a miss, or an error for who asks.

    Attributes:
        is_away: whether the backend did not answer the last time, and that is a miss.
    """

    def __init__(self, namespace: str, count: Callable[[str, int], None], *, misses: bool) -> None:
        self._namespace, self._count, self._misses = namespace, count, misses
        self._since: float | None = None
        self._told_full = self._told_unreadable = self._told_unfit = False

    @property
    def is_away(self) -> bool:
        return self._since is not None

    def count(self, stat: str, by: int = 1) -> None:
        if by:
            self._count(stat, by)

    def unreadable(self, name: str, error: UnreadablePayload) -> None:
        """An entry that counts as missing: whoever computes it stores it anew."""
        self.count("mocra/cache/unreadable")
        if not self._told_unreadable:
            self._told_unreadable = True
            logger.error(
                "Cache %r: the value of %r can't be read and counts as missing; more of them are counted only: %s",
                self._namespace,
                name,
                error,
            )

    def evicted(self, went: int, bounds: CacheBounds) -> None:
        """Entries that had to go before their end."""
        self.count("mocra/cache/evicted", went)
        if went and not self._told_full:
            self._told_full = True
            logger.warning(
                "Cache %r is full (max_entries = %d, max_bytes = %d): what ends first makes room, as mocra/cache/evicted counts. "
                "Raise the bounds, or choose a smaller ttl",
                self._namespace,
                bounds.max_entries,
                bounds.max_bytes,
            )

    def gone(self, error: BackendUnavailable) -> None:
        """The backend did not answer, or could not store.

        Raises:
            BackendUnavailable: *error*, where that is no miss.
        """
        self.count("mocra/cache/unavailable")
        if not self._misses:
            raise error
        if self._since is None:
            self._since = time.monotonic()
            logger.warning(
                "Cache %r: nothing is found and nothing is stored until the backend answers: %s", self._namespace, error
            )

    def not_stored(self, name: str, error: BackendUnavailable) -> None:
        """What was computed is given to who asked, and to nobody else."""
        self.count("mocra/cache/unavailable")
        logger.warning("Cache %r: %r was computed and could not be stored: %s", self._namespace, name, error)

    def unfit(self, name: str, error: ConfigurationError) -> None:
        """What was computed can't be stored: everybody who asks computes it."""
        level = logging.DEBUG if self._told_unfit else logging.WARNING
        self._told_unfit = True
        logger.log(
            level,
            "Cache %r: %r was computed and can't be stored, so everybody computes it; more of them are logged at DEBUG: %s",
            self._namespace,
            name,
            error,
        )

    def back(self) -> None:
        """It answered."""
        if self._since is not None:
            logger.info("Cache %r is there again after %.1f s", self._namespace, time.monotonic() - self._since)
            self._since = None
