"""Slots of which nothing succeeds any more: given up as a whole, so that a crawl ends."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import Attempts, StallRules, StallState


class IStalls(Interface):
    """The slots of one crawl that fail, on the state of its queue.

    ::

        failing ──longest seconds and attempts──► given up ──replay, reset, a success──► as before
           │  ▲                                      │
           └──┘ a success: its clock begins anew     └► what is stored of it becomes dead letters,
                                                        reason ``stalled``, a part with each exchange
    """

    rules: StallRules = Attribute("What it was made with.")

    async def report(attempts: Sequence[Attempts]) -> Sequence[StallState]:
        """Count *attempts*; answers those slots that this report gave up.

        A report whose answer was lost is not to be repeated: it counted once or not at all.

        * A slot is given up when its clock shows ``rules.longest`` seconds *and* so many attempts
          failed one after the other. [a_slot_that_stalls_is_given_up]
        * Attempts of all workers count together; those that were under way at the same time are
          one. [attempts_under_way_together_are_one]
        * A success anywhere sets clock and attempts back. [a_success_ends_a_stall]
        * The clock stands still while the site asked to be left alone, until ``rules.attempts``
          attempts behind such waits failed: then its waits are no longer believed, and count.
          [a_wait_that_the_site_asked_for_is_believed_so_often]
        * It stands still while the worker that tells could not try
          [a_worker_that_could_not_try_says_so], while a quota of the slot is used up
          [a_used_up_quota_is_no_stall], while the slot is paused
          [a_pause_stops_the_stall_clock], and while nothing of it is stored.
          [a_slot_without_requests_does_not_stall]
        * What is pending, delayed or comes back of a slot that was given up, and what is pushed
          from then on, becomes a dead letter: a bounded number with each exchange that wants
          leases, of which ``next_due`` is 0 as long as some are left. Nothing of it is leased.
          [a_given_up_slot_becomes_letters] [what_is_given_up_moves_in_bounded_steps]
          [new_entries_of_a_given_up_slot_become_letters]
        * Other slots go on [other_slots_go_on], and what of theirs is delayed comes when it is due.
          [what_is_delayed_keeps_its_order_when_a_slot_is_given_up]
        * A replay of one of its letters opens the slot again, [a_replay_opens_a_given_up_slot], so
          does the end of the run. [giving_up_ends_with_the_run]
        * The breaker gives a slot up in the same way, see :class:`~mocra_scrapy.models.BreakerRules`.
          [a_slot_that_opens_too_often_is_given_up]

        Raises:
            BackendUnavailable: nothing is known about this report.
        """

    async def look(slot: str) -> StallState:
        """How *slot* stands. [a_look_shows_the_stall]"""

    async def reset(slot: str) -> bool:
        """Forget its failures, and open it if it was given up; ``False``: it was not.
        [a_reset_opens_a_given_up_slot]
        """
