"""Places our HTTP cache, where the project names our policy or our storage, or has pools of sessions; else it is not
even imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from scrapy.utils.misc import load_object

from mocra_scrapy.settings.reader import touched

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

THEIRS = "scrapy.downloadermiddlewares.httpcache.HttpCacheMiddleware"
OURS = "mocra_scrapy.downloadermiddlewares.httpcache.HttpCacheMiddleware"


def place_httpcache(settings: BaseSettings) -> None:
    """Put ours in place of Scrapy's, also where the project has moved that one to.

    Raises:
        ConfigurationError: a ``MOCRA_HTTPCACHE_*`` setting is wrong.
    """
    if not settings.getbool("HTTPCACHE_ENABLED") and not touched(settings, "MOCRA_HTTPCACHE_"):
        return
    from mocra_scrapy.settings.httpcache import names_ours, read_httpcache

    read_httpcache(settings)
    if not settings.getbool("HTTPCACHE_ENABLED") or not (names_ours(settings) or _has_pools(settings)):
        return
    theirs = load_object(THEIRS)
    for name in ("DOWNLOADER_MIDDLEWARES", "DOWNLOADER_MIDDLEWARES_BASE"):
        placed = [order for key, order in settings.getdict(name).items() if _loaded(key) is theirs]
        if any(order is not None for order in placed):
            # By its path, as Scrapy's own are: before 2.15 a class and its path count as two components.
            settings.replace_in_component_priority_dict(name, theirs, cast("type", OURS))


def _has_pools(settings: BaseSettings) -> bool:
    """Scrapy's own would keep the pages that say that a session is over, and answer retries with them."""
    if not touched(settings, "MOCRA_SESSIONS"):
        return False
    from mocra_scrapy.settings.sessions import read_sessions

    options = read_sessions(settings)
    return options is not None and bool(options.pools)


def _loaded(key: Any) -> Any:
    try:
        return load_object(key)
    except (ImportError, NameError, ValueError, TypeError):
        return None  # Scrapy says that better, in a moment
