"""``SharedPages``: the entries of one scope on the backend. What goes wrong with them is a miss, with
one line in the log, and never the crawl's trouble.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urldefrag, urlsplit

from mocra_scrapy.cache.httpcache.codings import codings_of, decoded
from mocra_scrapy.cache.httpcache.messages import Stored
from mocra_scrapy.cache.httpcache.page_dictionary import PageDictionary
from mocra_scrapy.cache.httpcache.record import (
    body_bytes,
    compressed,
    decompressed,
    dictionary_of,
    pack,
    payload_bytes,
    unpack,
)
from mocra_scrapy.exceptions import MocraError, UnreadablePayload

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import ICache
    from mocra_scrapy.models import Cached
    from mocra_scrapy.settings.httpcache import HttpCacheOptions

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds for which nothing is asked of a backend that did not answer, and that one call may take.
PAUSE, LONGEST = 2.0, 5.0
#: Seconds without trouble after which the next one is told of again: a server that is nearly full refuses
#: one page and takes the next.
QUIET = 60.0
#: Bytes of a body above which it is packed, compressed and read in a thread: the event loop would stand
#: meanwhile.
LARGE = 262_144
#: What the name of a user begins with who is a session of a pool; how entries of such users are marked.
POOL, POOLED = "pool:", "~p"
#: Entries of a page that a replay looks at.
MOST_POOLED = 8
#: What a decoded body may have, for each byte of ``MOCRA_HTTPCACHE_ENTRY_MAX_BYTES``.
INFLATED = 16


class Counting(Protocol):
    """The part of Scrapy's stats that is used here."""

    def inc_value(self, key: str, count: int = 1, start: int = 0) -> None: ...


def page_name(url: str, user: str = "") -> str:
    """The name of the entry of *url* that *user* has. It begins with the host, so that a site's entries
    are found without looking at others; and those of all users begin with what it is without one.
    """
    url = urldefrag(url).url
    return f"page:{_host(url)}/{_digest(url)}{_of(user)}"


def print_name(url: str, fingerprint: bytes, user: str = "") -> str:
    """The same for Scrapy's policies, which know an entry by its request's fingerprint."""
    return f"print:{_host(url)}/{fingerprint.hex()[:128]}{_of(user)}"


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2][:253].lower()


