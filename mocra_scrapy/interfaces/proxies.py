"""What all workers know together of the proxies of one pool."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import ProxyAnswer, ProxyRecord, ProxyRules, ProxyTurn, ProxyUse


class IProxies(Interface):
    """One pool. Proxies are known by identities; addresses and credentials never come here.

    ::

        in ──rules.failures in a row──► out ──seconds──► half-open ──a probe succeeds──► in
                                         ▲                   │
                                         └──its probe fails──┘  for twice as long

    A record is that of a proxy at a site, or (site ``""``) of a proxy as a whole.
    """

    async def turn(turn: ProxyTurn) -> ProxyAnswer:
        """Tell and ask everything at once. After BackendUnavailable say with the next call what is
        true then; reports are not repeated.

        Failures:

        * A proxy that failed ``rules.failures`` times in a row at a site is out there; failures
          of all workers count together, and a success begins anew.
          [a_proxy_that_fails_in_a_row_is_out]
        * It is out as a whole where these failures were its own (``proxy``), or at several sites.
          [own_failures_count_for_all_sites] [failures_at_several_sites_count_for_all]
          ``credentials`` count at once, for the longest time. [refused_credentials_count_at_once]
          ``ban`` counts for its site only. [a_ban_counts_for_its_site]
        * When the time is over one worker at a time may probe; a dead one's probe is another's.
          [one_worker_probes] [a_dead_workers_probe_is_anothers]
        * A probe that succeeds brings it back, one that fails doubles the time. What was on its way
          before changes neither. [a_probe_decides] One at a site that is down said nothing of the
          proxy: the next probe waits as long as this one did.
          [a_probe_at_a_site_that_is_down_waits]
        * A site at which several proxies fail that serve other sites meanwhile, and of which
          nothing succeeds, is down: nobody is punished for it, and those that were are pardoned.
          [a_site_that_is_down_punishes_nobody] What succeeded before these failures proves nothing,
          however late it is told. [what_succeeded_before_proves_nothing] Where that is not proved it takes three times as
          many. [without_proof_it_takes_more_proxies] A success ends that.
          [a_success_ends_a_sites_outage]

        Permits:

        * No more than the cap are held of a proxy by all workers. [a_cap_holds_over_all_workers]
        * A turn says how many this worker wants in all, and is told how many it has: repeating it
          changes nothing. [permits_are_told_as_a_whole]
        * Permits of a worker that was silent for its lease are free. [a_dead_workers_permits_are_free]
        * A call that is overtaken by a later one of its worker changes nothing.
          [an_overtaken_turn_changes_nothing]
        * Who gets fewer than it wants makes the pool short for a while, and all are told.
          [everybody_hears_of_a_shortage]

        Bindings:

        * Of several workers that bind a key at the same time one decides for all.
          [a_sticky_key_has_one_proxy] Only who names the proxy that it has now replaces it.
          [a_lost_proxy_is_replaced_once] A binding that is not used for ``rules.sticky`` seconds is
          over. [unused_bindings_end]

        Records:

        * Each change has a greater version; who names the last one that it knows is told the rest.
          [changes_are_told_once]
        * What did not change for a week is forgotten. [what_did_not_change_for_long_is_forgotten]
        * A pool has 200,000 records and 100,000 bindings at most: those that changed longest ago go,
          and bindings that end first. [a_pool_keeps_no_more_than_it_may]
        """

    async def leave(worker: str) -> None:
        """*worker* holds nothing any more [who_leaves_holds_nothing], and its probe is another's.
        [a_worker_that_left_has_no_probe]
        """

    async def look(after: int = 0) -> tuple[Sequence[ProxyRecord], int]:
        """Records that changed after the version *after*, some of them, and the version up to which
        these are; nothing is left when there are none. [records_are_read_in_pages]
        """

    async def use() -> ProxyUse:
        """Who holds which permits. [permits_are_listed]"""

    async def take_out(proxy: str, seconds: float) -> None:
        """A person takes *proxy* out for so long. [a_person_takes_a_proxy_out]"""

    async def bring_back(proxy: str, site: str = "") -> bool:
        """A person brings *proxy* back at *site*, or as a whole, without a probe; whether it was
        out. [a_person_brings_a_proxy_back]
        """

    async def refresh() -> int:
        """Providers are to be read again: the number that all are told from now on.
        [everybody_hears_of_a_refresh]
        """


class IProxyPools(Interface):
    """What a backend can add to :class:`~mocra_scrapy.interfaces.IBackend`."""

    def proxies(pool: str, rules: ProxyRules) -> IProxies:
        """The pool of that name. No I/O. Several calls with the same name share the stored state."""
