"""Proxies that stand in the settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mocra_scrapy.settings.proxies import ProviderOptions


class ListProvider:
    """``MOCRA_PROXIES = ["http://user:password@host:port", {"url": …, "tags": ["de"]}, …]``."""

    def __init__(self, options: ProviderOptions) -> None:
        source = options.source
        self._given = [source] if isinstance(source, (str, dict)) else list(source)

    async def proxies(self) -> Iterable[Any]:
        return self._given
