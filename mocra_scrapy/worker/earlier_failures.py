"""What a stored request carries of its earlier failures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from scrapy import Request


META_FAILURES = "mocra_failures"


class Failures(NamedTuple):
    """What went wrong before, carried by the stored request in ``meta["mocra_failures"]`` and taken
    out when it is handed out.

    Attributes:
        times: how often it was put back into the queue because it had failed.
        first_at: when it first failed, seconds since the epoch.
        errors: how many of these were errors of its callback.
        deferrals: how often it was put back because its site asked to wait; ``deferred_at``: when
            it first was, seconds since the epoch.
    """

    times: int = 0
    first_at: float | None = None
    errors: int = 0
    deferrals: int = 0
    deferred_at: float = 0.0

    def one_more(self, *, error: bool = False) -> list[Any]:
        """What the next entry is to carry."""
        first_at = time.time() if self.first_at is None else self.first_at
        return self._carried(self.times + 1, first_at, self.errors + error)

    def deferred(self, now: float) -> list[Any]:
        """The same where it did not fail, but is to wait."""
        since = self.deferred_at if self.deferrals else now
        return [self.times, self.first_at, self.errors, self.deferrals + 1, since]

    def kept(self) -> list[Any]:
        """What the next entry is to carry where nothing happened to it."""
        return self._carried(self.times, self.first_at, self.errors)

    def _carried(self, times: int, first_at: float | None, errors: int) -> list[Any]:
        if not self.deferrals:
            return [times, first_at, errors]
        return [times, first_at, errors, self.deferrals, self.deferred_at]


NO_FAILURES = Failures()


def take_failures(request: Request) -> Failures:
    """What *request* carries; nobody but us sees it. Foreign values count for nothing."""
    carried = request.meta.pop(META_FAILURES, None)
    if carried is None:
        return NO_FAILURES
    try:
        number, first_at, errors, *waits = carried
        deferrals, since = waits or (0, 0.0)
        failed_at = None if first_at is None else float(first_at)
        return Failures(int(number), failed_at, int(errors), max(0, int(deferrals)), float(since))
    except (TypeError, ValueError):
        return NO_FAILURES
