"""Where lines and rows go: Scrapy's storage of files, with another file object."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, cast

from scrapy.extensions import feedexport

from mocra_scrapy.feeds.component import Feeds
from mocra_scrapy.feeds.line_file import LineFile
from mocra_scrapy.feeds.plans import LINES
from mocra_scrapy.runtime import Mocra

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class FileFeedStorage(feedexport.FileFeedStorage):
    """Never empties a file that workers share: whoever begins the run has done so. A file of this
    worker's own (*kind* is ``None``) is Scrapy's; only its directory may be another worker's. It has
    Scrapy's name for the stats that are counted by it.
    """

    def __init__(self, uri: str, feeds: Feeds, kind: str | None, *, feed_options: dict[str, Any]) -> None:
        super().__init__(uri, feed_options=feed_options if kind is None else {**feed_options, "overwrite": False})
        self._feeds, self._own = feeds, kind is None
        self._lines = kind == LINES and "\n".encode(feed_options.get("encoding") or "utf-8") == b"\n"

    @classmethod
    def from_crawler(cls, crawler: Crawler, uri: str, *, feed_options: dict[str, Any] | None = None) -> Self:
        feeds = Mocra.from_crawler(crawler).component(Feeds)
        return cls(uri, feeds, feeds.kind_of(feed_options or {}), feed_options=feed_options or {})

    def open(self, spider: Spider) -> IO[bytes]:
        if self._own:
            try:
                return super().open(spider)
            except FileExistsError:  # the directory: one that started with this worker has just made it
                return super().open(spider)
        file = LineFile(self.path, lines=self._lines)
        self._feeds.opened(file)
        return cast("IO[bytes]", file)
