"""``MOCRA_EVENTS`` and its like: which events go where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.backends import BackendChoice
from mocra_scrapy.models.redaction import redact_url
from mocra_scrapy.settings.backends import read_backends
from mocra_scrapy.settings.checks import setting_number
from mocra_scrapy.settings.reader import SettingsReader
from mocra_scrapy.settings.webhooks import EXAMPLE, read_webhook, text_of

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

NAME = "MOCRA_EVENTS"
#: Kind of sink -> its options, beside ``events``.
KINDS: dict[str, tuple[str, ...]] = {
    "log": ("level",),
    "redis": ("url", "stream", "keep"),
    "kafka": ("url", "topic", "timeout"),
    "webhook": ("url", "secret", "headers", "private", "timeout"),
}
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """One sink.

    Attributes:
        name: as the project calls it: its kind, or ``kind:anything``.
        events: patterns of the kinds of events that it gets.
        level: of the log.
        url: of a webhook, of Kafka; of the server with the stream, ``None``: ``EventOptions.server``.
        stream: its key; ``None``: ``events`` behind ``MOCRA_KEY_PREFIX``. *keep*: records in it.
        topic: of Kafka.
        secret: signs what a webhook gets; empty: nothing is signed.
        private: whether a webhook may be in a private network.
        timeout: seconds for one attempt.
    """

    name: str
    kind: str
    events: tuple[str, ...] = ("*",)
    level: str = "INFO"
    url: str | None = field(default=None, repr=False)
    stream: str | None = None
    keep: int = 100_000
    topic: str | None = None
    secret: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    private: bool = False
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class EventOptions:
    """What :mod:`mocra_scrapy.settings.default_settings` documents, checked.

    Attributes:
        sample: pattern of kinds -> part of such events that is told. *sample_bulk*: in place of it, part
            of what there may be one of for each page.
        kafka: ``MOCRA_KAFKA_OPTIONS``.
        server: URL of what has the stream of a sink that names none.
    """

    sinks: tuple[SinkOptions, ...]
    sample: Mapping[str, float]
    sample_bulk: float | None
    queue_max: int
    stop_timeout: float
    kafka: Mapping[str, Any] = field(default_factory=dict, repr=False)
    server: str = field(default="memory://", repr=False)


def read_events(settings: BaseSettings) -> EventOptions | None:
    """The checked settings; ``None``: nobody wants events.

    Raises:
        ConfigurationError: names the part that is wrong, and the fix.
    """
    read = SettingsReader(settings)
    value = _sinks(read.value(NAME))
    choice = read_backends(settings)
    if not value and read.value(NAME) is None and choice.events is not None:
        value = {"kafka" if choice.brokers == choice.events else "redis": None}
    if not value:
        return None
    sinks = tuple(_sink(name, options, choice) for name, options in value.items())
    if any(sink.kind == "redis" and sink.url is None for sink in sinks):
        _needs_server(choice.stream)
    sample, bulk = _sample(read)
    return EventOptions(
        sinks,
        sample,
        bulk,
        queue_max=read.whole("MOCRA_EVENTS_QUEUE_MAX", 10, 1_000_000, "a number of records"),
        stop_timeout=read.number("MOCRA_EVENTS_STOP_TIMEOUT", 0, 600, "a time in seconds"),
        kafka=choice.kafka,
        server=choice.stream,
    )


def _sample(read: SettingsReader) -> tuple[dict[str, float], float | None]:
    name, what = "MOCRA_EVENTS_SAMPLE", "a part, from 0 to 1"
    value = read.value(name)
    if not isinstance(value, Mapping) and not (isinstance(value, str) and value.lstrip().startswith("{")):
        return {}, setting_number(name, value, 0, 1, what=what)
    parts = read.mapping(name)
    return {str(kind): setting_number(f"{name}[{kind!r}]", part, 0, 1, what=what) for kind, part in parts.items()}, None


def _sinks(value: Any) -> dict[str, Any]:
    """A dict of sinks and options; names alone (a text, a list) have none of these."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ConfigurationError(NAME, f"it is not valid JSON: {error}", EXAMPLE) from None
    if value in (None, "", "None", "False", "0", False):
        return {}
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    if isinstance(value, (list, tuple, set, frozenset)):
        value = dict.fromkeys(value)
    if not isinstance(value, Mapping):
        raise ConfigurationError(NAME, f"{value!r} names no sinks", EXAMPLE)
    return {name: options for name, options in value.items() if options is not False}


