"""``RedisBackend``: one server, Sentinel group or cluster, and the tools that work on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from zope.interface import implementer

from mocra_scrapy.backends.redis.connection.channels import Channels
from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.server_check import check_server
from mocra_scrapy.backends.redis.connection.url import parse_url
from mocra_scrapy.backends.redis.election import RedisElection
from mocra_scrapy.backends.redis.limiter import RedisRateLimiter
from mocra_scrapy.backends.redis.locks import RedisLocks
from mocra_scrapy.backends.redis.queue import RedisRequestQueue
from mocra_scrapy.backends.redis.shared import RedisShared
from mocra_scrapy.backends.redis.workers import RedisWorkers
from mocra_scrapy.interfaces import (
    IBackend,
    IEventStreams,
    IProxyPools,
)
from mocra_scrapy.interfaces.backend import CACHE_BOUNDS
from mocra_scrapy.models.backends import Abilities

if TYPE_CHECKING:
    from mocra_scrapy.backends.redis.seed_keys import RedisSeedPile, RedisSeedStream
    from mocra_scrapy.interfaces import (
        IBreaker,
        ICache,
        IElection,
        IEventStream,
        ILocks,
        IProxies,
        IRateLimiter,
        IRequestQueue,
        IShared,
        IStalls,
        IWorkers,
    )
    from mocra_scrapy.models import BreakerRules, CacheBounds, ProxyRules, QueueOptions, ServerReport, StallRules


@implementer(IBackend, IEventStreams, IProxyPools)
class RedisBackend:
    """See :class:`~mocra_scrapy.interfaces.IBackend`.

    Args:
        url: see ``docs/guides/redis``.
        prefix: what all keys and channels begin with.
        options: ``MOCRA_REDIS_OPTIONS``.
        redacted: the URL without secrets, for logs.
    """

    abilities = Abilities(events=True, window=True, shared=True, durable=True)
    shared, durable = abilities.shared, abilities.durable

    def __init__(self, url: str, *, prefix: str, options: Mapping[str, object], redacted: str) -> None:
        self.url = redacted
        self._prefix = prefix
        self._target = parse_url(url, options, redacted)
        self._client = RedisClient(self._target, prefix)
        self._channels = Channels(self._client)

    async def open(self, timeout: float = 15.0) -> ServerReport:
        """Connect within *timeout* seconds and look at the server."""
        await self._client.connect(timeout)
        return await check_server(self._client)

    def request_queue(self, crawl: str, options: QueueOptions) -> IRequestQueue:
        return RedisRequestQueue(self._client, self._prefix, crawl, options, self._target.shards)

    def rate_limiter(self, crawl: str, options: QueueOptions) -> IRateLimiter:
        return RedisRateLimiter(self._client, self._prefix, crawl, options, self._target.shards)

    def breaker(self, crawl: str, rules: BreakerRules, options: QueueOptions) -> IBreaker:
        from mocra_scrapy.backends.redis.breaker import RedisBreaker

        return RedisBreaker(self._client, self._prefix, crawl, options, self._target.shards, rules=rules)

    def stalls(self, crawl: str, rules: StallRules, options: QueueOptions) -> IStalls:
        from mocra_scrapy.backends.redis.stalls import RedisStalls

        return RedisStalls(self._client, self._prefix, crawl, options, self._target.shards, rules=rules)

    def election(self, role: str) -> IElection:
        return RedisElection(self._client, self._prefix, role)

    def locks(self) -> ILocks:
        return RedisLocks(self._client, self._prefix, self._channels)

    def shared_values(self, namespace: str) -> IShared:
        return RedisShared(self._client, self._prefix, namespace, self._channels)

    def cache(self, namespace: str, bounds: CacheBounds = CACHE_BOUNDS) -> ICache:
        from mocra_scrapy.backends.redis.cache import RedisCache

        return RedisCache(self._client, self._prefix, namespace, bounds, self._channels)

    def worker_registry(self) -> IWorkers:
        return RedisWorkers(self._client, self._prefix)

    def seed_pile(self, key: str, worker: str, lease: float) -> RedisSeedPile:
        """A list, set or sorted set of seeds. Of Redis alone: other backends have no keys that other programs fill."""
        from mocra_scrapy.backends.redis.seed_keys import RedisSeedPile

        return RedisSeedPile(self._client, key, worker, lease)

    def seed_stream(self, key: str) -> RedisSeedStream:
        """A stream of seeds."""
        from mocra_scrapy.backends.redis.seed_keys import RedisSeedStream

        return RedisSeedStream(self._client, key)

    def event_stream(self, name: str, keep: int) -> IEventStream:
        from mocra_scrapy.backends.redis.events import RedisEventStream

        return RedisEventStream(self._client, self._prefix, name, keep)

    def proxies(self, pool: str, rules: ProxyRules) -> IProxies:
        from mocra_scrapy.backends.redis.proxies import RedisProxies

        return RedisProxies(self._client, self._prefix, pool, rules)

    async def crawls(self) -> Sequence[str]:
        """By their records; a bounded number of keys at a time."""
        head, tail = f"{self._prefix}:{{", ":0}:crawl"
        names = await self._client.key_names(f"{head}*{tail}")
        return sorted(unquote(name.decode()[len(head) : -len(tail)]) for name in names)

    async def close(self) -> None:
        await self._channels.close()
        await self._client.close()
