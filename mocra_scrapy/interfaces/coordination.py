"""Who leads, who holds what, what all know, who is there.

Numbers and versions are microseconds of the server's clock, or one more than the last: so they grow
also over a deletion by hand and a server that came back empty, as long as its clock does not go
back then.

Names are any text. Owners, candidates and workers are names that no other run of any process has
(:func:`mocra_scrapy.settings.identity.worker_name`). Time is the server's; leases are seconds.
"""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from zope.interface import Interface

from mocra_scrapy.models import Grant, SharedValue, Term, WorkerReport


class IElection(Interface):
    """One role that at most one candidate holds at a time, in terms that are numbered.

    A lease alone does not stop a leader that was paused: each effect of a leader carries the number
    of its term (the fencing token) and is refused where a greater one was seen, see
    :meth:`IShared.put`.
    """

    async def campaign(candidate: str, lease: float) -> Term | None:
        """Take the role for *lease* seconds if it is free (or already this candidate's, which
        begins no new term).

        * One at a time. [one_candidate_leads]
        * Each new term has a greater number than all before, also after the role was empty for
          long or its record was deleted by hand: numbers begin at the server's clock. [terms_grow]
        * A leader that campaigns again keeps its term. [campaigning_again_keeps_the_term]
        """

    async def renew(candidate: str, number: int, lease: float) -> bool:
        """Keep the role for *lease* seconds from now.

        ``False``: the term is over, be it that another one leads or only that it ran out.
        [a_stale_term_is_not_renewed]
        """

    async def resign(candidate: str, number: int) -> bool:
        """Give the role up at once. ``False``: it was not this term's.
        [a_resigned_role_is_free] [a_stale_term_resigns_nothing]
        """

    async def leader() -> Term | None:
        """Who leads; ``None``: nobody. [the_leader_is_known_to_all]"""


class ILocks(Interface):
    """Locks, and semaphores of *limit* permits, by name. Nobody but the owner releases; nobody holds
    for ever.
    """

    async def acquire(name: str, owner: str, ttl: float, *, limit: int = 1, patience: float = 0.0) -> Grant | None:
        """Take one place for *ttl* seconds; ``None``: all *limit* are taken, or spoken for. Doesn't
        wait.

        * Who asks with *patience* stands in line until it asks again, for so many seconds at most:
          the first who began to ask is the first served, and nobody passes by.
          [who_waits_is_served_in_order] [who_stopped_waiting_holds_nobody_up]
        * No more than *limit* owners at a time; who asks says how many, so all should say the same.
          [a_lock_has_one_owner] [a_semaphore_has_limited_places]
        * An owner that holds it already gets the same grant, renewed: so a repeated call is
          harmless. [acquiring_again_is_renewing]
        * Each grant of a name has a greater number than all before. [grants_grow]
        * A place that was not renewed in time is free. [an_expired_lock_is_free]
        """

    async def renew(name: str, owner: str, number: int, ttl: float) -> bool:
        """Hold for *ttl* seconds from now. ``False``: it was lost. [a_lost_lock_is_not_renewed]"""

    async def release(name: str, owner: str, number: int) -> bool:
        """Free the place. ``False``: it was not this grant's (any more), and nothing changed. With
        *number* 0: whatever this owner holds, and its place in line, for who gave up before it heard
        the answer. [an_owner_gives_up_without_a_number]
        [only_the_owner_releases]
        """

    async def wait(name: str, timeout: float) -> bool:
        """Sleep until a place of *name* may have become free; ``False`` after *timeout* seconds.
        [a_release_wakes_those_who_wait]

        A wake-up may come for nothing, and may be lost: callers try again now and then.
        """

    async def holders(name: str) -> Sequence[Grant]:
        """Who holds it now. [holders_are_listed]"""

    async def close() -> None:
        """Stop listening. May be called twice."""


class IShared(Interface):
    """Named values with versions: flags, live settings, the state of cron jobs."""

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
        name: str, value: bytes | None, *, version: int | None = None, fence: int | None = None
    ) -> SharedValue | None:
        """Store *value* (``None``: delete it).

        * Each change gives a greater version than all before, deletion included. [versions_grow]
        * With *version* only if that is the current one (0: only if there is none, or it was
          deleted); else ``None``. [a_stale_version_changes_nothing]
        * With *fence* (a term's number) only if no greater one has written this name; it is
          remembered with the value, also over deletion. [a_stale_fence_changes_nothing]
        * A name once written with a fence takes no writes without one from those who give a
          *version*; without either a person overrides. [a_person_overrides]
        """

    def watch() -> AsyncIterator[str]:
        """Names that changed, for ever; ``"*"`` at the beginning and whenever some may have been
        missed.

        [every_watcher_hears_of_a_change] [a_cut_off_watcher_catches_up]

        End the task that iterates, or close the iterator: nothing else ends it.
        """

    async def close() -> None:
        """Stop listening. May be called twice."""


class IWorkers(Interface):
    """Who is there: for people and for tools. No decision of the queue hangs on it."""

    async def announce(report: WorkerReport, ttl: float) -> None:
        """Say that this worker lives; it is listed for *ttl* seconds.
        [an_announced_worker_is_listed] [a_silent_worker_vanishes]
        """

    async def leave(worker: str) -> None:
        """Off the list at once. [a_leaving_worker_vanishes]"""

    async def workers(crawl: str | None = None) -> Sequence[WorkerReport]:
        """Everybody, or those of one crawl, by name. [workers_are_listed_by_crawl]"""
