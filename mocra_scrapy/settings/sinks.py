"""The settings of the pipelines that write to Kafka and to Parquet files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

TERA = 2**40
COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "none")


@dataclass(frozen=True, slots=True)
class KafkaItemsOptions:
    """Of ``KafkaPipeline``.

    Attributes:
        options: for the client; may hold a password, so they are never shown.
        key: fields that make a message's key; none: no key.
        headers: fields that are headers as well.
    """

    url: str
    options: Mapping[str, Any]
    topic: str
    key: tuple[str, ...]
    headers: tuple[str, ...]


def read_kafka_items(settings: BaseSettings) -> KafkaItemsOptions:
    """Raises ConfigurationError."""
    read = SettingsReader(settings)
    for name, example in (("MOCRA_KAFKA_ITEMS_URL", "kafka://localhost:9092"), ("MOCRA_KAFKA_ITEMS_TOPIC", "items")):
        if read.value(name) in (None, ""):
            raise ConfigurationError(name, "KafkaPipeline needs it", f'Set {name} = "{example}"')
    return KafkaItemsOptions(
        url=read.text("MOCRA_KAFKA_ITEMS_URL", "a URL"),
        options=read.mapping("MOCRA_KAFKA_OPTIONS"),
        topic=read.text("MOCRA_KAFKA_ITEMS_TOPIC", "a topic"),
        key=tuple(read.texts("MOCRA_KAFKA_ITEMS_KEY", "fields")),
        headers=tuple(read.texts("MOCRA_KAFKA_ITEMS_HEADERS", "fields")),
    )


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """Of ``ParquetPipeline``: *rotate_bytes* and *rotate_seconds* of a file; ``None``: no limit.

    Attributes:
        schema: field -> type, as text; empty: what the items have.
        row_group: rows of each.
    """

    folder: Path
    schema: Mapping[str, str]
    compression: str
    row_group: int
    rotate_bytes: int | None
    rotate_seconds: float | None


def read_parquet(settings: BaseSettings) -> ParquetOptions:
    """Raises ConfigurationError."""
    read = SettingsReader(settings)
    schema = read.mapping("MOCRA_PARQUET_SCHEMA")
    for name, kind in schema.items():
        if not isinstance(name, str) or not isinstance(kind, str):
            raise ConfigurationError(
                f"MOCRA_PARQUET_SCHEMA[{name!r}]", f"{kind!r} is no type", 'Write its name: "string"'
            )
    return ParquetOptions(
        folder=Path(read.text("MOCRA_PARQUET_DIR", "a folder")),
        schema=schema,
        compression=read.choice("MOCRA_PARQUET_COMPRESSION", COMPRESSIONS),
        row_group=read.whole("MOCRA_PARQUET_ROW_GROUP", 1, 100_000_000, "a number of rows"),
        rotate_bytes=read.whole("MOCRA_PARQUET_ROTATE_BYTES", 0, TERA, "a size in bytes") or None,
        rotate_seconds=read.number("MOCRA_PARQUET_ROTATE_SECONDS", 0, 366 * 86_400, "a time in seconds") or None,
    )
