"""The circuit breaker: who fails too often is left alone for a while, by all workers together."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import BreakerRules, BreakerState, Outcome, Verdict


class IBreaker(Interface):
    """The circuits of one crawl's slots, on the state of its queue.

    States of a slot::

        closed ──threshold passed──► open ──hold is over──► half-open ──enough successes──► closed
                                      ▲                        │
                                      └───────a failure────────┘   (the hold is twice as long, longest at most)
    """

    rules: BreakerRules = Attribute("What it was made with.")

    async def report(outcomes: Sequence[Outcome]) -> Verdict:
        """Count *outcomes*, and change what they change, in one step for the whole cluster.

        A report whose answer was lost is not to be repeated: it counted once or not at all.

        * Outcomes of all workers are counted together, and leave the window.
          [workers_count_together] [failures_leave_the_window]
        * A slot opens when its threshold is passed, by number [too_many_failures_open_a_slot] or by
          share [a_share_of_failures_opens_a_slot]; exactly one report is answered with it.
          [one_report_opens_a_slot]
        * A slot opens when too large a part of its downloads is slow, though they succeeded; so does
          one whose probe is. [slow_downloads_open_a_slot]
        * With ``rules.ramp`` a slot that closes grows from a tenth of its rate and concurrency to
          the whole. [a_closed_slot_grows_again]
        * Only the kinds that the threshold names count as failures. [only_named_kinds_count]
        * Nothing of an open slot departs; its entries stay where they are, and other slots go on.
          [an_open_slot_is_held]
        * When the hold is over one request at a time is handed out, ``Lease.probe``.
          [a_half_open_slot_gives_probes] The next one not before it was judged, or 200 seconds later.
          [a_probe_is_judged_before_the_next]
        * A hold that the site asked for and that ends later moves all this behind its end.
          [a_longer_hold_keeps_the_circuit]
        * ``probes`` successes close it [probes_close_a_slot], a failure opens it for twice as long,
          ``longest`` at most. [a_failed_probe_opens_again]
        * What departed before the hold was over is no probe: it changes nothing.
          [stragglers_change_nothing]
        * A slot of which nothing is heard for ``longest`` seconds after its hold is as before.
          [an_unheard_slot_is_forgotten]
        * The crawl's threshold counts all slots together; every report is answered with the last
          time that it was passed, and counting begins anew. [too_many_failures_trip_the_crawl]
        * A run that is over is not judged. [nothing_is_judged_after_the_end]

        Raises:
            BackendUnavailable: nothing is known about this report.
        """

    async def look(slot: str) -> BreakerState:
        """How *slot* stands. [a_look_shows_the_circuit]"""

    async def tripped(limit: int = 100) -> Sequence[BreakerState]:
        """Slots that are open or half-open, some of them when there are more than *limit*.
        [open_slots_are_listed]
        """

    async def open(slot: str, seconds: float | None = None) -> bool:
        """A person opens *slot* for *seconds* (default: ``rules.hold``), as failures do; then probes
        decide. It does not count towards ``rules.openings``, and a longer hold stays. ``False``: the
        run is over, nothing was opened. [a_person_opens_a_slot]

        ``rules.slot`` must be there, or nobody judges the probes.
        """

    async def reset(slot: str) -> bool:
        """Close a slot and forget what it was opened for; ``False``: it was not open. Other holds
        stay. Failures of what departed before don't count any more. [a_reset_closes_at_once]
        [what_departed_before_a_reset_says_nothing], for ten minutes
        [a_reset_is_remembered_for_longer_than_the_window].
        """
