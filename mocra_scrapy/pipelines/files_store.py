"""Scrapy's store of files on disk, for several workers that write into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.pipelines.files import FSFilesStore

if TYPE_CHECKING:
    from os import PathLike


class SharedFilesStore(FSFilesStore):
    """``FSFilesStore``, but a directory that another process makes at the same moment is no error.

    Scrapy's looks whether a directory is there, and then makes it. Of workers that come there together
    one makes it, and the others fail: at the start with the store's own directory, so that they end;
    later with one inside, so that their file is lost. It is there by then, so a second try finds it.

    Raises:
        OSError: as ``FSFilesStore`` does; so also ``FileExistsError``, where a file is in the way.
    """

    def __init__(self, basedir: str | PathLike[str]) -> None:
        try:
            super().__init__(basedir)
        except FileExistsError:
            super().__init__(basedir)

    def persist_file(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().persist_file(*args, **kwargs)
        except FileExistsError:
            super().persist_file(*args, **kwargs)
