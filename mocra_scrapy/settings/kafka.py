"""``MOCRA_KAFKA_…``: how the log of a crawl's requests is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.log import LogOptions
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

PROTOCOLS = ("classic", "consumer")
#: Bytes that a message may have beside its request: slot, scopes, budgets.
AROUND = 65_536


def read_kafka(settings: BaseSettings) -> LogOptions:
    """Raises ConfigurationError: names the setting that is wrong, and the fix."""
    read = SettingsReader(settings)
    replication = read.whole("MOCRA_KAFKA_REPLICATION", 1, 100, "a number of copies")
    retention = read.value("MOCRA_KAFKA_RETENTION")
    return LogOptions(
        partitions=read.whole("MOCRA_KAFKA_PARTITIONS", 1, 10_000, "a number of partitions"),
        replication=replication,
        min_insync=_min_insync(read, replication),
        retention=None
        if retention is None
        else read.number("MOCRA_KAFKA_RETENTION", 60, 100 * 365 * 86_400, "a time in seconds"),
        message_bytes=read.whole("MOCRA_ENTRY_MAX_BYTES", 256, 512 * 1024 * 1024, "a size in bytes") + AROUND,
        create=read.flag("MOCRA_KAFKA_CREATE_TOPICS"),
        protocol=read.choice("MOCRA_KAFKA_GROUP_PROTOCOL", PROTOCOLS),
        session_timeout=read.number("MOCRA_KAFKA_SESSION_TIMEOUT", 1, 300, "a time in seconds"),
        revoke_timeout=read.number("MOCRA_KAFKA_REVOKE_TIMEOUT", 0, 300, "a time in seconds"),
        ahead=read.whole("MOCRA_KAFKA_AHEAD", 1, 1_000_000, "a number of requests"),
        ahead_bytes=read.whole("MOCRA_KAFKA_AHEAD_BYTES", 2**20, 2**30, "a size in bytes"),
        window=read.whole("MOCRA_KAFKA_WINDOW", 100, 100_000_000, "a number of requests"),
    )


def _min_insync(read: SettingsReader, replication: int) -> int:
    name = "MOCRA_KAFKA_MIN_INSYNC"
    if read.value(name) is None:
        return max(1, replication - 1)
    least = read.whole(name, 1, 100, "a number of copies")
    if least > replication:
        raise ConfigurationError(
            name,
            f"{least} copies can't be in sync where MOCRA_KAFKA_REPLICATION is {replication}",
            f"Set it to {max(1, replication - 1)}, so that one broker may be away",
        )
    return least
