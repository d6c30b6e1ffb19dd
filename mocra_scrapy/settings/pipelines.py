"""The settings of our item pipelines: batches, the spill file, and each sink."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.backends import read_backends
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

DAY, TERA = 86_400, 2**40
UNIQUE_OVER = ("run", "crawl")
COMPRESSIONS, REDIS_KINDS = ("none", "zstd"), ("stream", "list", "hash")


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What :mod:`mocra_scrapy.settings.default_settings` documents, checked.

    Attributes:
        items, size: of a batch, at most; *size* in bytes.
        wait, timeout, retry_base, retry_cap, close: seconds.
    """

    items: int = 500
    size: int = 1_048_576
    wait: float = 0.2
    timeout: float = 30.0
    retry_base: float = 0.5
    retry_cap: float = 15.0
    close: float = 8.0


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What all sinks share.

    Attributes:
        start_timeout: seconds that a sink is waited for at the start.
        spill: the folder; ``None``: items are never spilled.
        spill_max: bytes of all its files.
        field: of a stored item, for its origin; empty: none.
    """

    batch: BatchOptions
    start_timeout: float
    spill: Path | None
    spill_max: int
    field: str


def read_batch_options(settings: BaseSettings) -> BatchOptions:
    """Raises ConfigurationError: names the first setting that is wrong, and the fix."""
    read = SettingsReader(settings)
    return BatchOptions(
        items=read.whole("MOCRA_BATCH_ITEMS", 1, 100_000, "a number of items"),
        size=read.whole("MOCRA_BATCH_BYTES", 1, 2**30, "a size in bytes"),
        wait=read.number("MOCRA_BATCH_WAIT", 0, 3600, "a time in seconds"),
        timeout=read.number("MOCRA_BATCH_TIMEOUT", 0.1, DAY, "a time in seconds"),
        retry_base=read.number("MOCRA_BATCH_RETRY_BASE", 0.01, DAY, "a time in seconds"),
        retry_cap=read.number("MOCRA_BATCH_RETRY_CAP", 0.01, DAY, "a time in seconds"),
        close=read.number("MOCRA_BATCH_CLOSE", 0.1, DAY, "a time in seconds"),
    )


def read_store_options(settings: BaseSettings) -> StoreOptions:
    """The same, for a project that has one of these pipelines."""
    read, batch = SettingsReader(settings), read_batch_options(settings)
    grace = read.number("MOCRA_STOP_GRACE", 0, 366 * DAY, "a time in seconds")
    if grace and batch.close >= grace:
        raise ConfigurationError(
            "MOCRA_BATCH_CLOSE",
            f"{batch.close:g} s is not below MOCRA_STOP_GRACE = {grace:g} s, after which a closing worker waits for no page",
            "Make it smaller, or MOCRA_STOP_GRACE larger",
        )
    folder, field = read.value("MOCRA_SPILL_DIR"), read.value("MOCRA_ITEM_FIELD")
    for name, value in (("MOCRA_SPILL_DIR", folder), ("MOCRA_ITEM_FIELD", field)):
        if not isinstance(value, (str, Path)):
            raise ConfigurationError(name, f"{value!r} is no text", "Set a name, or an empty text for none")
    return StoreOptions(
        batch,
        start_timeout=read.number("MOCRA_START_TIMEOUT", 0, DAY, "a time in seconds"),
        spill=Path(folder) if folder else None,
        spill_max=read.whole("MOCRA_SPILL_MAX_BYTES", 0, TERA, "a size in bytes"),
        field=str(field),
    )


@dataclass(frozen=True, slots=True)
class UniqueOptions:
    """Of ``DeduplicatePipeline``: *over* a run or the crawl; *ttl* in seconds."""

    fields: tuple[str, ...]
    over: str
    ttl: float


def read_unique(settings: BaseSettings) -> UniqueOptions:
    """Raises ConfigurationError."""
    read = SettingsReader(settings)
    fields = tuple(read.texts("MOCRA_UNIQUE_ITEMS", "fields"))
    if not fields:
        raise ConfigurationError(
            "MOCRA_UNIQUE_ITEMS",
            "DeduplicatePipeline needs the fields by which an item is known",
            'Set it, as ["url"]',
        )
    return UniqueOptions(
        fields,
        over=read.choice("MOCRA_UNIQUE_OVER", UNIQUE_OVER),
        ttl=read.number("MOCRA_UNIQUE_TTL", 1, 10 * 366 * DAY, "a time in seconds"),
    )


@dataclass(frozen=True, slots=True)
class JsonLinesOptions:
    """Of ``JsonLinesPipeline``: *rotate_bytes* and *rotate_seconds* of a file; ``None``: no limit."""

    folder: Path
    rotate_bytes: int | None
    rotate_seconds: float | None
    zstd: bool


def read_jsonlines(settings: BaseSettings) -> JsonLinesOptions:
    """Raises ConfigurationError."""
    read = SettingsReader(settings)
    return JsonLinesOptions(
        folder=Path(read.text("MOCRA_JSONLINES_DIR", "a folder")),
        rotate_bytes=read.whole("MOCRA_JSONLINES_ROTATE_BYTES", 0, TERA, "a size in bytes") or None,
        rotate_seconds=read.number("MOCRA_JSONLINES_ROTATE_SECONDS", 0, 366 * DAY, "a time in seconds") or None,
        zstd=read.choice("MOCRA_JSONLINES_COMPRESSION", COMPRESSIONS) == "zstd",
    )


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """Of ``PostgresPipeline``. *url* may hold a password: it is never shown."""

    url: str
    table: str
    key: tuple[str, ...]
    columns: Mapping[str, str]
    rest: str | None


def read_postgres(settings: BaseSettings) -> PostgresOptions:
    """Raises ConfigurationError."""
    read = SettingsReader(settings)
    for name, example in (("MOCRA_POSTGRES_URL", "postgresql://user@host/database"), ("MOCRA_POSTGRES_TABLE", "items")):
        if read.value(name) in (None, ""):
            raise ConfigurationError(name, "PostgresPipeline needs it", f'Set {name} = "{example}"')
    url = read.text("MOCRA_POSTGRES_URL", "a URL")
    if not url.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError(
            "MOCRA_POSTGRES_URL", "it is no URL of PostgreSQL", "Write postgresql://user:password@host:5432/database"
        )
    columns = read.mapping("MOCRA_POSTGRES_COLUMNS")
    for name, kind in columns.items():
        if not isinstance(kind, str) or not kind.strip():
            raise ConfigurationError(
                f"MOCRA_POSTGRES_COLUMNS[{name!r}]", f"{kind!r} is no type", 'Write one as SQL has it: "text"'
            )
    key, rest = tuple(read.texts("MOCRA_POSTGRES_KEY", "columns")), read.value("MOCRA_POSTGRES_REST") or None
    if columns and (missing := [name for name in (*key, *([rest] if rest else ())) if name not in columns]):
        raise ConfigurationError(
            "MOCRA_POSTGRES_COLUMNS", f"it lacks {missing[0]!r}, which another setting names", "Add it, with its type"
        )
    return PostgresOptions(url, read.text("MOCRA_POSTGRES_TABLE", "a table"), key, columns, rest)


@dataclass(frozen=True, slots=True)
class RedisItemsOptions:
    """Of ``RedisPipeline``. *maxlen* 0: without limit."""

    url: str
    key: str
    kind: str
    maxlen: int
    id: tuple[str, ...]


def read_redis_items(settings: BaseSettings, crawl: str) -> RedisItemsOptions:
    """Raises ConfigurationError."""
    read = SettingsReader(settings)
    kind = read.choice("MOCRA_REDIS_ITEMS_KIND", REDIS_KINDS)
    names = tuple(read.texts("MOCRA_REDIS_ITEMS_ID", "fields"))
    if (kind == "hash") != bool(names):
        raise ConfigurationError(
            "MOCRA_REDIS_ITEMS_ID",
            "a hash needs the fields by which an item is known" if kind == "hash" else f"a {kind} has no use for it",
            'Set it, as ["url"], with MOCRA_REDIS_ITEMS_KIND = "hash" and only then',
        )
    url = read.value("MOCRA_REDIS_ITEMS_URL") or read_backends(settings).server
    if not isinstance(url, str) or url.startswith("memory:"):
        raise ConfigurationError(
            "MOCRA_REDIS_ITEMS_URL", "RedisPipeline needs a server", 'Set it: "redis://localhost:6379/0"'
        )
    maxlen = read.whole("MOCRA_REDIS_ITEMS_MAXLEN", 0, TERA, "a number of entries")
    if maxlen and kind == "hash":
        raise ConfigurationError("MOCRA_REDIS_ITEMS_MAXLEN", "a hash has no oldest entries", "Set 0, or another kind")
    template = read.text("MOCRA_REDIS_ITEMS_KEY", "a key")
    return RedisItemsOptions(url, template.replace("%(crawl)s", crawl), kind, maxlen, names)
