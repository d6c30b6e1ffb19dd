"""The settings of the proxy pool."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import ProxyRules
from mocra_scrapy.models.redaction import redact_url
from mocra_scrapy.settings.checks import setting_number
from mocra_scrapy.settings.reader import SettingsReader
from mocra_scrapy.settings.sessions import read_keys

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

#: What a request does for which there is no proxy.
WAIT, CLOSE, DIRECT = ON_EMPTY = ("wait", "close", "direct")

#: Kind of a provider -> its options, beside those that all have.
KINDS: Mapping[str, tuple[str, ...]] = {
    "list": (),
    "file": (),
    "environment": (),
    "text": ("headers", "timeout"),
    "json": ("headers", "timeout", "items", "mapping"),
    "gateway": ("sessions", "minutes"),
    "class": ("options",),
}
#: What holds for each proxy of a provider that says nothing else of it.
OF_PROXIES = ("scheme", "username", "password", "weight", "concurrency", "tags", "country", "expires")
EXAMPLE = (
    'Write a list of proxies ("http://user:password@host:port"), or "file:PATH", "environment", "text:URL",'
    ' {"json": URL, …}, {"gateway": URL, …}, {"class": "myproject.Provider"}, or a list of these'
)


@dataclass(frozen=True, slots=True)
class ProviderOptions:
    """Where proxies come from.

    Attributes:
        kind: one of :data:`KINDS`.
        source: a path, a URL, an import path, or the proxies themselves.
        options: those of its kind; ``defaults``: those of :data:`OF_PROXIES`.
    """

    kind: str
    source: Any
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    defaults: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """For people."""
        if self.kind == "gateway" or not isinstance(self.source, str) or not self.source:
            return self.kind
        return f"{self.kind}:{redact_url(self.source)}"


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """What :mod:`mocra_scrapy.settings.default_settings` documents."""

    providers: tuple[ProviderOptions, ...]
    pool: str | None
    on_empty: str
    policy: str | None
    ban_statuses: frozenset[int]
    ban_bodies: tuple[re.Pattern[bytes], ...]
    concurrency: int
    refresh: float
    tries: int
    rules: ProxyRules
    secret_key: str | None = field(repr=False, default=None)


def read_proxies(settings: BaseSettings) -> ProxyOptions | None:
    """The checked settings; ``None``: there is no provider.

    Raises:
        ConfigurationError: names the first setting that is wrong, and the fix. Never shows a value
            that may have a password in it.
    """
    read = SettingsReader(settings)
    value = read.value("MOCRA_PROXIES")
    if value in (None, "", [], ()):
        return None
    path = read.value("MOCRA_PROXY_POLICY")
    cool_down = read.number("MOCRA_PROXY_COOL_DOWN", 0.01, 86_400, "a time in seconds")
    longest = read.number("MOCRA_PROXY_COOL_DOWN_MAX", 0.01, 604_800, "a time in seconds")
    if longest < cool_down:
        raise ConfigurationError(
            "MOCRA_PROXY_COOL_DOWN_MAX",
            f"{longest:g} s is less than MOCRA_PROXY_COOL_DOWN",
            f"Set {cool_down:g} or more",
        )
    return ProxyOptions(
        _providers(value),
        None if read.value("MOCRA_PROXY_POOL") is None else read.text("MOCRA_PROXY_POOL", "the name of a pool"),
        read.choice("MOCRA_PROXY_ON_EMPTY", ON_EMPTY),
        None if path is None else read.text("MOCRA_PROXY_POLICY", "an import path") if isinstance(path, str) else path,
        frozenset(_statuses(read)),
        tuple(_patterns(read)),
        read.whole("MOCRA_PROXY_CONCURRENCY", 0, 100_000, "a number of requests"),
        read.number("MOCRA_PROXY_REFRESH", 0, 604_800, "a time in seconds"),
        read.whole("MOCRA_PROXY_TRIES", 0, 1000, "a number of proxies"),
        ProxyRules(
            failures=read.whole("MOCRA_PROXY_FAILURES", 1, 1000, "a number of failures"),
            cool_down=cool_down,
            ban_cool_down=read.number("MOCRA_PROXY_BAN_COOL_DOWN", 0.01, 604_800, "a time in seconds"),
            cool_down_max=longest,
            sticky=read.number("MOCRA_PROXY_STICKY", 1, 604_800, "a time in seconds"),
        ),
        _first_key(read.value("MOCRA_SECRET_KEY")),
    )


def _first_key(value: object) -> str | None:
    """With which identities are keyed: of several, the one that encrypts sessions.

    Raises:
        ConfigurationError: one of them is none.
    """
    return str(value).split(",")[0].strip() if read_keys(value) else None


def _statuses(read: SettingsReader) -> list[int]:
    name = "MOCRA_PROXY_BAN_STATUSES"
    value = read.value(name)
    given = value.strip("[] ").split(",") if isinstance(value, str) else value
    if not isinstance(given, (list, tuple, set, frozenset)):
        raise ConfigurationError(name, f"{value!r} is not a list of statuses", "Set, for example, [403, 429]")
    return [int(setting_number(name, one, 100, 599, what="a status", whole=True)) for one in given if one != ""]


def _patterns(read: SettingsReader) -> list[re.Pattern[bytes]]:
    name = "MOCRA_PROXY_BAN_BODIES"
    found = []
    for text in read.texts(name, "regular expressions"):
        try:
            found.append(re.compile(text.encode(), re.IGNORECASE))
        except re.error as error:
            raise ConfigurationError(name, f"{text!r} is no regular expression: {error}", "Mend it") from None
    return found


def _providers(value: Any) -> tuple[ProviderOptions, ...]:
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):  # -s, the environment
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ConfigurationError(
                "MOCRA_PROXIES", f"it is not valid JSON: {error.__class__.__name__}", EXAMPLE
            ) from None
    parts = [value] if isinstance(value, (str, Mapping)) else list(value) if isinstance(value, (list, tuple)) else None
    if parts is None:
        raise ConfigurationError("MOCRA_PROXIES", f"{type(value).__name__} is not a list of proxies", EXAMPLE)
    found, plain = [], []
    for part in parts:
        provider = _provider(part)
        if provider is None:
            plain.append(part)
        else:
            found.append(provider)
    return (*([ProviderOptions("list", tuple(plain))] if plain else []), *found)


def _provider(part: Any) -> ProviderOptions | None:
    """``None``: it is a proxy."""
    if isinstance(part, str):
        kind, _, source = part.strip().partition(":")
        if kind in KINDS and kind not in ("list", "gateway") and (kind == "environment" or source):
            return ProviderOptions(kind, source.strip())
        return None
    if not isinstance(part, Mapping):
        raise ConfigurationError("MOCRA_PROXIES", f"{type(part).__name__} is no proxy and no provider", EXAMPLE)
    if "url" in part:
        return None
    kinds = [name for name in part if name in KINDS]
    if len(kinds) != 1:
        raise ConfigurationError("MOCRA_PROXIES", f"a provider names {len(kinds)} kinds", EXAMPLE)
    kind, options = kinds[0], {name: option for name, option in part.items() if name not in KINDS}
    unknown = sorted(str(name) for name in options.keys() - {*KINDS[kind], *OF_PROXIES})
    if unknown:
        known = ", ".join((*KINDS[kind], *OF_PROXIES))
        raise ConfigurationError(
            f"MOCRA_PROXIES[{kind!r}]", f"option {unknown[0]!r} is unknown", f"Its options are: {known}"
        )
    defaults = {name: options.pop(name) for name in OF_PROXIES if name in options}
    source = part[kind]
    if kind not in ("environment", "list", "class") and (not isinstance(source, str) or not source.strip()):
        raise ConfigurationError(f"MOCRA_PROXIES[{kind!r}]", "it has no address", EXAMPLE)
    return ProviderOptions(kind, source, options, defaults)
