"""Who seeds a crawl, and how far the sources that feed it were read."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import Interface


class ISeeding(Interface):
    """The seeding of one crawl. A part of every :class:`~mocra_scrapy.interfaces.IRequestQueue`.

    A *position* says how far a source was read: the offset in a file or a topic, the id in a stream.
    It is a name and opaque bytes, and moves with an exchange (``positions``):

    * In one step with what the call pushes, so that a seed is stored if and only if its source was
      read so far. [a_position_moves_with_its_pushes]
    * Over several shards all that is pushed is stored before: a position is never ahead of its
      seeds. A crash in between leaves it behind, so whoever reads on pushes some seeds again, which
      their fingerprints tell. [a_position_is_never_ahead]
    * Only whoever seeds (``claim_seeding``, not completed yet) moves positions; of anybody else they
      are refused, and ``positioned`` says so. The call's pushes are stored all the same.
      [only_who_seeds_moves_positions]
    * Empty bytes forget a position. [an_empty_position_is_forgotten]
    * A repeated call moves nothing a second time, and gives the same answer.
      [a_repeated_call_moves_nothing_again]
    * They outlive the run, and are gone with the crawl's record. [positions_outlive_the_run]
      [positions_go_with_the_record]
    """

    async def claim_seeding(worker: str) -> bool:
        """Whether this worker, and nobody else, is to run ``start()``.

        * One living worker at a time. [one_worker_seeds]
        * When it dies or leaves without :meth:`complete_seeding`, another may.
          [seeding_is_taken_over]
        * Never again in a run in which it was completed. [completed_seeding_is_remembered]

        Consider the following timeline (the lease is 60 seconds)::

            time:  0, worker-a calls claim_seeding: True. It runs start() and pushes seeds.
            time:  1, worker-b calls claim_seeding: False. It works on the seeds that are there.
            time: 10, worker-a freezes after 300 of 1,000 seeds.
            time: 70, worker-a's lease has run out. worker-b calls claim_seeding: True. It runs
                      start() from the beginning; the 300 are known by their fingerprints.
            time: 75, worker-a wakes, finds start() exhausted and calls complete_seeding. If that
                      were accepted, the run could finish before worker-b has pushed the rest. It
                      is not: False.
            time: 90, worker-b calls complete_seeding: True. Nobody seeds again in this run.
        """

    async def complete_seeding(worker: str) -> bool:
        """All seeds are stored. ``False``: this worker is not (or no longer) the one that seeds."""

    async def positions() -> Mapping[str, bytes]:
        """All positions of the crawl, by name. [a_position_comes_back_byte_for_byte]"""
