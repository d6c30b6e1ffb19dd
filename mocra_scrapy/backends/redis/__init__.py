"""Redis, Valkey and compatible servers: single, Sentinel, Cluster."""

from mocra_scrapy.backends.redis.backend import RedisBackend

__all__ = ["RedisBackend"]
