"""A web address with a proxy on each line."""

from __future__ import annotations

from collections.abc import Iterable

from mocra_scrapy.proxies.providers.lines import lines_of
from mocra_scrapy.proxies.providers.web import WebList
from mocra_scrapy.settings.proxies import ProviderOptions


class TextProvider:
    """``"text:https://provider/list"``: ``IP:PORT`` or ``IP:PORT:USER:PASSWORD`` on each line. Options:
    ``headers``, ``timeout`` (seconds).
    """

    def __init__(self, options: ProviderOptions) -> None:
        self._list = WebList(options)

    async def proxies(self) -> Iterable[str]:
        return lines_of((await self._list.read()).decode("utf-8", errors="replace"))
