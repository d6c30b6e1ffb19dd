"""Records posted to a web address, signed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mocra_scrapy.events.envelope import SCHEMA
from mocra_scrapy.events.post import Poster
from mocra_scrapy.events.signature import signed

if TYPE_CHECKING:
    from mocra_scrapy.events.envelope import Record
    from mocra_scrapy.settings.events import SinkOptions


class WebhookSink:
    """One POST for each batch: ``{"schema": 1, "events": [...]}``. See
    :mod:`~mocra_scrapy.events.signature` and :mod:`~mocra_scrapy.events.post`.
    """

    linger = 0.5

    def __init__(self, options: SinkOptions, poster: Poster | None = None) -> None:
        assert options.url is not None
        self.timeout = options.timeout
        self._secret = options.secret
        self._poster = poster or Poster(options.url, private=options.private, headers=options.headers)
        self._last: tuple[int, str] = (0, "")

    async def send(self, records: Sequence[Record]) -> None:
        body = b'{"schema":%d,"events":[%s]}' % (SCHEMA, b",".join(record.encoded for record in records))
        headers = {"Mocra-Delivery": self._delivery(records)}
        if self._secret:
            headers |= signed(self._secret, body, time.time())  # anew for each attempt: it tells when it was made
        await self._poster.post(body, headers)

    def _delivery(self, records: Sequence[Record]) -> str:
        """The same for all attempts at one batch, so that a server sees a repetition."""
        first = records[0].number
        if self._last[0] != first:
            self._last = (first, secrets.token_hex(16))
        return self._last[1]

    async def close(self) -> None:
        """Nothing stays connected."""
