"""One connected client of any kind of Redis: scripts, wake-up messages, no blind retries."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.backends.redis.connection.calling import Calls
from mocra_scrapy.backends.redis.connection.diagnosis import diagnose
from mocra_scrapy.backends.redis.connection.errors import is_replica, translated
from mocra_scrapy.backends.redis.connection.scripts import Script
from mocra_scrapy.backends.redis.connection.url import RedisTarget
from mocra_scrapy.exceptions import BackendUnavailable

logger = logging.getLogger(__name__)

SOON = 1.0  # s after which a server that has not answered yet is waited for, and that is told
TIMEOUT = 5.0  # s to connect, and for an answer, unless the URL says otherwise


def _arguments(target: RedisTarget) -> dict[str, Any]:
    """Keyword arguments for redis-py. It repeats calls by itself unless told not to; ours decides
    that with call numbers.
    """
    arguments: dict[str, Any] = {
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "socket_keepalive": True,
        "client_name": "mocra_scrapy",
        "retry": Retry(NoBackoff(), 0),
        **target.arguments,
    }
    if target.tls:
        arguments["ssl"] = True
    return arguments


def make_client(target: RedisTarget) -> Any:
    """An unconnected client of redis-py for *target*."""
    arguments = _arguments(target)
    sentinel = {
        name.removeprefix("sentinel_"): arguments.pop(name) for name in list(arguments) if name.startswith("sentinel_")
    }
    if target.kind == "unix":
        return redis.asyncio.Redis(unix_socket_path=target.path, **arguments)
    if target.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in target.hosts]
        return redis.asyncio.RedisCluster(startup_nodes=nodes, **arguments)
    if target.kind == "sentinel":
        tls = {name: value for name, value in arguments.items() if name.startswith("ssl")}
        watchers: Any = Sentinel(  # type: ignore[no-untyped-call]
            list(target.hosts),
            sentinel_kwargs={"socket_timeout": 1.0, "socket_connect_timeout": 1.0, **tls, **sentinel},
        )
        return watchers.master_for(target.master, **arguments)
    host, port = target.hosts[0]
    return redis.asyncio.Redis(host=host, port=port, **arguments)


def make_listener(target: RedisTarget) -> Any:
    """A client for messages. Any node of a cluster passes them on; one that answers is taken."""
    if target.kind != "cluster":
        return make_client(target)
    host, port = random.choice(list(target.hosts))  # noqa: S311
    return redis.asyncio.Redis(host=host, port=port, **_arguments(target))


async def close_client(client: Any) -> None:
    """Close a client of redis-py and, which it doesn't do by itself, its connections to Sentinels."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for one in (client, *getattr(manager, "sentinels", ())):
        with contextlib.suppress(RedisError, OSError):
            await one.aclose()


