"""``SharedCache``: values that all crawls on a backend share for a while: ``mocra.cache("prices")``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mocra_scrapy.cache.compression import LARGE, PLAIN, Compression
from mocra_scrapy.cache.computing import Computing
from mocra_scrapy.cache.local_layer import LocalLayer
from mocra_scrapy.cache.options import CacheOptions
from mocra_scrapy.cache.report import Report
from mocra_scrapy.cache.sorted_sets import SortedSet
from mocra_scrapy.cache.values import (
    as_number,
    is_number,
    pack_large,
    pack_value,
    read_large,
    read_number,
    read_value,
    seems_large,
)
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError, UnreadablePayload
from mocra_scrapy.models.cache import milliseconds

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import ICache, ILocks, IShared
    from mocra_scrapy.models import CacheSize

T = TypeVar("T")
#: Names that one call of :meth:`SharedCache.names` fetches.
PAGE = 500


class SharedCache:
    """One namespace: values by name, each with an end.

    Values are plain data: what JSON has, and bytes, tuples, sets, dates, ``Decimal``, ``UUID``. They
    come back with their types. A name is 1 to 1,024 bytes of text.

    Args:
        namespace: for people, and for the names of locks.
        cache: the entries.
        values: where the compression dictionary is.
        locks: for :meth:`get_or_compute`.
        options: see :class:`~mocra_scrapy.cache.options.CacheOptions`.
        holder: this worker's name.
        count: is told of what happens: a stat's name, and how often.

    Each method raises :class:`~mocra_scrapy.exceptions.BackendUnavailable` when the backend does not
    answer, or is full. With ``on_outage="miss"``, :meth:`get`, :meth:`get_many` and
    :meth:`get_or_compute` then find nothing, and what :meth:`set`, :meth:`set_many`, :meth:`touch` and
    :meth:`delete` would have done is left undone.
    """

    def __init__(
        self,
        namespace: str,
        cache: ICache,
        values: IShared,
        locks: ILocks,
        options: CacheOptions,
        *,
        holder: str = "",
        count: Callable[[str, int], None] = lambda stat, by: None,
    ) -> None:
        self.namespace, self.options = namespace, options
        self._cache = cache
        self._local = LocalLayer(cache, options.local)
        self._compression = Compression(values, most=options.bounds.max_value_bytes, trains=options.train)
        self._computing = Computing(locks, f"cache:{namespace}:", holder)
        self._report = Report(namespace, count, misses=options.on_outage == "miss")
        self._evicted = 0

    # ------------------------------------------------------------------ reading

    async def get(self, name: str, default: Any = None) -> Any:
        """The value, or *default* where there is none. One round trip, none where the local layer has
        it.
        """
        return (await self.get_many([name])).get(name, default)

    async def get_many(self, names: Sequence[str]) -> dict[str, Any]:
        """Those of *names* that are there, with their values. One round trip for less than 4 MiB."""
        found, rest = {}, []
        for name in dict.fromkeys(names):
            kept = self._local.get(name)
            if kept is None:
                rest.append(name)
            else:
                found[name] = await _value_of(kept)
        self._report.count("mocra/cache/local_hits", len(found))
        if rest:
            fetched = await self._fetch(rest)
            self._report.count("mocra/cache/hits", len(fetched))
            self._report.count("mocra/cache/misses", len(rest) - len(fetched))
            found.update(fetched)
        return found

    async def _fetch(self, names: Sequence[str]) -> dict[str, Any]:
        asked, kept, found = self._local.ask(set(names)), {}, {}
        try:
            for name, one in zip(names, await self._cache.get_many(names), strict=True):
                if one is None:
                    continue
                try:
                    plain = await self._plain(one.value)
                    found[name] = await _value_of(plain)
                    kept[name] = (plain, one.expires_in)
                except UnreadablePayload as error:
                    self._report.unreadable(name, error)
            self._report.back()
        except BackendUnavailable as error:
            self._report.gone(error)
        finally:
            self._local.answered(asked, kept)
        return found

    async def _plain(self, stored: bytes) -> bytes:
        """What is stored, without compression."""
        return stored if is_number(stored) else PLAIN + await self._compression.unpack(stored)

    async def names(self, prefix: str = "") -> AsyncIterator[str]:
        """The names that begin with *prefix*, in the order of their UTF-8, 500 a round trip. What is
        there all the time comes once.
        """
        last = ""
        while page := await self._cache.names(prefix, last, PAGE):
            for name in page:
                yield name
            last = page[-1]

    async def size(self) -> CacheSize:
        """Entries and bytes."""
        return await self._cache.size()

    # ------------------------------------------------------------------ writing

    async def set(self, name: str, value: Any, ttl: float | None = None) -> None:
        """Store *value* for *ttl* seconds (default: the namespace's), whatever is there.

        Raises:
            ConfigurationError: it can't be stored, or is too large; the text says why.
        """
        await self.set_many({name: value}, ttl)

    async def set_many(self, values: Mapping[str, Any], ttl: float | None = None) -> None:
        """The same for many, in few round trips. Not one step."""
        stored = {name: await self._pack(name, value) for name, value in values.items()}
        for name in stored:
            self._local.changed(name)
        try:
            await self._cache.set_many(stored, self._ttl(ttl))
            self._stored(len(stored))
        except BackendUnavailable as error:
            self._report.gone(error)

    async def add(self, name: str, value: Any, ttl: float | None = None) -> bool:
        """Store *value* only where nothing is; whether it was stored: of many who add one succeeds.
        Raises whatever *on_outage* says.
        """
        added = await self._cache.add(name, await self._pack(name, value), self._ttl(ttl))
        self._local.changed(name)
        self._stored(int(added))
        return added

    async def increment(self, name: str, by: int = 1, ttl: float | None = None) -> int:
        """Add to a whole number, 0 where none is; what it is now. *ttl* is that of a new one; one that
        is there keeps its end. Raises whatever *on_outage* says: it may have been added.
        """
        number = await self._cache.increment(name, by, self._ttl(ttl))
        self._local.changed(name)
        self._stored(1)
        return number

    async def touch(self, name: str, ttl: float | None = None) -> bool:
        """Let the entry end *ttl* seconds from now; ``False``: there is none."""
        try:
            return await self._cache.touch(name, self._ttl(ttl))
        except BackendUnavailable as error:
            self._report.gone(error)
            return False
        finally:
            self._local.changed(name)

    async def delete(self, *names: str) -> int:
        """Delete these, values and sorted sets; how many were there."""
        for name in names:
            self._local.changed(name)
        try:
            return await self._cache.delete(names)
        except BackendUnavailable as error:
            self._report.gone(error)
            return 0

    async def clear(self) -> None:
        """Delete everything. Raises whatever *on_outage* says."""
        await self._cache.clear()
        self._local.changed("*")

    def sorted_set(self, name: str, ttl: float | None = None) -> SortedSet:
        """A sorted set that ends *ttl* seconds (default: the namespace's) after its last change."""
        return SortedSet(self._cache, name, self._ttl(ttl), self._stored)

    # ------------------------------------------------------------------ computing

    async def get_or_compute(
        self,
        name: str,
        compute: Callable[[], Awaitable[T]],
        ttl: float | None = None,
        *,
        wait: float = 30.0,
        lease: float = 10.0,
    ) -> T:
        """The value; where there is none, what ``await compute()`` gives, stored. Of all workers that
        miss it at the same time one computes, and the others wait.

        Args:
            name: of the value.
            compute: a function that gives an awaitable. It must not block the event loop for as long
                as *lease*.
            ttl: seconds that the computed value lasts.
            wait: seconds to wait for others at most.
            lease: seconds (0.1 to 86,400) after which another worker takes over when the one that
                computes says nothing: it was killed, or is frozen. Then it is computed twice.

        What can't be stored (too large, no plain data, no answer of the backend) is given all the same.

        Raises:
            ConfigurationError: *ttl* is wrong: before anything is computed. Or *compute* asks for *name*
                itself.
            LockTimeout: somebody else took longer than *wait* seconds.
            Exception: what *compute* raised. One of the others tries next.
        """
        milliseconds(self._ttl(ttl))
        found = await self._look(name)
        if found is None and not self._report.is_away:
            try:
                found = await self._computing.once(
                    name,
                    lambda: self._look(name),
                    lambda held: self._compute(name, compute, ttl, held),
                    wait=wait,
                    lease=lease,
                )
            except BackendUnavailable as error:
                self._report.gone(error)
        if found is None:  # away, and whoever asks wants a miss then
            self._report.count("mocra/cache/computed")
            return await compute()
        value: T = found[0]
        return value

    async def _look(self, name: str) -> tuple[Any] | None:
        found = await self.get_many([name])
        return (found[name],) if name in found else None

    async def _compute(
        self, name: str, compute: Callable[[], Awaitable[T]], ttl: float | None, held: Callable[[], bool]
    ) -> tuple[T]:
        self._report.count("mocra/cache/computed")
        value = await compute()
        if held():  # else somebody else has taken over
            try:
                await self.set(name, value, ttl)
            except BackendUnavailable as error:
                self._report.not_stored(name, error)
            except ConfigurationError as error:
                self._report.unfit(name, error)
        return (value,)

    # ------------------------------------------------------------------ inside

    def _ttl(self, ttl: float | None) -> float:
        return self.options.ttl if ttl is None else ttl

    async def _pack(self, name: str, value: Any) -> bytes:
        number = as_number(value)
        if number is not None:
            return number
        payload = await asyncio.to_thread(pack_large, name, value) if seems_large(value) else pack_value(name, value)
        most = self.options.bounds.max_value_bytes
        if len(payload) > most:
            raise ConfigurationError(
                f"cache value {name!r}",
                f"{len(payload)} bytes and its name, more than max_value_bytes = {most}",
                "Raise that bound of the namespace, or store less",
            )
        return await self._compression.pack(payload)

    def _stored(self, count: int) -> None:
        """After a write: what it stored, and what had to go for it."""
        self._report.back()
        self._report.count("mocra/cache/stored", count)
        went, self._evicted = self._cache.evicted - self._evicted, self._cache.evicted
        self._report.evicted(went, self.options.bounds)

    def start(self) -> None:
        """Listen for changes in a task of the running loop, where there is a local layer. Before, it is
        not used.
        """
        self._local.start()

    async def close(self) -> None:
        """May be called twice."""
        await self._local.close()
        await self._compression.close()
        await self._cache.close()


async def _value_of(plain: bytes) -> Any:
    """The value of what is stored without compression: its own copy for each who asks."""
    if len(plain) > LARGE:
        return await asyncio.to_thread(read_large, plain[len(PLAIN) :])
    return read_number(plain) if is_number(plain) else read_value(plain[len(PLAIN) :])
