"""Directories that all workers of a machine make when they start: it must not matter that another one
makes them at the same moment.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from scrapy.utils.misc import load_object

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings


def make_jobdir(settings: BaseSettings) -> None:
    """Make ``JOBDIR``, which Scrapy makes only after it has looked whether it is there: the slower one
    of two workers fails then. If it can't be made, Scrapy says so in a moment.
    """
    if settings.get("JOBDIR"):
        with suppress(OSError):
            Path(settings["JOBDIR"]).mkdir(parents=True, exist_ok=True)


def place_files_store(settings: BaseSettings) -> None:
    """Let the project's media pipelines write through
    :class:`~mocra_scrapy.pipelines.files_store.SharedFilesStore` where they would through Scrapy's
    ``FSFilesStore``. A store of the project's own stays.
    """
    pipelines = [_loaded(key) for key, order in settings.getwithbase("ITEM_PIPELINES").items() if order is not None]
    if "scrapy.pipelines.files" not in sys.modules:
        return  # so none of them is one for media
    from scrapy.pipelines.files import FilesPipeline, FSFilesStore

    from mocra_scrapy.pipelines.files_store import SharedFilesStore

    for pipeline in pipelines:
        if isinstance(pipeline, type) and issubclass(pipeline, FilesPipeline):
            # A class attribute, the only place that Scrapy has for it: FilesPipeline's own, but for a
            # subclass that has one.
            schemes = pipeline.STORE_SCHEMES
            schemes.update({name: SharedFilesStore for name, store in schemes.items() if store is FSFilesStore})


def _loaded(key: object) -> object:
    try:
        return load_object(key)  # type: ignore[arg-type]
    except Exception:
        return None  # Scrapy meets it again, and tells it
