"""Budgets of a crawl: of slots, registrable domains and seeds."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import BudgetState


class IBudgets(Interface):
    """What counts for a budget, and what a budget that is used up does. Part of
    :class:`IRequestQueue`: entries name what they count for, an exchange says what limits hold and
    what was spent (:class:`~mocra_scrapy.models.Budgeting`).

    Pushing:

    * An entry that is stored is one more of ``pages``, once for a fingerprint. What is used up
      stores nothing more, and says which budget it was. [pages_are_counted_where_they_are_stored]
      [a_repeated_call_counts_once]
    * So does ``queued``, which counts what waits: lined up or delayed, not what is handed out.
      [what_waits_is_counted]
    * What was refused is unknown to the filter, and stored when it comes again and there is room.
      [a_refused_entry_is_not_seen] What was seen is a duplicate, whatever budgets say.
      [a_duplicate_is_no_refusal]
    * What comes *again*, as a retry, is no page, and is never refused. [what_comes_again_is_no_page]
    * All names of an entry count. [each_name_has_its_own_budget] [a_page_is_within_all_its_budgets]
      Those of domains and seeds count for several slots, wherever these are stored.
      [a_domain_has_one_budget_for_all_its_slots] [room_that_one_slot_does_not_use_is_anothers]
      [a_block_that_is_taken_back_meanwhile_is_asked_for_again]
      No failure makes the quota larger or smaller. [no_call_that_fails_costs_a_page] [blocks_of_the_dead_are_not_lost]
    * Of workers with other limits the later ones hold. [the_limits_told_last_hold]

    Spending:

    * ``bytes``, ``errors``, ``time`` are counted where they are told, of names of which something
      was stored. [what_is_spent_is_counted] ``time`` runs from the first answer on; of a gap between
      two answers it counts :data:`~mocra_scrapy.models.budgets.LONGEST_GAP` at most.
      [time_runs_between_answers]
    * When one of these is used up, what waits is withdrawn as it would be handed out, a limited
      number a call: it is no page any more and unknown to the filter. What was handed out is
      finished. [what_waits_for_a_spent_budget_is_withdrawn] What has to wait (a delay, a slot that
      is full) is withdrawn after that. No departure is booked for it, and it keeps nobody else
      waiting. [withdrawing_takes_no_turn]
      What is used up of a domain is so for all its slots. [what_is_used_up_is_so_everywhere]
    * A limit that is raised lets in what comes from then on. [a_raised_limit_lets_in] A lower one
      holds at once, wherever something is stored [a_lower_limit_holds_for_blocks_that_were_drawn]
      [a_lower_limit_holds_before_its_shard_has_asked];
      what was stored before there was one counts. [what_was_stored_without_a_limit_counts]

    Counts last as long as the run: a worker that dies or leaves changes none
    [budgets_outlive_workers], and a new run begins with none. [a_new_run_has_new_budgets]
    [a_new_run_has_new_blocks]
    """

    async def budgets(kind: str = "") -> Sequence[BudgetState]:
        """Of all names that begin with *kind*, in any order, a bounded number a step."""
