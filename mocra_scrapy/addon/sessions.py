"""Puts our middleware of cookies in the place of Scrapy's, where sessions are wanted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

from scrapy.utils.misc import load_object

from mocra_scrapy.settings.reader import touched

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

logger = logging.getLogger(__name__)

THEIRS = "scrapy.downloadermiddlewares.cookies.CookiesMiddleware"
OURS = "mocra_scrapy.downloadermiddlewares.cookies.CookiesMiddleware"
NAME = "DOWNLOADER_MIDDLEWARES"


def place_cookies(settings: BaseSettings) -> None:
    """A project that has its own in that place keeps it, with a warning.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    if not touched(settings, "MOCRA_SESSIONS", "MOCRA_SESSION_", "MOCRA_SECRET_KEY"):
        return  # without importing anything
    from mocra_scrapy.settings.proxies import read_proxies
    from mocra_scrapy.settings.sessions import read_sessions

    options = read_sessions(settings)
    if options is None:
        return
    bound = [name for name, pool in options.pools.items() if pool.proxy]
    if bound and read_proxies(settings) is None:
        logger.warning("MOCRA_SESSIONS[%r]['proxy'] has no effect: MOCRA_PROXIES is not set", bound[0])
    theirs, ours = load_object(THEIRS), load_object(OURS)
    placed = {load_object(key): order for key, order in settings.getdict(NAME).items()}
    if placed.get(ours) is not None:
        return
    if not settings.getbool("COOKIES_ENABLED"):
        logger.warning("MOCRA_SESSIONS has no effect: COOKIES_ENABLED is false")
    elif theirs in placed or not any(load_object(key) is theirs for key in settings.getdict(f"{NAME}_BASE")):
        logger.warning(
            "MOCRA_SESSIONS has no effect: the project places Scrapy's CookiesMiddleware itself. Take it out of %s, or"
            " write %r there",
            NAME,
            OURS,
        )
    else:
        settings.replace_in_component_priority_dict(f"{NAME}_BASE", theirs, cast("type", OURS))
