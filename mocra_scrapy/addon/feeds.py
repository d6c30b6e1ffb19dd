"""Places our exporter of feeds, where several workers or a crash could spoil what Scrapy's writes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from scrapy.utils.misc import load_object

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

logger = logging.getLogger(__name__)

THEIRS = "scrapy.extensions.feedexport.FeedExporter"
OURS = "mocra_scrapy.extensions.feedexport.FeedExporter"


def place_feed_exporter(settings: BaseSettings, *, outlives: bool) -> None:
    """Put ours in place of Scrapy's, if a feed's URI has ``%(mocra_worker)s`` or the backend
    *outlives* this process: then also without feeds, as a spider's ``from_crawler`` may set some.
    A project that has its own exporter, or has placed Scrapy's itself, keeps it, with a warning.

    Raises:
        ConfigurationError: a feed can't be written by several workers.
    """
    feeds: dict[str, Any] = {}
    named_by_worker = False
    if settings.get("FEEDS") or settings.get("FEED_URI"):  # else without importing anything
        from mocra_scrapy.feeds.plans import WORKER, feeds_of

        feeds = feeds_of(settings)
        named_by_worker = any(WORKER[:-1] in uri for uri in feeds)
    if not (outlives or named_by_worker):
        return
    Theirs, ours = load_object(THEIRS), load_object(OURS)  # noqa: N806
    placed = [(_loaded(key), order) for key, order in settings.getdict("EXTENSIONS").items()]
    exporters = [(cls, order) for cls, order in placed if isinstance(cls, type) and issubclass(cls, Theirs)]
    enabled = [cls for cls, order in exporters if order is not None]
    for cls in enabled:
        if outlives and feeds and not issubclass(cls, ours):
            logger.warning(
                "%s writes the feeds: with several workers, or one that is killed, items are lost or overwritten. Take"
                " it out of EXTENSIONS, or make it a subclass of %s",
                f"{cls.__module__}.{cls.__qualname__}",
                OURS,
            )
    if not exporters:
        base = settings.getdict("EXTENSIONS_BASE")
        if not any(_loaded(key) is Theirs for key in base):
            return  # emptied by the project
        settings.replace_in_component_priority_dict("EXTENSIONS_BASE", Theirs, cast("type", OURS))
    elif not any(issubclass(cls, ours) for cls in enabled):
        return
    if outlives and feeds:
        from mocra_scrapy.feeds.plans import check_feeds

        check_feeds(settings)


def _loaded(key: Any) -> Any:
    try:
        return load_object(key)
    except (ImportError, NameError, ValueError, TypeError):
        return None  # Scrapy says that better, in a moment
