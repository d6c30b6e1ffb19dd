"""Where records go: a file for each kind of sink. :func:`open_sink` is the one place where a
setting becomes a class; nothing of a kind is imported before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mocra_scrapy.events.sink import Sink
    from mocra_scrapy.settings.events import SinkOptions


def open_sink(
    options: SinkOptions, *, backend: str, prefix: str, redis_options: dict[str, object], kafka: Mapping[str, Any]
) -> Sink:
    """The sink that *options* mean, not connected yet.

    Args:
        backend, prefix, redis_options: ``MOCRA_BACKEND``, ``MOCRA_KEY_PREFIX`` and
            ``MOCRA_REDIS_OPTIONS``, for a sink that has no server of its own.
        kafka: ``MOCRA_KAFKA_OPTIONS``.

    Raises:
        ConfigurationError: a client library is missing, or a URL is wrong.
    """
    if options.kind == "log":
        from mocra_scrapy.events.sinks.log import LogSink

        return LogSink(options)
    if options.kind == "redis":
        from mocra_scrapy.events.sinks.redis_stream import RedisStreamSink

        return RedisStreamSink(options, backend=backend, prefix=prefix, redis_options=redis_options)
    if options.kind == "kafka":
        from mocra_scrapy.events.sinks.kafka import KafkaSink

        return KafkaSink(options, kafka)
    from mocra_scrapy.events.sinks.webhook import WebhookSink

    return WebhookSink(options)
