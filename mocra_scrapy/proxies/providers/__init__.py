"""Where proxies come from. A provider is asked by each worker, at its start and whenever the leader
says so; what it gives never leaves the process.

Your own: ``{"class": "myproject.Provider"}``, a class with ``async def proxies(self)`` that gives
texts, dicts with ``url`` or :class:`~mocra_scrapy.proxies.proxy.Proxy`. It is made with the crawler
(``from_crawler``, where there is one) and ``options``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from scrapy.utils.misc import load_object

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.proxies.providers.environment import EnvironmentProvider
from mocra_scrapy.proxies.providers.file import FileProvider
from mocra_scrapy.proxies.providers.gateway import GatewayProvider
from mocra_scrapy.proxies.providers.json import JsonProvider
from mocra_scrapy.proxies.providers.list import ListProvider
from mocra_scrapy.proxies.providers.text import TextProvider
from mocra_scrapy.proxies.proxy import BadProxy, Proxy, check_options, parse_proxy

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from mocra_scrapy.settings.proxies import ProviderOptions

#: What a provider may give.
Given = str | Mapping[str, Any] | Proxy


class Provider(Protocol):
    """Gives proxies."""

    async def proxies(self) -> Iterable[Given]:
        """All that there are now. Whatever it raises is told, and the last ones stay."""


_KINDS: dict[str, Callable[[ProviderOptions], Provider]] = {
    "list": ListProvider,
    "file": FileProvider,
    "environment": EnvironmentProvider,
    "text": TextProvider,
    "json": JsonProvider,
    "gateway": GatewayProvider,
}


def make_provider(options: ProviderOptions, crawler: Crawler) -> Provider:
    """The provider that *options* mean.

    Raises:
        ConfigurationError: an option is wrong, or a class can't be used.
    """
    if options.kind != "class":
        return _KINDS[options.kind](options)
    try:
        cls = load_object(options.source)
    except (ImportError, NameError, ValueError, TypeError) as error:
        raise ConfigurationError(
            "MOCRA_PROXIES['class']", f"{options.source!r} can't be loaded: {error}", "Set the import path of a class"
        ) from error
    arguments = dict(options.options.get("options", {}))
    provider = cls.from_crawler(crawler, **arguments) if hasattr(cls, "from_crawler") else cls(**arguments)
    if not inspect.iscoroutinefunction(getattr(provider, "proxies", None)):
        raise ConfigurationError("MOCRA_PROXIES['class']", f"{cls.__name__} has no `async def proxies(self)`", "Add it")
    return provider  # type: ignore[no-any-return]


def proxy_of(given: Given, defaults: Mapping[str, Any]) -> Proxy:
    """What *given* means.

    Raises:
        BadProxy: it is no proxy; the text has no password in it.
    """
    if isinstance(given, Proxy):
        return given
    if isinstance(given, str):
        return parse_proxy(given, defaults)
    if not isinstance(given, Mapping) or not isinstance(given.get("url"), str):
        raise BadProxy(f'{type(given).__name__} is no proxy; give texts, or dicts with "url"')
    options = {**defaults, **{str(name): value for name, value in given.items() if name != "url"}}
    check_options({name: value for name, value in options.items() if name not in ("scheme", "username", "password")})
    return parse_proxy(given["url"], options)