def _sink(name: Any, given: Any, choice: BackendChoice) -> SinkOptions:
    kind = str(name).partition(":")[0]
    subject = f"{NAME}[{name!r}]"
    if kind not in KINDS:
        known = ", ".join(map(repr, KINDS))
        raise ConfigurationError(
            NAME, f"{name!r} is no sink", f'Use {known}, or several of a kind: "webhook:alerts", "webhook:all"'
        )
    if isinstance(given, str) and kind in ("webhook", "redis"):
        given = {"url": given}
    given = {} if given in (None, True) else given
    if kind == "kafka" and isinstance(given, Mapping) and choice.brokers is not None:
        given = {"url": choice.brokers, "topic": f"{choice.prefix}-events", **given}
    if not isinstance(given, Mapping):
        raise ConfigurationError(subject, f"{given!r} is no dict of options", EXAMPLE)
    for key in given:
        if key not in ("events", *KINDS[kind]):
            raise ConfigurationError(subject, f"{key!r} is unknown", f"Use {', '.join(('events', *KINDS[kind]))}")
    options: dict[str, Any] = {"events": _patterns(f"{subject}['events']", given.get("events", "*"))}
    checks = {"log": _log, "redis": _redis, "kafka": _kafka, "webhook": read_webhook}
    return SinkOptions(str(name), kind, **options, **checks[kind](subject, given))


def _patterns(subject: str, value: Any) -> tuple[str, ...]:
    texts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple, set, frozenset)) or not texts or not all(isinstance(t, str) for t in texts):
        raise ConfigurationError(
            subject, f"{value!r} is no list of events", 'Write names or patterns: ["breaker.*", "crawl.finished"]'
        )
    return tuple(texts)


def _log(subject: str, given: Mapping[str, Any]) -> dict[str, Any]:
    level = str(given.get("level", "INFO")).upper()
    if level not in LEVELS:
        raise ConfigurationError(
            f"{subject}['level']", f"{given['level']!r} is unknown", f"Set one of {', '.join(LEVELS)}"
        )
    return {"level": level}


def _redis(subject: str, given: Mapping[str, Any]) -> dict[str, Any]:
    url, stream = given.get("url"), given.get("stream")
    if url is not None:
        _needs_server(text_of(f"{subject}['url']", url), f"{subject}['url']")
    if stream is not None:
        text_of(f"{subject}['stream']", stream)
    keep = setting_number(f"{subject}['keep']", given.get("keep", 100_000), 1, 1_000_000_000, whole=True)
    return {"url": url, "stream": stream, "keep": int(keep)}


def _kafka(subject: str, given: Mapping[str, Any]) -> dict[str, Any]:
    for name, example in (("url", "kafka://localhost:9092"), ("topic", "mocra-events")):
        if given.get(name) is None:
            raise ConfigurationError(subject, f"it has no {name}", f'Add "{name}": "{example}"')
        text_of(f"{subject}[{name!r}]", given[name])
    timeout = setting_number(f"{subject}['timeout']", given.get("timeout", 10.0), 0.1, 600, what="a time in seconds")
    return {"url": given["url"], "topic": given["topic"], "timeout": timeout}


def _needs_server(url: str, subject: str = "MOCRA_BACKEND") -> None:
    if url.partition("://")[0].lower() == "memory":
        raise ConfigurationError(
            subject,
            f"{redact_url(url)!r} keeps no stream that others could read",
            'Give the sink a server of its own: {"redis": {"url": "redis://localhost:6379/0"}}',
        )
