"""The settings of what a crawl tells people: the summary, the progress line, the watchdog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What :mod:`mocra_scrapy.settings.default_settings` documents.

    Attributes:
        progress: ``None``: where the standard error is a terminal.
        watchdog: seconds; 0: none.
    """

    summary: bool
    progress: bool | None
    watchdog: float


def read_reports(settings: BaseSettings) -> ReportOptions:
    """The checked settings.

    Raises:
        ConfigurationError: names the first setting that is wrong, and the fix.
    """
    read = SettingsReader(settings)
    watchdog = read.number("MOCRA_LOOP_WATCHDOG", 0, 86_400, "a time in seconds")
    return ReportOptions(read.flag("MOCRA_SUMMARY"), _progress(read, settings), watchdog)


def _progress(read: SettingsReader, settings: BaseSettings) -> bool | None:
    value = read.value("MOCRA_PROGRESS")
    if value in (None, "", "None", "auto"):  # -s has only texts
        return None
    try:
        return bool(settings.getbool("MOCRA_PROGRESS"))
    except ValueError:
        raise ConfigurationError(
            "MOCRA_PROGRESS",
            f"{value!r} is neither true nor false",
            "Set True, False, or None for a progress line wherever there is a terminal",
        ) from None
