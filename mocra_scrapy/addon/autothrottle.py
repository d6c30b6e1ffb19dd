"""Our AutoThrottle in the place of Scrapy's. What a project says about it stands."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from scrapy.utils.misc import load_object

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

logger = logging.getLogger(__name__)

# By name: the add-on's module is imported by every command.
SCRAPYS = "scrapy.extensions.throttle.AutoThrottle"
OURS = "mocra_scrapy.extensions.autothrottle.AutoThrottle"


def place_autothrottle(settings: BaseSettings) -> None:
    """Where delays hold for the cluster: a project's own subclass of Scrapy's stays, with a
    warning.
    """
    if not settings.getbool("AUTOTHROTTLE_ENABLED") or settings.get("MOCRA_THROTTLE_SCOPE") == "worker":
        return
    # Ours by its path, as Scrapy's own are: before 2.15 a class and its path count as two
    # components.
    theirs, ours = load_object(SCRAPYS), cast("type", OURS)
    with suppress(KeyError):  # a project has emptied it
        settings.replace_in_component_priority_dict("EXTENSIONS_BASE", theirs, ours)
    for key, at in settings.getdict("EXTENSIONS").items():
        cls = load_object(key)
        if cls is theirs and at is None:
            settings.setdefault_in_component_priority_dict("EXTENSIONS", ours, None)
        elif cls is theirs:
            settings.replace_in_component_priority_dict("EXTENSIONS", theirs, ours)
        elif at is not None and isinstance(cls, type) and issubclass(cls, theirs):
            settings.setdefault_in_component_priority_dict("EXTENSIONS", ours, None)
            logger.warning(
                "%s sets delays in each worker for itself, beside those of the cluster; take it out of EXTENSIONS to use the"
                ' cluster\'s AutoThrottle, or set MOCRA_THROTTLE_SCOPE = "worker"',
                cls.__qualname__,
            )
