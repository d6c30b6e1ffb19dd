"""``RedisBackend``: one server, Sentinel group or cluster, and the tools that work on it."""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import implementer

from mocra_scrapy.backends.redis.check import check_server
from mocra_scrapy.backends.redis.client import RedisClient
from mocra_scrapy.backends.redis.limiter import RedisRateLimiter
from mocra_scrapy.backends.redis.queue import RedisRequestQueue
from mocra_scrapy.backends.redis.url import parse_url
from mocra_scrapy.interfaces import IBackend, IRateLimiter, IRequestQueue
from mocra_scrapy.models import QueueOptions, ServerReport


@implementer(IBackend)
class RedisBackend:
    """See :class:`~mocra_scrapy.interfaces.IBackend`.

    Args:
        url: see ``docs/guides/redis``.
        prefix: what all keys and channels begin with.
        options: ``MOCRA_REDIS_OPTIONS``.
        redacted: the URL without secrets, for logs.
    """

    shared = True
    durable = True

    def __init__(self, url: str, *, prefix: str, options: Mapping[str, object], redacted: str) -> None:
        self.url = redacted
        self._prefix = prefix
        self._target = parse_url(url, options, redacted)
        self._client = RedisClient(self._target, prefix)

    async def open(self, timeout: float = 15.0) -> ServerReport:
        """Connect within *timeout* seconds and look at the server."""
        await self._client.connect(timeout)
        return await check_server(self._client)

    def request_queue(self, crawl: str, options: QueueOptions) -> IRequestQueue:
        return RedisRequestQueue(self._client, self._prefix, crawl, options, self._target.shards)

    def rate_limiter(self, crawl: str, options: QueueOptions) -> IRateLimiter:
        return RedisRateLimiter(self._client, self._prefix, crawl, options, self._target.shards)

    async def close(self) -> None:
        await self._client.close()
