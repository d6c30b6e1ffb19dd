"""Limits beside the leases of the queue, on the same state: departures of requests that bypass the
queue, holds, live changes.
"""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import Booking, LimitChange, Quota, Reservation, SlotState


class IRateLimiter(Interface):
    """The slots and scopes of one crawl. What is said here holds for :meth:`IRequestQueue.exchange`
    from the next call on.

    A departure is *booked*, not polled for: whoever may not go now learns when::

        from mocra_scrapy.backends import open_backend
        from mocra_scrapy.models import QueueOptions, Reservation, RuleSet, SlotLimit

        backend = open_backend("memory://")
        await backend.open()
        options = QueueOptions(rules=RuleSet(SlotLimit(interval=2.0)))
        limiter = backend.rate_limiter("books", options)
        first, second = await limiter.reserve([Reservation(("example.com",))] * 2)
        assert (first.wait, round(second.wait)) == (0.0, 2)  # sleep so long, then send
        await limiter.hold("example.com", 30)  # it answered 429, Retry-After: 30
        assert (await limiter.look("example.com")).wait > 29

    Limits are what the rules in force say, see :class:`IThrottleRules`. ``options.rules`` count for
    a call, too, where no living worker has them. [a_limiter_brings_its_rules] Changes and pauses end
    with the run. [limits_end_with_the_run]
    """

    async def reserve(wishes: Sequence[Reservation]) -> Sequence[Booking]:
        """Book departures, in order.

        * A booking counts for leases, and the other way round.
          [bookings_and_leases_share_one_state]
        * What would wait for more than ``max_wait`` is not booked. [a_long_wait_is_not_booked]
        * A reservation of several names waits for all of them. [a_booking_waits_for_all_its_names]
        * In any stretch of time no more departures than ``burst + time / interval``.
          [bookings_keep_the_rate] While workers with other rules come and go, by the strictest of
          those that live. [a_rolling_restart_keeps_the_strictest]
        * In any window of a quota, wherever it begins, no more than its count, however many workers,
          runs and restarts of the store there are; room opens a hundredth of the window late at most.
          [a_quota_holds_in_any_window] [a_used_up_quota_waits_until_it_opens]
          [quotas_outlast_the_run] What is given back does not count.
          [what_is_given_back_does_not_count] Nor does any of several quotas allow what another one
          doesn't. [all_quotas_hold]
        * A booking that is given back (``instead``, or ``bounds.unused`` of an exchange) is free for
          others: the last ones make room for any time [the_last_bookings_given_back_make_room], one
          before others for that instant only, or none of them would keep its distance.
          [an_instant_between_others_is_booked_again] What was set anew meanwhile stays.
          [nothing_is_taken_back_from_before_a_change]
        """

    async def hold(name: str, seconds: float) -> None:
        """Nobody departs before so many seconds are over (``Retry-After``); workers that have
        requests of it are woken and notified.

        A hold never shortens another one. [a_hold_stops_everybody] [a_hold_never_shortens]
        """

    async def slow_down(
        name: str, *, floor: float, recovery: float, most: float, calm: float, rate: float = 0.0, worker: str = ""
    ) -> float:
        """Halve the rate: the interval is twice what it was, *most* at most; answers the new one.

        * What it was is the longer one of the limit's own and of what was measured: *worker* had
          *rate* departures a second, and as many permits as it has of all, so much of the
          cluster's. [the_measured_rate_is_halved] Where neither is known it is *floor* now.

        * It recovers by the part *recovery* a minute, until the limit's own interval is reached.
          [the_rate_recovers]
        * Within *calm* seconds of the last time nothing changes: requests that were under way fail
          together. [one_failure_halves_once]
        """

    async def change(name: str, change: LimitChange) -> None:
        """Change a limit while the crawl runs; an empty change goes back to the settings.
        [a_change_holds_at_once] What is booked keeps its distance from what is booked after the
        change. [a_shorter_interval_spares_what_is_booked] A longer one, by whomever, opens no departure
        that was not open, [a_longer_interval_is_no_burst] nor does going back from it.
        [an_interval_that_comes_back_is_kept] One that is ``adapted`` keeps to the limit's floor.
        [an_adaptation_keeps_the_floor] It never replaces an interval that people set, but applies
        when that has ended. [an_adaptation_waits_for_people] A change with ``lasts`` ends by itself, and so do
        the waits that it caused. [a_change_may_end_by_itself] Its longer interval has no burst.
        [a_longer_interval_for_a_time_has_no_burst]

        No jitter takes an interval below ``least``, which the site asks for, nor one that people set
        below what they said. [jitter_stays_above_what_was_asked_for]
        """

    async def set_quotas(name: str, quotas: Sequence[Quota] | None) -> None:
        """These hold for *name*, in place of the rules' (none at all, where it is empty), until they are
        set back with ``None`` or the run ends. What departed before counts in them as far as it was
        counted: not where there was no quota, and not before the longest window of those that were.
        [quotas_are_changed_while_the_crawl_runs]
        """

    async def reset(name: str) -> None:
        """Back to the settings, and to what was adapted: changes by people (of quotas, too), the slowdown
        after failures, a pause and a hold are dropped, but not the hold of an open circuit.
        [a_reset_leaves_the_rules_only]
        """

    async def pause(name: str) -> None:
        """Nothing of it departs until :meth:`resume`. [a_paused_slot_waits_for_its_resumption]"""

    async def resume(name: str) -> None:
        """End a pause and any hold: the wait that it caused is over, also for what was booked behind
        it and is given back. [a_lifted_hold_leaves_no_wait] What departed before and what is booked
        counts. [a_resumption_is_no_burst]
        """

    async def slots() -> Mapping[str, int]:
        """All slots and scopes of which something is stored, be it a change, a hold or a failure, and
        how many entries are pending in each (of a scope: 0). [all_slots_are_listed]

        Steps on the server are bounded, the memory of the caller is not: a look for people. What
        moves meanwhile may be missing.
        """

    async def look(name: str) -> SlotState:
        """How it stands. [a_look_tells_what_is_in_force]"""
