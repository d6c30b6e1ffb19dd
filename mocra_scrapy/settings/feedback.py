"""The settings about what sites tell us: which statuses slow a slot down and how far, how long
``Retry-After`` and robots.txt count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import LONGEST
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

RATE_LIMIT_HEADERS = ("hold", "spread", "off")
STATUSES = "MOCRA_THROTTLE_FEEDBACK_STATUSES"


@dataclass(frozen=True, slots=True)
class FeedbackOptions:
    """What :mod:`mocra_scrapy.settings.default_settings` documents, checked.

    Attributes:
        cluster: whether slots are throttled by the cluster at all; if not, nothing here has an
            effect.
        statuses: answers that slow their slot down.
        floor, most, recovery, calm: see :meth:`mocra_scrapy.interfaces.IRateLimiter.slow_down`.
        retry_after: seconds that ``Retry-After`` is believed, at most.
        crawl_delay: seconds of robots.txt's ``Crawl-delay``, at most; 0: it is not looked at.
        rate_limit_headers: ``"hold"``, ``"spread"`` or ``"off"``.
        flush: seconds to tell what is left at the end.
    """

    cluster: bool
    statuses: frozenset[int]
    floor: float
    most: float
    recovery: float
    calm: float
    retry_after: float
    crawl_delay: float
    rate_limit_headers: str
    flush: float


def read_feedback(settings: BaseSettings) -> FeedbackOptions:
    """Raises ConfigurationError: names the first setting that is wrong, and the fix."""
    read = SettingsReader(settings)
    floor = read.number("MOCRA_THROTTLE_FEEDBACK_FLOOR", 0.001, 3600, "a time in seconds")
    delay = read.number("MOCRA_THROTTLE_CRAWL_DELAY_MAX", 0.001, LONGEST, "a time in seconds")
    return FeedbackOptions(
        cluster=read.choice("MOCRA_THROTTLE_SCOPE", ("cluster", "worker")) == "cluster",
        statuses=_statuses(read.value(STATUSES)),
        floor=floor,
        most=read.number("MOCRA_THROTTLE_FEEDBACK_MOST", floor, LONGEST, "a time in seconds"),
        recovery=read.number("MOCRA_THROTTLE_FEEDBACK_RECOVERY", 0.001, 0.99, "a part a minute"),
        calm=read.number("MOCRA_THROTTLE_FEEDBACK_CALM", 0, 86_400, "a time in seconds"),
        retry_after=read.number("MOCRA_RETRY_AFTER_CAP", 0, LONGEST, "a time in seconds"),
        crawl_delay=delay if read.flag("MOCRA_THROTTLE_CRAWL_DELAY") else 0.0,
        rate_limit_headers=read.choice("MOCRA_THROTTLE_RATE_LIMIT_HEADERS", RATE_LIMIT_HEADERS),
        flush=min(2.0, read.number("MOCRA_STOP_TIMEOUT", 0, 3600, "a time in seconds")),
    )


def _statuses(value: Any) -> frozenset[int]:
    """A list of numbers, or a text with commas."""
    if isinstance(value, str):
        value = [part for part in value.strip("[] ").split(",") if part.strip()]
    fix = "List statuses from 400 to 599; an empty list switches it off"
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise ConfigurationError(STATUSES, f"{value!r} is not a list", fix)
    found = set()
    for one in value:
        try:
            status = -1 if isinstance(one, (bool, float)) else int(one)
        except (TypeError, ValueError):
            status = -1
        if not 400 <= status <= 599:
            raise ConfigurationError(STATUSES, f"{one!r} is not the status of a failure", fix)
        found.add(status)
    return frozenset(found)
