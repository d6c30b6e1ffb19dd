"""The settings of what feeds a crawl beside ``start()``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.redaction import redact
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

#: Kind of a source -> its options, beside the address.
KINDS: Mapping[str, tuple[str, ...]] = {
    "redis": ("url",),
    "stream": ("url",),
    "kafka": ("url",),
    "file": (),
    "stdin": (),
    "sitemap": ("since", "include", "callback"),
}
EXAMPLE = 'Write "redis:KEY", "stream:KEY", "kafka:TOPIC", "file:PATH", "sitemap:URL" or "stdin", or a list of these'


@dataclass(frozen=True, slots=True)
class Source:
    """Where seeds come from.

    Attributes:
        kind: one of :data:`KINDS`.
        address: a key, a path, a URL.
        options: further ones.
    """

    kind: str
    address: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people, and for its position."""
        name = f"{self.kind}:{self.address}" if self.address else self.kind
        return redact(f"{name} on {self.options['url']}" if "url" in self.options else name)


@dataclass(frozen=True, slots=True)
class SeedOptions:
    """What :mod:`mocra_scrapy.settings.default_settings` documents.

    Attributes:
        redis: URL of the server of the sources that name none; ``None``: the backend's.
        kafka, kafka_options: of the brokers of topics that name none.
        idle: seconds; *poll*: seconds.
    """

    sources: tuple[Source, ...]
    redis: str | None
    kafka: str | None
    kafka_options: Mapping[str, Any]
    idle: float
    poll: float


def read_seeds(settings: BaseSettings, spider: str) -> SeedOptions:
    """The checked settings. *spider*: its name, which stands for ``%(name)s`` in addresses.

    Raises:
        ConfigurationError: names the first setting that is wrong, and the fix.
    """
    read = SettingsReader(settings)
    value = read.value("MOCRA_SEEDS")
    given = [] if value is None or value == "" else _listed(value)
    sources = tuple(_source(one, spider) for one in given)
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError("MOCRA_SEEDS", f"{name!r} is there twice", "Name each source once")
    return SeedOptions(
        sources,
        None if read.value("MOCRA_SEEDS_REDIS") is None else read.text("MOCRA_SEEDS_REDIS", "a URL"),
        None if read.value("MOCRA_SEEDS_KAFKA") is None else read.text("MOCRA_SEEDS_KAFKA", "a URL"),
        read.mapping("MOCRA_KAFKA_OPTIONS"),
        read.number("MOCRA_SEEDS_IDLE", 0, 86_400, "a time in seconds"),
        read.number("MOCRA_SEEDS_POLL", 0.01, 3600, "a time in seconds"),
    )


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):  # -s, the environment
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ConfigurationError("MOCRA_SEEDS", f"it is not valid JSON: {error}", EXAMPLE) from None
    if isinstance(value, (str, Mapping)):
        return [value]
    if not isinstance(value, (list, tuple)):
        raise ConfigurationError("MOCRA_SEEDS", f"{type(value).__name__} is not a list of sources", EXAMPLE)
    return list(value)


def _source(value: Any, spider: str) -> Source:
    if isinstance(value, str):
        kind, _, address = value.strip().partition(":")
        options: dict[str, Any] = {}
    elif isinstance(value, Mapping):
        options = dict(value)
        kinds = [name for name in options if name in KINDS]
        if len(kinds) != 1:
            raise ConfigurationError("MOCRA_SEEDS", f"{value!r} names {len(kinds)} kinds of source", EXAMPLE)
        kind = kinds[0]
        address = options.pop(kind)
    else:
        raise ConfigurationError("MOCRA_SEEDS", f"{value!r} is not a source", EXAMPLE)
    if kind not in KINDS:
        raise ConfigurationError("MOCRA_SEEDS", f"{redact(str(value))!r}: there is no source {kind!r}", EXAMPLE)
    unknown = sorted(str(name) for name in options.keys() - set(KINDS[kind]))
    if unknown:
        known = ", ".join(KINDS[kind]) or "none"
        raise ConfigurationError(
            f"MOCRA_SEEDS[{kind!r}]", f"option {unknown[0]!r} is unknown", f"Its options are: {known}"
        )
    if kind == "stdin":
        return Source(kind)
    if not isinstance(address, str) or not address.strip():
        raise ConfigurationError("MOCRA_SEEDS", f"{kind!r} has no address", EXAMPLE)
    return Source(kind, address.strip().replace("%(name)s", spider), options)
