"""Where the limits of slots come from: the rule sets of the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import RulesInForce


class IThrottleRules(Interface):
    """A worker brings its rule set (``options.rules``) when it joins, and the store evaluates it: for
    any name that ever comes up, before anything of it is handed out.

    * A rule set has limits of single slots and scopes [a_slot_may_have_a_limit_of_its_own], of
      patterns [patterns_match_as_fnmatch_does], and of all other slots; scopes that it doesn't name
      are unlimited.
    * While workers with different rules live the strictest of these hold for each name: the longest
      interval, the smallest burst, the fewest permits [the_strictest_rules_hold], all quotas
      [the_quotas_of_all_rules_hold], at every moment
      while workers are started again with other ones. [a_rolling_change_keeps_the_strictest]
    * Rules go with the last worker that has them, whether it leaves or dies.
      [rules_go_with_their_last_worker] Those of a worker that stays outlast the run.
      [rules_of_workers_outlast_the_run]
    * Nothing is leased to a worker whose rules the store doesn't know (any more): it was declared
      dead, somebody deleted them, it never joined. They are brought anew.
      [nothing_is_leased_before_its_rules_are_known]
    * Where there are fewer permits than before, those who have more come down; a worker that has none
      left gives back what waits. [too_many_permits_are_taken_back]
    * What people change while the crawl runs goes before all rules.
      [a_change_goes_before_all_rules]
    * Answers tell the version of what is in force, which grows with each change, and of how many
      different rule sets that is. [answers_tell_of_other_rules]

    Consider the following timeline::

        time: 0, worker-a (1 request a second) joins and crawls.
        time: 5, worker-b (10 a second) joins, to replace it. Both keep to 1 a second.
        time: 6, worker-a stops, gives everything back, and leaves: 10 a second from now on.
    """

    async def rules_in_force() -> RulesInForce:
        """Which living worker has which rules."""
