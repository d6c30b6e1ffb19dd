"""Where the add-on puts the components of throttling. What a project says about one of them stands."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from scrapy.extensions.throttle import AutoThrottle as ScrapysAutoThrottle
from scrapy.utils.misc import load_object

from mocra_scrapy._breaker_options import read_breaker
from mocra_scrapy._feedback_options import read_feedback
from mocra_scrapy.downloadermiddlewares.feedback import FeedbackMiddleware
from mocra_scrapy.extensions.autothrottle import AutoThrottle
from mocra_scrapy.extensions.breaker import BreakerExtension

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

logger = logging.getLogger(__name__)

#: Next to the downloader: whatever another middleware makes of an answer, it was seen before.
CLOSEST = 1000


def place_throttling(settings: BaseSettings) -> None:
    """Add the feedback middleware and the breaker, and put our AutoThrottle in the place of Scrapy's.

    Raises:
        ConfigurationError: a setting of theirs is wrong.
    """
    feedback, breaker = read_feedback(settings), read_breaker(settings)
    settings.setdefault_in_component_priority_dict("DOWNLOADER_MIDDLEWARES", FeedbackMiddleware, CLOSEST)
    if breaker is not None:
        settings.setdefault_in_component_priority_dict("EXTENSIONS", BreakerExtension, 0)
    if not feedback.cluster:
        return
    _place_autothrottle(settings)


def _place_autothrottle(settings: BaseSettings) -> None:
    """Ours for Scrapy's, wherever that stands; a project's own subclass of Scrapy's stays."""
    with suppress(KeyError):  # a project has emptied it
        settings.replace_in_component_priority_dict("EXTENSIONS_BASE", ScrapysAutoThrottle, AutoThrottle)
    for key, at in settings.getdict("EXTENSIONS").items():
        cls = load_object(key)
        if cls is ScrapysAutoThrottle:
            with suppress(KeyError):  # it is switched off
                settings.replace_in_component_priority_dict("EXTENSIONS", ScrapysAutoThrottle, AutoThrottle)
            if at is None:
                settings.setdefault_in_component_priority_dict("EXTENSIONS", AutoThrottle, None)
        elif at is not None and isinstance(cls, type) and issubclass(cls, ScrapysAutoThrottle):
            settings.setdefault_in_component_priority_dict("EXTENSIONS", AutoThrottle, None)
            if settings.getbool("AUTOTHROTTLE_ENABLED"):
                logger.warning(
                    "%s sets delays in each worker for itself, beside those of the cluster; take it out of EXTENSIONS to use the"
                    ' cluster\'s AutoThrottle, or set MOCRA_THROTTLE_SCOPE = "worker"',
                    cls.__qualname__,
                )
