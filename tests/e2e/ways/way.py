"""What the spiders of the table have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import scrapy
from scrapy import Request, Spider
from scrapy.http import Response

#: All of the table, by name.
WAYS: dict[str, type[Way]] = {}


class Way(Spider):
    """One row. Its name is that of the class, what it is about is its docstring.

    Attributes:
        settings_: beside those of all.
        differs: what is different from Scrapy by decision: a field of the result or a stat, and why.
        letters: dead letters that it leaves, by their reason.
    """

    name = "way"
    settings_: ClassVar[dict[str, Any]] = {}
    differs: ClassVar[dict[str, str]] = {}
    letters: ClassVar[dict[str, int]] = {}

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if not cls.__name__.startswith("_"):
            cls.name = cls.__name__
            WAYS[cls.__name__] = cls

    def __init__(self, site: str = "", **more: Any) -> None:
        super().__init__(**more)
        self.site = site

    def get(self, path: str, callback: Callable[..., Any] | None = None, **more: Any) -> Request:
        return scrapy.Request(self.site + path, callback, **more)

    def path(self, url: str) -> str:
        """*url* without what differs from run to run."""
        host, _, path = url.removeprefix("http://").partition("/")
        return f"/{path}" if self.site.endswith(host) else f"{host.partition(':')[0]}/{path}"

    def parse(self, response: Response, **more: Any) -> Iterator[Any]:
        yield {"page": self.path(response.url), **more}


class _OneSeed(Way):
    """Begins with one page, whose callback is what the row is about."""

    seed = "/ok/seed"

    async def start(self) -> Any:
        yield self.get(self.seed, self.seeded)

    def seeded(self, response: Response) -> Any:
        raise NotImplementedError
