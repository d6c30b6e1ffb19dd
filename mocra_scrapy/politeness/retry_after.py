"""``Retry-After`` of a response, in seconds from now. Pure: no clock, no settings, no Scrapy."""

from __future__ import annotations

import re
from datetime import timezone
from email.utils import parsedate_to_datetime

#: Longer values are nobody's: neither number nor date needs so many characters.
LONGEST = 64

_SECONDS = re.compile(r"\d+(?:\.\d*)?", re.ASCII)


def retry_after(value: bytes | str | None, now: float, cap: float) -> float | None:
    """How long a server asks to be left alone, from 0 to *cap* seconds; ``None``: it does not say,
    or nothing that can be understood.

    ==========================================  =======================================
    value                                       answer
    ==========================================  =======================================
    a number of seconds, ``120``, ``1.5``       so many, *cap* at most
    an HTTP date, in any of its three forms     until then, *cap* at most
    a date in the past                          0
    a date or number a thousand years ahead     *cap*
    anything else, a negative number included   ``None``: the caller's own back-off holds
    ==========================================  =======================================

    Args:
        value: the header's value, as Scrapy's ``response.headers.get("Retry-After")`` gives it.
        now: seconds since the epoch.
        cap: seconds, 0 or more.
    """
    if value is None:
        return None
    text = (value.decode("latin-1") if isinstance(value, bytes) else value).strip()
    if not text or len(text) > LONGEST:
        return None
    seconds = float(text) if _SECONDS.fullmatch(text) else _until(text, now)
    return None if seconds is None else min(max(seconds, 0.0), cap)


def _until(text: str, now: float) -> float | None:
    """Seconds until an HTTP date; one without a zone is in UTC, as the standard has it."""
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=timezone.utc)
        return date.timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
