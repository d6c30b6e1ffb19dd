"""What crawls share for a while: values with a time to live, counters, sorted sets.

Names are text, 1 to 1,024 bytes of it in UTF-8; values are bytes. A namespace belongs to all crawls on
the backend with the same key prefix. Time is the server's (the process's on ``memory://``), to the
millisecond. Everything ends, and everything is bounded: see
:class:`~mocra_scrapy.models.CacheBounds`.

What is refused before anything is sent (a name, a value that is too large, a time to live) raises
:class:`~mocra_scrapy.exceptions.ConfigurationError`.
"""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import CacheBounds, Cached, CacheSize


class ISortedSets(Interface):
    """Sorted sets by name: members with a score each, a name of theirs apart from those of values.

    Members are text, 1 to 1,024 bytes of it.
    """

    async def add_members(name: str, members: Mapping[str, float], ttl: float) -> int:
        """Add *members* with their scores, or give those that are there a new score; how many were
        not there. The whole set ends *ttl* seconds from now, or when it would have without this
        call, whichever is later. [a_sorted_set_is_like_its_model] [a_sorted_set_ends_as_a_whole]

        A score is a finite number. [a_score_is_a_number] A full namespace makes room as for
        :meth:`ICache.set`; a set that alone is too large for it loses its lowest scores.
        [a_sorted_set_makes_room]
        """

    async def members(
        name: str, low: float = -inf, high: float = inf, *, most: int = 100, skip: int = 0, descending: bool = False
    ) -> Sequence[tuple[str, float]]:
        """Members with scores from *low* to *high*, both included, by score and, where that is the
        same, by their bytes; the greatest first if *descending*. *most* at most (10,000), after the
        first *skip*. [members_are_given_by_score]
        """

    async def remove_members(name: str, members: Sequence[str]) -> int:
        """Remove these; how many were there. A set without members is gone."""

    async def count_members(name: str, low: float = -inf, high: float = inf) -> int:
        """How many have scores from *low* to *high*, both included."""


class ICache(ISortedSets):
    """One namespace.

    ::

        from mocra_scrapy.backends import open_backend

        backend = open_backend("memory://")
        await backend.open()
        cache = backend.cache("pages")
        await cache.set("a", b"1", ttl=60)
        assert (await cache.get("a")).value == b"1"
        assert await cache.add("a", b"2", ttl=60) is False  # it is there
        assert await cache.increment("visits", ttl=60) == 1
        assert await cache.delete(["a"]) == 1
        assert await cache.get("a") is None

    Attributes:
        bounds: what it may hold.
        evicted: entries that this object's writes removed before their end, since it was made.
    """

    bounds: CacheBounds = Attribute("What the namespace may hold.")
    evicted: int = Attribute("Entries that writes of this object removed before their end, to make room.")

    async def get(name: str) -> Cached | None:
        """The entry; ``None``: there is none. One round trip. [an_entry_comes_back_byte_for_byte]

        It is there until its time to live is over, and not a millisecond longer.
        [an_entry_ends_to_the_millisecond]
        """

    async def get_many(names: Sequence[str]) -> Sequence[Cached | None]:
        """The same for many, in their order, in one round trip where the answer has less than 4 MiB;
        more, and large values, are fetched in parts, so that the server is never busy for long.
        [many_entries_come_in_order]
        """

    async def set(name: str, value: bytes, ttl: float) -> None:
        """Store *value* for *ttl* seconds, whatever is there.

        * Where the namespace is full, room is made first: what is over goes, then entries that end
          first, sorted sets as a whole, the new one not among them. [a_full_namespace_makes_room]
        * No more than *max_entries* and *max_bytes* stay; entries that had to go are counted.
          [what_had_to_go_is_counted]
        * A value of more than *max_value_bytes* is refused. [a_value_too_large_is_refused]
        """

    async def set_many(values: Mapping[str, bytes], ttl: float) -> None:
        """The same for many, in few round trips. Not one step: after BackendUnavailable some may be
        stored. [many_entries_are_stored]
        """

    async def add(name: str, value: bytes, ttl: float) -> bool:
        """Store *value* only where nothing is; whether it was stored. Of many who add at the same
        time one succeeds. [an_entry_is_added_once]
        """

    async def touch(name: str, ttl: float) -> bool:
        """Let the entry end *ttl* seconds from now; ``False``: there is none.
        [a_touched_entry_ends_later]
        """

    async def increment(name: str, by: int = 1, ttl: float = 3600.0) -> int:
        """Add *by* to a whole number of 64 bits, 0 where none is; what it is now. No increment is
        lost, whoever adds at the same time. [no_increment_is_lost] It is stored as decimal text, and
        :meth:`set` may have stored it.

        *ttl* is that of a new entry; one that is there ends when it would have ended.
        [a_counter_keeps_its_end]

        Raises ConfigurationError: it is no such number, or would not be afterwards; nothing changed.
        [what_is_no_number_is_not_counted] After BackendUnavailable it may have been added.
        """

    async def delete(names: Sequence[str]) -> int:
        """Delete these, values and sorted sets; how many were there. [deleted_entries_are_gone]"""

    async def delete_if(name: str, value: bytes) -> bool:
        """Delete the value *name* where it still is *value*; whether it was: what somebody stored
        meanwhile stays. [only_that_value_is_deleted]
        """

    async def names(prefix: str = "", after: str = "", most: int = 100) -> Sequence[str]:
        """Names of values that begin with *prefix* and stand behind *after*, in the order of their
        bytes, *most* at most (10,000).

        The last name of an answer is *after* of the next call, until an answer is empty: what is
        there all the time comes once. A call costs what it gives, however much there is in the
        namespace or on the server. [names_are_given_in_pages]
        """

    async def size() -> CacheSize:
        """How much there is. [a_namespace_knows_its_size]"""

    async def clear() -> None:
        """Delete everything, a bounded number of sorted sets in a step. What others store meanwhile
        may stay. [a_cleared_namespace_is_empty]
        """

    def watch() -> AsyncIterator[str]:
        """Names of values that were stored, touched or deleted by anybody, for ever; ``"*"`` at the
        beginning, after :meth:`clear`, and whenever some may have been missed. Not those that ended
        or had to go. [watchers_hear_of_changed_entries]

        End the task that iterates, or close the iterator: nothing else ends it.
        """

    async def close() -> None:
        """Stop listening. May be called twice."""
