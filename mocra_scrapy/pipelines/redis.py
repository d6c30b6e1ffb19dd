"""``RedisPipeline``: entries of a stream or list, or fields of a hash.

A stream or list has an item twice where its page was fetched twice; its entries carry the item's
origin. A hash is keyed by ``MOCRA_REDIS_ITEMS_ID``: the same item is written over itself. Each is as
durable as the server's ``appendfsync`` makes it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mocra_scrapy.backends import redact_url
from mocra_scrapy.exceptions import BackendError, BackendUnavailable, ConfigurationError, ItemRefused, SinkUnavailable
from mocra_scrapy.pipelines.batch import BatchPipeline, Place
from mocra_scrapy.pipelines.sink import StoredItem
from mocra_scrapy.settings.pipelines import RedisItemsOptions, read_redis_items
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

    from mocra_scrapy.backends.redis.connection.client import RedisClient

WANTED = "MOCRA_REDIS_ITEMS_URL"
#: Bytes of a value, unless the server says otherwise; and what an item's origin adds.
LARGEST, ORIGIN = 512 * 2**20, 200
#: Kind -> a script. KEYS: the key; ARGV: how many entries are kept (0: all), and the items. A transaction with a
#: command for each item takes the client three times as long, and on a cluster redis-py starts a thread for each of them.
APPEND = {
    "stream": """
        for at = 2, #ARGV do
            if ARGV[1] == '0' then
                redis.call('XADD', KEYS[1], '*', 'item', ARGV[at])
            else
                redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'item', ARGV[at])
            end
        end
    """,
    "list": """
        for at = 2, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[at]) end
        if ARGV[1] ~= '0' then redis.call('LTRIM', KEYS[1], -tonumber(ARGV[1]), -1) end
    """,
}


class RedisPipeline(BatchPipeline):
    """Idempotent as a hash, at least once as a stream or list; see ``docs/guides/store-items``."""

    kind = "redis"

    @classmethod
    def make_sink(cls, settings: BaseSettings, place: Place) -> RedisSink:
        more = SettingsReader(settings).mapping("MOCRA_REDIS_OPTIONS")
        return RedisSink(read_redis_items(settings, place.crawl), more, place.field)


class RedisSink:
    """See :class:`~mocra_scrapy.pipelines.sink.Sink`. *more*: arguments of the client."""

    def __init__(self, options: RedisItemsOptions, more: dict[str, Any], field: str) -> None:
        self._options, self._field = options, field
        self.name = f"{options.kind} {options.key} of {redact_url(options.url)}"
        self._client = redis_client(options.url, more, options.key)
        self._largest = LARGEST

    async def open(self) -> None:
        async with self._errors():
            await self._client.raw.ping()
            found = (await self._client.raw.type(self._options.key)).decode()
            with contextlib.suppress(BackendError, ConfigurationError):  # many managed servers refuse CONFIG
                async with redis_errors(self._client, self._options.key, WANTED):
                    told = await self._client.raw.config_get("proto-max-bulk-len")
                    self._largest = int(next(iter(told.values()), LARGEST))
        if found not in ("none", self._options.kind):
            raise ConfigurationError(
                "MOCRA_REDIS_ITEMS_KEY",
                f"{self._options.key!r} is a {found} already, and MOCRA_REDIS_ITEMS_KIND is {self._options.kind!r}",
                "Name another key, or another kind",
            )

    async def write(self, batch: Sequence[StoredItem]) -> None:
        self._check(batch)
        # One command: all of it or nothing, and no other client's entries in between.
        options, raw, texts = self._options, self._client.raw, [item.with_origin(self._field) for item in batch]
        async with self._errors():
            if options.kind == "hash":
                await raw.hset(options.key, mapping=dict(zip(map(self._id, batch), texts, strict=True)))
            elif options.kind == "list" and not options.maxlen:
                await raw.rpush(options.key, *texts)
            else:
                await raw.eval(APPEND[options.kind], 1, options.key, options.maxlen or 0, *texts)

    async def close(self) -> None:
        await self._client.close()

    # ------------------------------------------------------------------ inside

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """What concerns all items alike, whatever they are, is no refusal of one."""
        key = self._options.key
        try:
            async with redis_errors(self._client, key, WANTED):
                yield
        except ItemRefused as error:
            if "WRONGTYPE" not in error.reason:
                raise
            raise ConfigurationError(
                "MOCRA_REDIS_ITEMS_KEY", f"somebody made {key!r} something else", f"Delete or rename {key}"
            ) from error
        except ConfigurationError as error:
            if not error.fix.startswith("Grant the user"):
                raise
            script = " +eval" if self._options.kind in APPEND else ""
            grant = f"Grant the user: ~{key} +@{self._options.kind} +@connection{script} +type"
            raise ConfigurationError(error.subject, error.problem, grant) from error

    def _id(self, item: StoredItem) -> str:
        """What it is known by: its one text, or all else as a JSON list. A text that looks like such a list is
        written as one, too: no two values have the same name.
        """
        values = [item.fields[name] for name in self._options.id]
        if not (len(values) == 1 and isinstance(values[0], str)):
            fields = json.loads(item.text)  # as JSON has them: dates, decimals
            values = [fields[name] for name in self._options.id]
        if len(values) == 1 and isinstance(values[0], str) and not values[0].startswith("["):
            return values[0]
        return json.dumps(values, sort_keys=True)

    def _check(self, batch: Sequence[StoredItem]) -> None:
        """What the server would close the connection for, or store under no name."""
        refused = {
            at: f"field {name!r} of MOCRA_REDIS_ITEMS_ID is missing or None"
            for at, item in enumerate(batch)
            for name in self._options.id
            if item.fields.get(name) is None
        }
        for at, item in enumerate(batch):
            if item.size + ORIGIN > self._largest:
                refused[at] = (
                    f"its {item.size} bytes are more than the server takes (proto-max-bulk-len {self._largest})"
                )
        if refused:
            raise ItemRefused(next(iter(refused.values())), refused)


def redis_client(url: str, more: Mapping[str, Any], prefix: str) -> RedisClient:
    """One that is not connected. *more*: arguments; *prefix*: of the keys, for messages.

    Raises:
        ConfigurationError: the URL is none, or redis-py is not installed.
    """
    try:
        from mocra_scrapy.backends.redis.connection.client import RedisClient
        from mocra_scrapy.backends.redis.connection.url import parse_url
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigurationError(
            "ITEM_PIPELINES", "RedisPipeline needs redis", 'pip install "mocra-scrapy[redis]"'
        ) from error
    return RedisClient(parse_url(url, more, redact_url(url)), prefix)


@asynccontextmanager
async def redis_errors(client: RedisClient, prefix: str, setting: str) -> AsyncIterator[None]:
    """Run calls of *client*; what they raise leaves in the words of sinks.

    Raises:
        SinkUnavailable: no answer, or "not now".
        ConfigurationError: no rights, a wrong password; names *setting*.
        ItemRefused: whatever else the server refused.
    """
    from mocra_scrapy.backends.redis.connection.errors import translated

    try:
        with translated(client.target.redacted, prefix):
            yield
    except BackendUnavailable as error:
        await client.close()
        raise SinkUnavailable(str(error)) from error
    except ConfigurationError as error:
        raise ConfigurationError(error.subject.replace("MOCRA_BACKEND", setting), error.problem, error.fix) from error
    except BackendError as error:
        raise ItemRefused(str(error)) from error
    except BaseException:
        await client.close()  # cancelled in the middle of an answer
        raise
