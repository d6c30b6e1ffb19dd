"""How each download ended, for those who count."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.runtime import Mocra

#: Called with the slot, the kind of failure (empty: none) and the seconds since the request was
#: sent.
Listener = Callable[[str, str, float], None]


class DownloadOutcomes:
    """A component of one crawler: a middleware posts, the breaker listens.

    Attributes:
        has_source: whether anybody posts.
        is_of_proxy: whether what came of a request says nothing of its site; ``None``: no proxy is
            of a pool.
    """

    def __init__(self, mocra: Mocra) -> None:
        self.has_source = False
        self.is_of_proxy: Callable[[Request], bool] | None = None
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call *listener* with each download that ended."""
        self._listeners.append(listener)

    def post(self, slot: str, kind: str, age: float) -> None:
        """A download of *slot* ended, *age* seconds after it was sent, with a failure of *kind* (of
        :mod:`mocra_scrapy.models.failure_kinds`) or, empty, well.
        """
        for listener in self._listeners:
            listener(slot, kind, age)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        self._listeners.clear()
