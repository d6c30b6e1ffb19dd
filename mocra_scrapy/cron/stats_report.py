"""``RunReport``: writes a crawl's stats into a file when the engine has stopped. Loaded into the
crawls that the cron runner starts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from scrapy import signals

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class RunReport:
    """The file is whole or not there. Values that JSON has no form for become texts.

    Attributes:
        path: where to write; one for the process, which makes one crawl.
    """

    path = ""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        crawler.signals.connect(self.write, signals.engine_stopped)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def write(self) -> None:
        assert self._crawler.stats is not None
        path = Path(self.path)
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(self._crawler.stats.get_stats(), default=str, indent=1), encoding="utf-8")
        beside.replace(path)
