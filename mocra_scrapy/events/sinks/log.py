"""Records as lines of the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mocra_scrapy.events.envelope import Record
    from mocra_scrapy.settings.events import SinkOptions

#: Its own, so that a project can send these lines elsewhere.
logger = logging.getLogger("mocra_scrapy.events")


class LogSink:
    """One line each: the record as JSON, which a shipper of logs can parse. The record is also an
    attribute of the ``LogRecord``: ``mocra_event``.
    """

    linger, timeout = 0.0, 10.0

    def __init__(self, options: SinkOptions) -> None:
        self._level = logging.getLevelName(options.level)

    async def send(self, records: Sequence[Record]) -> None:
        if logger.isEnabledFor(self._level):
            for record in records:
                logger.log(self._level, "%s", record.encoded.decode(), extra={"mocra_event": record.told()})

    async def close(self) -> None:
        """Nothing is connected."""
