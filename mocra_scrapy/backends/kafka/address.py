"""Where Kafka is: URLs and ``MOCRA_KAFKA_OPTIONS``, checked before anything is connected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mocra_scrapy.exceptions import ConfigurationError

OPTIONS = "MOCRA_KAFKA_OPTIONS"
_HOST = re.compile(r"^(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?$")
PORT = 9092

#: What an option would break, and why it is refused.
REFUSED = {
    "bootstrap.servers": "the URL says where the brokers are",
    "metadata.broker.list": "the URL says where the brokers are",
    "transactional.id": "batches are no transactions",
    "delivery.report.only.error": "an item is stored when its delivery was reported",
    "group.id": "a crawl's workers have a group of their own, and nobody else joins one",
    "group.instance.id": "all workers have the same settings, and no two may have the same name",
    "group.protocol": "MOCRA_KAFKA_GROUP_PROTOCOL says it",
    "partition.assignment.strategy": "MOCRA_KAFKA_GROUP_PROTOCOL says it",
    "session.timeout.ms": "MOCRA_KAFKA_SESSION_TIMEOUT says it",
    "heartbeat.interval.ms": "MOCRA_KAFKA_SESSION_TIMEOUT says it",
    "enable.auto.commit": "an offset is committed when all before it is finished",
    "enable.auto.offset.store": "an offset is committed when all before it is finished",
    "auto.offset.reset": "what is not there any more is told, and not passed over",
    "enable.partition.eof": "the end of a crawl is found by it",
    "plugin.library.paths": "it loads foreign code",
}
#: What may be said as well, and must have one of these values.
FIXED = {
    "acks": ("all", "-1", -1),
    "request.required.acks": ("all", "-1", -1),
    "enable.idempotence": ("true", True),
}


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Attributes:
    bootstrap: brokers to ask first, as ``host:port,host:port``.
    options: for the client; may hold a password, so they are never shown.
    subject: the setting that gave the URL.
    prefix: what names of topics and groups begin with; ``None``: the URL has none.
    """

    bootstrap: str
    options: Mapping[str, Any]
    subject: str
    prefix: str | None = None


def read_address(subject: str, url: str, options: Mapping[str, Any], *, takes_prefix: bool = False) -> KafkaAddress:
    """``kafka://host:port,host:port``, given by setting *subject*; where it *takes_prefix*, followed by
    ``/prefix``.

    Raises:
        ConfigurationError: it is none, or an option can't be.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() != "kafka":
        raise ConfigurationError(subject, "it is no URL of Kafka", "Write kafka://host:9092,host:9092")
    if "@" in rest:
        raise ConfigurationError(
            subject,
            "a URL of Kafka has no user and no password",
            f'Set {OPTIONS} = {{"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": …,'
            ' "sasl.password": …}',
        )
    place, prefix = rest.rstrip("/"), None
    if takes_prefix and "/" in place:
        place, _, prefix = place.partition("/")
        if "/" in prefix or "?" in prefix or not prefix:
            raise ConfigurationError(
                subject, f"{prefix!r} is no prefix", f"Write kafka://host:9092/prefix, and options into {OPTIONS}"
            )
    hosts = [_host(subject, host.strip()) for host in place.split(",")]
    for name, value in options.items():
        _check_option(name, value)
    return KafkaAddress(",".join(hosts), dict(options), subject, prefix)


def _host(subject: str, host: str) -> str:
    match = _HOST.match(host)
    if match is None or int(match["port"] or PORT) not in range(1, 65536):
        raise ConfigurationError(subject, f"{host!r} is no host and port", "Write kafka://host:9092,host:9092")
    return host if match["port"] else f"{host}:{PORT}"


def _check_option(name: Any, value: Any) -> None:
    subject = f"{OPTIONS}[{name!r}]"
    if not isinstance(name, str) or not isinstance(value, (str, int, float)):
        raise ConfigurationError(
            subject,
            f"{type(value).__name__} is no value of an option of librdkafka",
            'Write texts, numbers, True or False, as {"compression.type": "lz4"}',
        )
    if name in REFUSED:
        raise ConfigurationError(subject, f"it can't be set: {REFUSED[name]}", "Leave it out")
    allowed = FIXED.get(name)
    if allowed is not None and (value.lower() if isinstance(value, str) else value) not in allowed:
        raise ConfigurationError(
            subject, f"{value!r} would lose what brokers have not copied, or store it twice", "Leave it out"
        )
