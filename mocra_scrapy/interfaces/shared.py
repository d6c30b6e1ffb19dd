"""What all know: named values.

Versions are microseconds of the server's clock, or one more than the last. So they also grow after
a deletion by hand and after the server came back empty, as long as its clock does not go back.
"""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import SharedValue


class IShared(Interface):
    """Named values with versions: flags, live settings, the state of cron jobs.

    ::

        from mocra_scrapy.backends import open_backend

        backend = open_backend("memory://")
        await backend.open()
        shared = backend.shared_values("flags")
        old = await shared.put("mode", b"fast")
        assert await shared.put("mode", b"slow", version=old.version)  # compare-and-set
        assert await shared.put("mode", b"off", version=old.version) is None  # somebody was faster
        assert (await shared.get("mode")).value == b"slow"
    """

    async def get(name: str) -> SharedValue:
        """The value; version 0 and ``None``: there is none. [a_value_comes_back_byte_for_byte]"""

    async def everything(prefix: str = "") -> Mapping[str, SharedValue]:
        """All values whose names begin with *prefix*. [values_are_listed_by_prefix]

        What none of us can have written comes back as it is, with version 0, here and from
        :meth:`get`: it stops nobody from reading the others. [a_damaged_value_stops_no_other]
        """

    async def versions(prefix: str = "") -> Mapping[str, int]:
        """The versions of these, without what they hold. [versions_are_listed_without_values]"""

    async def put(
        name: str,
        value: bytes | None,
        *,
        version: int | None = None,
        fence: int | None = None,
        lasts: float | None = None,
    ) -> SharedValue | None:
        """Store *value* (``None``: delete it).

        * Each change gives a greater version than all before, deletion included. [versions_grow]
        * With *version* only if that is the current one (0: only if there is none, or it was
          deleted); else ``None``. [a_stale_version_changes_nothing]
        * With *fence* (a term's number) only if no greater one has written this name; it is
          remembered with the value, also over deletion. [a_stale_fence_changes_nothing]
        * A name once written with a fence takes no writes without one from those who give a
          *version*; without either a person overrides. [a_person_overrides]
        * With *lasts* it is gone after so many seconds, as if somebody had deleted it, but nobody is
          told. [a_value_may_end_by_itself] A namespace keeps 20,000 values that end by themselves;
          of more than that those go first that end first.
          [values_that_end_are_bounded]

        Why a version is not enough (worker-a leads in term 7, worker-b will in term 8)::

            time: 0, worker-a reads "jobs": version 40. It freezes.
            time: 9, worker-b leads. It has written nothing yet: the version is still 40.
            time: 10, worker-a wakes and calls put("jobs", …, version=40, fence=7): stored, and
                      harmless, for worker-b has not read it yet.
            time: 11, worker-b reads version 41 and calls put("jobs", …, version=41, fence=8).
            time: 12, worker-a reads version 42 and calls put("jobs", …, version=42, fence=7).
                      The version is right, but the term is over. With the version alone the two
                      would go on overwriting each other. The answer is None, now and from then on.
        """

    def watch() -> AsyncIterator[str]:
        """Names that changed, for ever; ``"*"`` at the beginning and whenever some may have been
        missed.

        [every_watcher_hears_of_a_change] [a_cut_off_watcher_catches_up]

        End the task that iterates, or close the iterator: nothing else ends it.
        """

    async def close() -> None:
        """Stop listening. May be called twice."""
