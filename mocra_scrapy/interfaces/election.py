"""Who leads.

Numbers of terms are microseconds of the server's clock, or one more than the last. So they also
grow after a deletion by hand and after the server came back empty, as long as its clock does not go
back.

Roles are any text. A candidate's name is one that no other run of any process has
(:func:`mocra_scrapy.runtime.worker_name`). Time is the server's.
"""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import Term


class IElection(Interface):
    """One role that at most one candidate holds at a time, in terms that are numbered.

    ::

        from mocra_scrapy.backends import open_backend

        backend = open_backend("memory://")
        await backend.open()
        election = backend.election("reporter")
        term = await election.campaign("worker-a", 15)  # None: another one leads
        assert await election.campaign("worker-b", 15) is None
        assert await election.renew("worker-a", term.number, 15)  # every 5 seconds, say
        await election.resign("worker-a", term.number)

    A lease alone does not stop a leader that was paused. So each effect of a leader carries the
    number of its term, the *fencing token*, and is refused where a greater one was seen. Consider
    the following timeline (real numbers are longer)::

        time:  0, worker-a campaigns and leads in term 7, for 15 seconds.
        time:  1, worker-a freezes: its container is paused.
        time: 16, the lease has run out. worker-b campaigns and leads in term 8.
        time: 17, worker-b calls put("report", b"by b", fence=8): stored.
        time: 20, worker-a wakes in the middle of its work, as if no time had passed, and calls
                  put("report", b"by a", fence=7). If the fence were *not* compared, the work of
                  the new leader would be overwritten. It is: the answer is None.
        time: 21, worker-a calls renew("worker-a", 7, 15). False: it stops.

    See :meth:`IShared.put`. Effects outside the store need the same comparison at their target.
    """

    async def campaign(candidate: str, lease: float) -> Term | None:
        """Take the role for *lease* seconds if it is free (or already this candidate's, which
        begins no new term).

        * One at a time. [one_candidate_leads]
        * Each new term has a greater number than all before, also after the role was empty for
          long or its record was deleted by hand: numbers begin at the server's clock. [terms_grow]
        * A leader that campaigns again keeps its term. [campaigning_again_keeps_the_term]
        * If the server's clock is set back, or one with a slower clock takes over, time goes on from
          when it last gave the role or renewed it. So a leader that died keeps the role for its
          lease, counted from the first call after that, at most.
          [a_clock_set_back_keeps_no_role_from_anybody]
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
