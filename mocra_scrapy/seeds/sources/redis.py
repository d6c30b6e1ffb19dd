"""Seeds from keys of a Redis: a list, a set, a sorted set, a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mocra_scrapy.backends import open_backend
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.seeds.source import Found

if TYPE_CHECKING:
    from mocra_scrapy.runtime import Mocra
    from mocra_scrapy.settings.seeds import Source

#: Fields of a stream's entry that hold a whole seed.
WHOLE = (b"seed", b"data")
#: Where an entry has the parts of a seed in fields of their own: those that are text.
TEXTS = frozenset({"url", "method", "body", "callback", "errback"})


class Servers:
    """The servers of a crawl's sources, each opened once; the backend's own is not opened again."""

    def __init__(self, mocra: Mocra, default: str | None) -> None:
        self._mocra, self._default = mocra, default
        self._opened: dict[str, Any] = {}

    def of(self, source: Source) -> Any:
        """The backend on which *source* stands.

        Raises:
            ConfigurationError: it is no Redis.
        """
        url = source.options.get("url") or self._default
        if url is None or url == self._mocra.options.backends.server:
            backend: Any = self._mocra.backend
        else:
            backend = self._opened.get(url)
            if backend is None:
                options = self._mocra.options.redis_options
                backend = self._opened[url] = open_backend(str(url), options=options)
        if not hasattr(backend, "seed_pile"):
            raise ConfigurationError(
                "MOCRA_SEEDS",
                f"{source.name!r} is a key of a Redis, and {backend.url} is none",
                "Name the server: MOCRA_SEEDS_REDIS = 'redis://localhost', or {'redis': KEY, 'url': …}",
            )
        return backend

    async def close(self) -> None:
        for backend in self._opened.values():
            await backend.close()


class StreamSource:
    """A stream: its ids are positions. Nothing is taken out of it; trim it by ``MAXLEN`` where it is
    filled.
    """

    is_over, is_endless = False, True

    def __init__(self, source: Source, servers: Servers) -> None:
        self.name = source.name
        self._stream = servers.of(source).seed_stream(source.address)
        self.position = b"0"

    async def begin(self, position: bytes | None, run: int) -> None:
        self.position = position or b"0"

    async def read(self, want: int) -> list[Found]:
        entries = await self._stream.read(self.position.decode(), want)
        if entries:
            self.position = entries[-1][0].encode()
        return [Found(seed_in(fields), identity) for identity, fields in entries]

    async def close(self) -> None:
        """Nothing is open."""


def seed_in(fields: Mapping[bytes, bytes]) -> bytes:
    """The seed of a stream's entry: a whole one in ``seed`` or ``data``, else one whose parts are
    fields: texts as they are, others in JSON.
    """
    whole = next((fields[name] for name in WHOLE if name in fields), None)
    if whole is not None:
        return whole
    parts: dict[str, Any] = {}
    for name, value in fields.items():
        part, text = name.decode("utf-8", "replace"), value.decode("utf-8", "replace")
        try:
            parts[part] = text if part in TEXTS else json.loads(text)
        except ValueError:
            parts[part] = text  # which the schema refuses, with the field's name
    return json.dumps(parts).encode()


class PileSource:
    """A list, a set or a sorted set."""

    is_over = False

    def __init__(self, source: Source, servers: Servers, worker: str, lease: float) -> None:
        self.name = source.name
        pile = servers.of(source).seed_pile(source.address, worker, lease)
        self.take, self.stored, self.live, self.leave = pile.take, pile.stored, pile.live, pile.leave