def _of(user: str) -> str:
    return f"{POOLED if user.startswith(POOL) else '~'}{_digest(user)}" if user else ""


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class SharedPages:
    """The entries of one scope.

    Args:
        cache: where they are.
        stats: counts what is stored, and what can't be read.
        clock: seconds since 1970. It may be wrong: what counts is the server's, see
            :func:`~mocra_scrapy.cache.httpcache.record.pack`.

    Attributes:
        dictionary: what their bodies are compressed with.
    """

    def __init__(
        self, cache: ICache, options: HttpCacheOptions, stats: Counting, clock: Callable[[], float] = time.time
    ) -> None:
        self._cache, self._options, self._stats, self._clock = cache, options, stats, clock
        self.dictionary = PageDictionary(cache)
        # Monotonic. A full server can be read from: a page that was not stored is no reason not to look.
        self._no_reads, self._no_writes, self._trouble = 0.0, 0.0, -math.inf
        self._told: set[str] = set()

    def name(self, url: str, user: str = "") -> str:
        """See :func:`page_name`."""
        return page_name(url, user)

    async def read(self, name: str) -> list[Stored]:
        """The responses stored under *name*; none where they can't be had."""
        found = await self._asked(self._cache.get(name), "read")
        if found is None:
            return []
        try:
            variants = await self._unpacked(found.value, found.expires_in)
        except UnreadablePayload as error:
            self._stats.inc_value("mocra/httpcache/unreadable")
            self._stats.inc_value("httpcache/retrieve_error")
            self._tell("unreadable", "HTTP cache: an entry can't be read and counts as a miss (%s: %s)", name, error)
            return []
        oldest = self._clock() - self._options.keep
        return [one for one in variants if one.received > oldest]

    async def read_pooled(self, name: str) -> list[Stored]:
        """What is stored of that page for sessions of pools."""
        names = await self._asked(self._cache.names(f"{name}{POOLED}", "", MOST_POOLED), "read") or ()
        return [one for of in names for one in await self.read(of)]

    async def write(self, name: str, variants: Sequence[Stored], *, personal: bool = False) -> bool:
        """Store *variants* in the place of what was there; whether it was done.

        Args:
            personal: made for somebody: no dictionary learns from it.
        """
        options = self._options
        if _weight(variants) > LARGE:
            variants, payload = await asyncio.to_thread(self._packed, variants)
        else:
            variants, payload = self._packed(variants)
        if payload is None:
            self._stats.inc_value("mocra/httpcache/too_large")
            return False
        if not personal:
            self.dictionary.learn(name, payload)
        dictionary = self.dictionary.current
        if len(payload) > LARGE:
            value = await asyncio.to_thread(compressed, payload, None)
        else:
            value = compressed(payload, dictionary)
        if len(value) + len(name) > options.entry_max_bytes:
            self._stats.inc_value("mocra/httpcache/too_large")
            return False
        done = await self._asked(self._set(name, value), "store") is True
        if done:
            self._stats.inc_value("mocra/httpcache/stored_bytes", len(value))
            self._stats.inc_value("mocra/httpcache/body_bytes", body_bytes(variants))
        return done

    async def _set(self, name: str, value: bytes) -> bool:
        await self._cache.set(name, value, self._options.keep)
        return True

    async def write_plainly(self, names: Sequence[str]) -> None:
        """Write these entries so that they need no dictionary; nothing where one does not, or can't be read.
        What a worker stores meanwhile stays.

        Raises:
            BackendUnavailable: the backend does not answer.
        """
        there = zip(names, await self._cache.get_many(names), strict=True)
        await asyncio.gather(*(self._write_plainly(name, found) for name, found in there if found is not None))

    async def _write_plainly(self, name: str, found: Cached) -> None:
        if (identity := dictionary_of(found.value)) is None:
            return
        dictionary = self.dictionary.known.get(identity) or await self.dictionary.find(identity)
        if dictionary is None:
            return
        try:
            payload = dictionary.decompress(found.value, self._options.entry_max_bytes * INFLATED + 1_048_576)
        except UnreadablePayload:
            return  # a miss before and after
        value = compressed(payload, None)
        if not await self._cache.delete_if(name, found.value):
            return
        if len(value) + len(name) <= self._options.entry_max_bytes:  # else a miss, as nobody could read it
            await self._cache.add(name, value, found.expires_in)

    async def remove(self, names: Sequence[str]) -> None:
        """They are not to be used any more."""
        await self._asked(self._cache.delete(names), "remove")

    # ------------------------------------------------------------------ bytes

    def _packed(self, variants: Sequence[Stored]) -> tuple[Sequence[Stored], bytes | None]:
        """*variants* without codings, and packed; ``None``: they are too large."""
        variants = [self._decoded(one) for one in variants]
        if body_bytes(variants) > self._options.entry_max_bytes * INFLATED:
            return variants, None
        return variants, pack(variants, self._options.keep, self._clock())

    async def _unpacked(self, value: bytes, expires_in: float) -> list[Stored]:
        identity, dictionary = dictionary_of(value), None
        if identity is not None:
            dictionary = self.dictionary.known.get(identity) or await self._asked(
                self.dictionary.find(identity), "read"
            )
        most = self._options.entry_max_bytes * INFLATED + 1_048_576
        now = self._clock()

        def opened() -> list[Stored]:
            return unpack(decompressed(value, dictionary, most), expires_in, now)

        return await asyncio.to_thread(opened) if payload_bytes(value) > LARGE else opened()

    def _decoded(self, one: Stored) -> Stored:
        """Without codings: what is compressed already is compressed no further. What the spider sees is the
        same, for Scrapy decodes it behind the cache anyway; what Scrapy would refuse as too large is left to it.
        """
        if not self._options.decoding or b"content-encoding" not in one.fields or not one.answer.body:
            return one
        most = self._options.entry_max_bytes * INFLATED
        answer = decoded(one.answer, min(most, self._options.download_maxsize or most))
        if answer is None:
            return one
        coding = b", ".join(codings_of(one.answer)).decode("latin-1")
        return replace(one, answer=answer, extra={**one.extra, "coding": coding})

    # ------------------------------------------------------------------ trouble

    async def _asked(self, call: Awaitable[T], verb: str) -> T | None:
        """What *call* answers; ``None`` where the backend does not, or not in time."""
        if time.monotonic() < (self._no_writes if verb == "store" else self._no_reads):
            close = getattr(call, "close", None)
            if close is not None:
                close()  # never awaited
            return None
        task = asyncio.ensure_future(call)
        try:
            done, _ = await asyncio.wait({task}, timeout=LONGEST)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            task.add_done_callback(_looked_at)
            self._away("read", f"no answer within {LONGEST:g} s", verb)
            return None
        try:
            answer = task.result()
        except MocraError as error:
            self._away(verb, error, verb)
            return None
        if self._told and time.monotonic() - self._trouble >= QUIET:
            self._told.discard("away")
        return answer

    def _away(self, pausing: str, error: object, verb: str) -> None:
        self._trouble = time.monotonic()
        self._no_writes = self._trouble + PAUSE
        if pausing != "store":
            self._no_reads = self._no_writes
        self._stats.inc_value("mocra/httpcache/unavailable")
        self._tell("away", "HTTP cache: pages are fetched as if it were empty, for it can't %s: %s", verb, error)

    def _tell(self, what: str, text: str, *args: object) -> None:
        """Once, until it went well for a while."""
        level = logging.DEBUG if what in self._told else logging.WARNING
        self._told.add(what)
        logger.log(level, text, *args)


def _weight(variants: Sequence[Stored]) -> int:
    """Bytes of their bodies, without codings about: gzip ends with the size of what is in it, modulo 4 GiB."""
    size = body_bytes(variants)
    for one in variants:
        if b"content-encoding" in one.fields:
            body = one.answer.body
            said = int.from_bytes(body[-4:], "little") if codings_of(one.answer) == [b"gzip"] else 0
            size += max(15 * len(body), said)
    return size


def _looked_at(task: asyncio.Future[T]) -> None:
    if not task.cancelled():
        task.exception()