class RedisClient:
    """The connections of one process to one server, Sentinel group or cluster."""

    def __init__(self, target: RedisTarget, prefix: str) -> None:
        self.target = target
        self.prefix = prefix
        self._client: Any = None
        self._calls = Calls(target)

    @property
    def raw(self) -> Any:
        """redis-py's client. Made when first used: the asynchronous one belongs to the running
        loop.
        """
        if self._client is None:
            self._client = make_client(self.target)
        return self._client

    async def connect(self, timeout: float) -> None:
        """Wait until the server answers.

        Raises:
            BackendUnavailable: it did not within *timeout* seconds.
            ConfigurationError: it did, and refuses us.
        """
        began = time.monotonic()
        deadline, waits = began + timeout, False
        while True:
            attempt = asyncio.ensure_future(self._ping())
            try:
                if not waits:
                    await asyncio.wait({attempt}, timeout=min(SOON, timeout))
                    waits = await self._is_to_wait(attempt, timeout)
                await attempt
            except BackendUnavailable as error:
                if time.monotonic() >= deadline:
                    raise BackendUnavailable(
                        f"{str(error).rstrip('.')}. Nobody answered within MOCRA_START_TIMEOUT = {timeout:g} s: is the server running, "
                        "is MOCRA_BACKEND right?"
                    ) from error
                await self.close()
                await asyncio.sleep(min(0.2 + random.random() / 5, max(0.0, deadline - time.monotonic())))  # noqa: S311
            else:
                if waits:
                    logger.info("%s answers after %.1f s", self.target.redacted, time.monotonic() - began)
                return
            finally:
                await end_tasks([attempt])

    async def _ping(self) -> None:
        with translated(self.target.redacted, self.prefix):
            await self.raw.ping()

    async def _is_to_wait(self, attempt: asyncio.Future[None], timeout: float) -> bool:
        """Whether the first attempt failed, or takes long, and another one may do better. Says so at
        once: the time until somebody gives up would else be silent.
        """
        error = attempt.exception() if attempt.done() else None
        if attempt.done() and not isinstance(error, BackendUnavailable):
            return False
        refused = await diagnose(self.target, error)
        if refused is not None:
            raise refused from error
        reason = "no answer yet" if error is None else str(error).removeprefix(f"{self.target.redacted}: ")
        logger.warning(
            "Waiting for %s, up to %g s (MOCRA_START_TIMEOUT): %s", self.target.redacted, timeout, reason.rstrip(".")
        )
        return True

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script once: where the server does not know it (a restart, a fail-over), it did not run, so then its
        text is sent.
        """
        with translated(self.target.redacted, self.prefix):
            try:
                return await self._calls.run(self.raw, script, keys, args)
            except ResponseError as error:
                if is_replica(error):
                    await self._reconnect()
                raise

    async def _reconnect(self) -> None:
        """The server has become a replica. Behind one address (a proxy, a name, a virtual IP) there
        may be another master now, which only a new connection finds.
        """
        pool = getattr(self._client, "connection_pool", None)
        if pool is not None:  # a cluster's client looks for the master by itself
            await pool.disconnect(inuse_connections=False)  # those in use hear it by themselves

    async def info(self) -> list[dict[str, Any]]:
        """``INFO`` of each primary node."""
        with translated(self.target.redacted, self.prefix):
            if self.target.kind != "cluster":
                return [await self.raw.info("all")]
            answers = await self.raw.info("all", target_nodes=redis.asyncio.RedisCluster.PRIMARIES)
            return list(answers.values()) if "redis_version" not in answers else [answers]

    async def key_names(self, pattern: str) -> list[bytes]:
        """The keys that match, on all nodes, each once; a bounded number at a time."""
        with translated(self.target.redacted, self.prefix):
            return list({name: None async for name in self.raw.scan_iter(match=pattern, count=500)})

    async def names_in_parts(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """The keys that match, on all nodes, 500 at a time; some may come twice."""
        with translated(self.target.redacted, self.prefix):
            names: list[bytes] = []
            async for name in self.raw.scan_iter(match=pattern, count=500):
                names.append(name)
                if len(names) >= 500:
                    yield names
                    names = []
            yield names

    async def delete(self, names: Sequence[bytes]) -> None:
        """Delete these keys, wherever they are."""
        with translated(self.target.redacted, self.prefix):
            if self.target.kind == "cluster":
                for name in names:
                    await self.raw.unlink(name)
            elif names:
                await self.raw.unlink(*names)

    async def subscribe(self, channel: str) -> Subscriber:
        """Messages of *channel*, on a connection of its own."""
        return Subscriber(self, channel)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await close_client(client)


class Subscriber:
    """Iterates over the messages of one channel for ever; after each (re)connection it gives
    ``b"*"``: something may have been missed.
    """

    def __init__(self, client: RedisClient, channel: str) -> None:
        self._target = client.target
        self._channel = channel

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pause = 0.1
        while True:
            client, pubsub = None, None
            try:
                client = self._client()
                pubsub = client.pubsub(ignore_subscribe_messages=True)
                await pubsub.subscribe(self._channel)
                yield b"*"
                pause = 0.1
                while True:
                    message = await pubsub.get_message(timeout=20)
                    if message is not None and isinstance(message.get("data"), bytes):
                        yield message["data"]
            except (RedisError, OSError, asyncio.TimeoutError):
                # Lost messages are made up for by polling: this never fails, it only tries again,
                # less and less often.
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
                pause = min(2 * pause, 5.0)
            finally:
                if pubsub is not None:
                    with contextlib.suppress(RedisError, OSError):
                        await pubsub.aclose()
                if client is not None:
                    await close_client(client)

    def _client(self) -> Any:
        return make_listener(self._target)

    async def close(self) -> None:
        """Nothing is held between two messages but what the iteration itself closes."""
