"""The component behind ``mocra.cache``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError

if TYPE_CHECKING:
    from mocra_scrapy.cache.shared_cache import SharedCache
    from mocra_scrapy.interfaces import IBackend, ILocks


class Caches:
    """The namespaces that this crawler uses.

    Args:
        backend: where they are.
        worker: this worker's name.
        locks: those of ``mocra.lock``.
        everywhere, special: what :func:`~mocra_scrapy.settings.cache.read_caches` gave.
        count: gets the name of a stat, and by how much it grows.
    """

    def __init__(
        self,
        backend: IBackend,
        worker: str,
        locks: Callable[[], ILocks],
        settings: tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]],
        count: Callable[[str, int], None],
    ) -> None:
        self._backend, self._worker, self._locks, self._count = backend, worker, locks, count
        self._everywhere, self._special = settings
        self._known: dict[str, SharedCache] = {}
        self._opened = False

    def cache(self, namespace: str, arguments: Mapping[str, Any]) -> SharedCache:
        """The one of that name. *arguments* go before the settings.

        Raises:
            ConfigurationError: an argument is wrong, or was different before.
        """
        from mocra_scrapy.cache.options import cache_options
        from mocra_scrapy.cache.shared_cache import SharedCache

        known = self._known.get(namespace)
        if known is not None and not arguments:
            return known
        given = {**self._special.get(namespace, {}), **arguments}
        options = cache_options(namespace, given, self._everywhere)
        if known is not None:
            if known.options != options:
                raise ConfigurationError(
                    f"cache {namespace!r}",
                    f"it is used as {known.options} and as {options}",
                    "Say it once, in MOCRA_CACHES",
                )
            return known
        # A namespace of the suite's own can't be hit by accident.
        made = self._known[namespace] = SharedCache(
            namespace,
            self._backend.cache(f"user:{namespace}", options.bounds),
            self._backend.shared_values(f"cache:user:{namespace}"),
            self._locks(),
            options,
            holder=self._worker,
            count=self._count,
        )
        if self._opened:
            made.start()
        return made

    async def open(self) -> None:
        self._opened = True
        for cache in self._known.values():
            cache.start()

    async def close(self) -> None:
        for cache in self._known.values():
            await cache.close()
