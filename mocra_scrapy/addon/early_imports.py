"""What Scrapy imports anyway, imported where that is cheap."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

HANDLER = "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler"
MODULE = "scrapy.core.downloader.contextfactory"
#: Seconds after which Scrapy may import it itself.
PATIENCE = 10.0


def import_contextfactory(settings: BaseSettings) -> None:
    """Import it in a thread, where the project downloads with Scrapy's own handler.

    Scrapy's ``create_deprecated_class`` asks for the source of each frame of the stack, and each time
    ``inspect`` goes through all modules that there are. The later in a start that is, and the more
    modules an add-on brings, the dearer: a seventh of the start of a worker. A thread's stack is short.
    """
    if MODULE in sys.modules or not settings.getbool("TWISTED_REACTOR_ENABLED", True):
        return
    handlers = settings.getwithbase("DOWNLOAD_HANDLERS")
    if HANDLER not in (handlers.get("https"), handlers.get("http")):
        return
    thread = Thread(target=_import, name="mocra imports", daemon=True)
    thread.start()
    # Without end it would wait for a module that this very thread is importing.
    thread.join(PATIENCE)


def _import() -> None:
    with suppress(Exception):  # Scrapy meets it again, and tells it
        import_module(MODULE)
