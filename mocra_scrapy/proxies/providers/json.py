"""An API that gives proxies in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.proxies.providers.web import ListUnavailable, WebList
from mocra_scrapy.proxies.proxy import SCHEMES
from mocra_scrapy.settings.proxies import OF_PROXIES, ProviderOptions

#: What a mapping may name.
FIELDS = ("url", "host", "port", *OF_PROXIES)


class JsonProvider:
    """``{"json": URL, "items": "data.list", "mapping": {"host": "ip", "port": "ports.http", …}}``.

    ``items`` is where the list is in the answer, names with dots in between; empty: it is the
    answer. ``mapping`` says where each field of :data:`FIELDS` is in an element; those that it does
    not name are called the same. Elements may be texts, too.
    """

    def __init__(self, options: ProviderOptions) -> None:
        self._list = WebList(options)
        self._items = str(options.options.get("items", "") or "")
        mapping = options.options.get("mapping", {})
        if not isinstance(mapping, Mapping) or not all(isinstance(path, str) for path in mapping.values()):
            raise ConfigurationError("MOCRA_PROXIES['json']", "mapping is no dict of texts", 'Write {"host": "ip"}')
        unknown = sorted(str(name) for name in mapping.keys() - set(FIELDS))
        if unknown:
            raise ConfigurationError(
                "MOCRA_PROXIES['json']",
                f"mapping has {unknown[0]!r}, which is no field",
                f"Fields are: {', '.join(FIELDS)}",
            )
        self._paths = {name: str(mapping.get(name, name)) for name in FIELDS}

    async def proxies(self) -> Iterable[Any]:
        try:
            found = json.loads(await self._list.read())
        except ValueError:
            raise ListUnavailable("the answer is not JSON") from None
        found = _at(found, self._items) if self._items else found
        if not isinstance(found, list):
            raise ListUnavailable(f"items {self._items!r}: there is no list; it is {type(found).__name__}")
        return [self._one(element) for element in found]

    def _one(self, element: Any) -> Any:
        if not isinstance(element, Mapping):
            return element
        given = {name: value for name, path in self._paths.items() if (value := _at(element, path)) is not None}
        if isinstance(given.get("country"), (list, tuple)):
            given["country"] = next(iter(given["country"]), None)
        host, port, scheme = given.pop("host", None), given.pop("port", None), given.get("scheme")
        if isinstance(scheme, (list, tuple)):
            scheme = next((one for one in scheme if one in SCHEMES), "http")
        if "url" not in given and host is not None:
            given["url"] = f"{scheme or 'http'}://{host}:{port}" if port is not None else f"{scheme or 'http'}://{host}"
        given.pop("scheme", None)
        return given


def _at(value: Any, path: str) -> Any:
    """What *path* leads to; ``None``: nowhere. A number is a place in a list."""
    for name in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value
