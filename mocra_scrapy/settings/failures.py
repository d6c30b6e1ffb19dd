"""The settings about failures: how long retries wait, what an error in a callback means, what
becomes a dead letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

ON_ERROR = ("ack", "retry", "dead")
YEAR = 366 * 86_400


@dataclass(frozen=True, slots=True)
class FailureOptions:
    """What :mod:`mocra_scrapy.settings.default_settings` documents, checked."""

    retry_base: float
    retry_cap: float
    retry_after_cap: float
    delay_max: float
    on_error: str
    dead_retries: bool
    max_deliveries: int
    callback_timeout: float | None
    callback_notice: float | None
    stop_grace: float | None
    defer_max: float
    stall_max: float
    stall_attempts: int
    stall_openings: int
    dead_body_max_bytes: int
    transactional: bool
    transactional_max: int


def read_failure_options(settings: BaseSettings) -> FailureOptions:
    """Raises ConfigurationError: names the first setting that is wrong, and the fix."""
    read = SettingsReader(settings)
    return FailureOptions(
        retry_base=read.number("MOCRA_RETRY_BASE", 0, YEAR, "a time in seconds"),
        retry_cap=read.number("MOCRA_RETRY_CAP", 0, YEAR, "a time in seconds"),
        retry_after_cap=read.number("MOCRA_RETRY_AFTER_CAP", 0, YEAR, "a time in seconds"),
        delay_max=read.number("MOCRA_DELAY_MAX", 0, 10 * YEAR, "a time in seconds"),
        on_error=read.choice("MOCRA_ON_ERROR", ON_ERROR),
        dead_retries=read.flag("MOCRA_DEAD_RETRIES"),
        max_deliveries=read.whole("MOCRA_MAX_DELIVERIES", 1, 200, "a number of hand-outs"),
        callback_timeout=None
        if read.value("MOCRA_CALLBACK_TIMEOUT") in (None, "", "None")
        else read.number("MOCRA_CALLBACK_TIMEOUT", 0, YEAR, "a time in seconds") or None,
        callback_notice=read.number("MOCRA_CALLBACK_NOTICE", 0, YEAR, "a time in seconds") or None,
        stop_grace=read.number("MOCRA_STOP_GRACE", 0, YEAR, "a time in seconds") or None,
        defer_max=read.number("MOCRA_DEFER_MAX", 0, YEAR, "a time in seconds"),
        stall_max=read.number("MOCRA_STALL_MAX", 0, YEAR, "a time in seconds"),
        stall_attempts=read.whole("MOCRA_STALL_ATTEMPTS", 1, 1_000_000, "a number of attempts"),
        stall_openings=read.whole("MOCRA_STALL_OPENINGS", 0, 1_000_000, "a number of openings"),
        dead_body_max_bytes=read.whole("MOCRA_DEAD_BODY_MAX_BYTES", 0, 64 * 2**20, "a size in bytes"),
        transactional=read.flag("MOCRA_TRANSACTIONAL"),
        transactional_max=read.whole("MOCRA_TRANSACTIONAL_MAX", 1, 10_000, "a number of requests and items"),
    )
