"""Records in a stream of Redis."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mocra_scrapy.backends import open_backend, redact_url
from mocra_scrapy.events.sink import Refused
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError, MocraError
from mocra_scrapy.interfaces import IEventStreams

if TYPE_CHECKING:
    from mocra_scrapy.events.envelope import Record
    from mocra_scrapy.settings.events import SinkOptions


class RedisStreamSink:
    """``XADD`` of ``event``, ``crawl`` and the record itself (``record``, JSON), a batch in one round
    trip. The stream is trimmed to about ``keep`` records.

    It has a connection of its own: it outlives the queue's, for the last records of a worker.

    Raises:
        ConfigurationError: the client library is missing, the URL is wrong, or its server has no
            streams.
    """

    linger = 0.1

    def __init__(self, options: SinkOptions, *, backend: str, prefix: str, redis_options: dict[str, object]) -> None:
        url = backend if options.url is None else options.url
        self.timeout = options.timeout
        setting = f"MOCRA_EVENTS[{options.name!r}]['url']"
        try:
            self._backend = open_backend(url, prefix=prefix, options=redis_options if options.url is None else None)
        except ConfigurationError as error:
            if options.url is None:
                raise
            raise type(error)(setting, error.problem, error.fix) from error
        if not IEventStreams.providedBy(self._backend):
            raise ConfigurationError(
                setting,
                f"{redact_url(url)!r} has no streams",
                "Write the URL of a Redis: redis://localhost:6379/0",
            )
        self._stream = self._backend.event_stream(options.stream or f"{prefix}:events", options.keep)

    async def send(self, records: Sequence[Record]) -> None:
        entries = [
            {"event": r.event.name.encode(), "crawl": (r.source.crawl or "").encode(), "record": r.encoded}
            for r in records
        ]
        try:
            await self._stream.append(entries)
        except BackendUnavailable:
            raise
        except MocraError as error:
            raise Refused(str(error)) from error

    async def close(self) -> None:
        with contextlib.suppress(MocraError):
            await self._backend.close()
