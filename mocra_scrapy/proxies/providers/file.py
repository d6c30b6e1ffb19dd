"""A file with a proxy on each line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mocra_scrapy._tasks import in_a_thread
from mocra_scrapy.proxies.providers.lines import lines_of
from mocra_scrapy.proxies.providers.web import MOST
from mocra_scrapy.settings.proxies import ProviderOptions


class FileProvider:
    """``"file:PATH"``: ``IP:PORT``, ``IP:PORT:USER:PASSWORD`` or a URL on each line."""

    def __init__(self, options: ProviderOptions) -> None:
        self._path = Path(options.source).expanduser()

    async def proxies(self) -> Iterable[str]:
        return await in_a_thread(self._read, "mocra proxies file")

    def _read(self) -> list[str]:
        if self._path.stat().st_size > MOST:
            raise ValueError(f"{self._path} has more than {MOST >> 20} MiB")
        return lines_of(self._path.read_text("utf-8", errors="replace"))
