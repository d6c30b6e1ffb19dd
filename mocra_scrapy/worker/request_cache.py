"""An identity map: request objects of this process, by what was stored of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy import Request

#: Requests that are kept as objects until the queue hands them back, up to twice as many.
RECALLED = 1000
#: Bytes of their payloads, up to twice as many; the objects take some times that.
RECALLED_BYTES = 8 * 1024 * 1024


class RequestCache:
    """Request objects that this process made and stored not long ago, by what was stored.

    When the queue hands such a request back to the worker that made it, the object itself goes to
    the engine, as with Scrapy's own queue in memory: no decoding, and what Scrapy has worked out
    for it (parsed URL, fingerprint) is still there.

    Keeps *size* to twice *size* of them, and so many *bytes* of what was stored; 0: none.
    """

    def __init__(self, size: int, most_bytes: int = RECALLED_BYTES) -> None:
        self._size = size
        self._most_bytes = most_bytes
        self._bytes = 0  # of the new ones
        self._new: dict[bytes, Request] = {}
        self._old: dict[bytes, Request] = {}

    def add(self, body: bytes, request: Request) -> None:
        if len(self._new) >= self._size or self._bytes >= self._most_bytes:
            self._new, self._old, self._bytes = {}, self._new, 0
        if self._size:
            self._new[body] = request
            self._bytes += len(body)

    def take(self, body: bytes) -> Request | None:
        """The object; each is given out once."""
        return self._new.pop(body, None) or self._old.pop(body, None)
