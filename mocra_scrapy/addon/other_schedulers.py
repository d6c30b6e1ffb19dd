"""What a project's own ``SCHEDULER`` means for the add-on: scrapy-redis is replaced, any other one
keeps its place and the add-on steps back whole.

Half an add-on is worse than none: our retry middleware counts on a queue that lets retries wait.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from scrapy.settings import SETTINGS_PRIORITIES
from scrapy.utils.misc import load_object

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

logger = logging.getLogger(__name__)

OURS = {
    "SCHEDULER": "mocra_scrapy.scheduler.Scheduler",
    "DUPEFILTER_CLASS": "mocra_scrapy.dupefilters.RecentDupeFilter",
}
REPLACED = "scrapy_redis."
#: What scrapy-redis reads and nobody else does.
UNUSED = ("SCHEDULER_QUEUE_CLASS", "SCHEDULER_DUPEFILTER_CLASS")


def _path(value: Any) -> str:
    return value if isinstance(value, str) else f"{value.__module__}.{value.__qualname__}"


def line(settings: BaseSettings, name: str) -> str:
    """The line that sets *name*, and where to look for it."""
    value, priority = _path(settings.get(name)), settings.getpriority(name) or 0
    if priority >= SETTINGS_PRIORITIES["cmdline"]:
        return f"-s {name}={value} on the command line"
    where = "the spider's custom_settings" if priority >= SETTINGS_PRIORITIES["spider"] else "the project's settings"
    return f'{name} = "{value}" in {where}'


def _is_set(settings: BaseSettings, name: str) -> bool:
    return (settings.getpriority(name) or 0) > SETTINGS_PRIORITIES["addon"] and settings.get(name) is not None


def other_scheduler(settings: BaseSettings) -> str | None:
    """Why the add-on must step back; ``None``: the scheduler is ours, or will be."""
    if not _is_set(settings, "SCHEDULER") or _path(settings.get("SCHEDULER")).startswith(REPLACED):
        return None
    try:
        # Not by issubclass(): for Scrapy every class with a scheduler's methods is a subclass of one.
        if load_object(OURS["SCHEDULER"]) in load_object(settings.get("SCHEDULER")).__mro__:
            return None
    except (ImportError, NameError, ValueError, TypeError, AttributeError):
        pass  # Scrapy says that better, in a moment
    return (
        f"another scheduler is set: {line(settings, 'SCHEDULER')}. Nothing of the add-on is active. Delete that line to"
        " use it, or set MOCRA_ENABLED = False to keep the other one without this warning"
    )


def replace_scrapy_redis(settings: BaseSettings) -> None:
    """Put ours in place of the components of scrapy-redis, with a line of the log for each."""
    for name, ours in OURS.items():
        if _is_set(settings, name) and _path(settings.get(name)).startswith(REPLACED):
            logger.warning("%s is replaced by %s. Delete that line", line(settings, name), ours)
            settings.set(name, ours, settings.getpriority(name) or "project")
    for name in UNUSED:
        if _is_set(settings, name) and _path(settings.get(name)).startswith(REPLACED):
            logger.warning("%s has no effect with mocra_scrapy. Delete that line", line(settings, name))
