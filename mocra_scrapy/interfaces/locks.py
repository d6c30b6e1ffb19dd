"""Who holds what: locks and semaphores.

Numbers of grants are microseconds of the server's clock, or one more than the last. So they also
grow after a deletion by hand and after the server came back empty, as long as its clock does not go
back.

Names are any text. An owner's name is one that no other run of any process has
(:func:`mocra_scrapy.settings.identity.worker_name`). Time is the server's.
"""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import Grant


class ILocks(Interface):
    """Locks, and semaphores of *limit* permits, by name. Only the owner releases; nobody holds for
    ever.

    ::

        from mocra_scrapy.backends import open_backend

        backend = open_backend("memory://")
        await backend.open()
        locks = backend.locks()
        grant = await locks.acquire("login", "worker-a", 30)
        assert await locks.acquire("login", "worker-b", 30) is None  # taken
        assert await locks.release("login", "worker-a", grant.number)
        assert await locks.acquire("login", "worker-b", 30)
    """

    async def acquire(name: str, owner: str, ttl: float, *, limit: int = 1, patience: float = 0.0) -> Grant | None:
        """Take one permit for *ttl* seconds; ``None``: all *limit* are taken, or spoken for. Doesn't
        wait.

        * Who asks with *patience* stands in line until it asks again, for so many seconds at most:
          the first who began to ask is the first served, and nobody passes by.
          [who_waits_is_served_in_order] [who_stopped_waiting_holds_nobody_up]
        * No more than *limit* owners at a time; who asks says how many, so all should say the same.
          [a_lock_has_one_owner] [a_semaphore_has_limited_places]
        * An owner that holds it already gets the same grant, renewed: so a repeated call is
          harmless. [acquiring_again_is_renewing]
        * Each grant of a name has a greater number than all before. [grants_grow]
        * A permit that was not renewed in time is free. [an_expired_lock_is_free] So it is when the
          server's clock was set back meanwhile. [a_clock_set_back_keeps_no_lock_taken]
        """

    async def renew(name: str, owner: str, number: int, ttl: float) -> bool:
        """Hold for *ttl* seconds from now. ``False``: it was lost. [a_lost_lock_is_not_renewed]"""

    async def release(name: str, owner: str, number: int) -> bool:
        """Free the permit. ``False``: it was not this grant's (any more), and nothing changed.
        [only_the_owner_releases] With *number* 0: whatever this owner holds, and its place in line,
        for who gave up before it heard the answer. [an_owner_gives_up_without_a_number] That wakes
        those who stood behind it. [who_leaves_the_line_wakes_those_behind]
        """

    async def wait(name: str, timeout: float) -> bool:
        """Sleep until a permit of *name* may have become free; ``False`` after *timeout* seconds.
        [a_release_wakes_those_who_wait]

        A wake-up may come for nothing, and may be lost: callers try again now and then.
        """

    async def holders(name: str) -> Sequence[Grant]:
        """Who holds it now. [holders_are_listed]"""

    async def close() -> None:
        """Stop listening. May be called twice."""
