"""What a queue offers to a log that keeps its requests."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute

from mocra_scrapy.interfaces.queue import IRequestQueue
from mocra_scrapy.models import (
    NOTHING_FINISHED,
    NOWHERE,
    UNBOUNDED,
)

if TYPE_CHECKING:
    from mocra_scrapy.models import (
        Bounds,
        Burial,
        Entry,
        Exchange,
        Fed,
        Feed,
        Finish,
        Lease,
        LogAnswer,
        LogState,
        LogTurn,
        Offsets,
    )


class ILoggedQueue(IRequestQueue):
    """A queue that is the *window* of a log: the log (Kafka's topics) keeps all requests of a crawl, the
    queue those that are worked on, and all that is decided about them.

    The way of a request::

        push ──► in transit ──moved──► (the log) ──feed──► pending ──► … ──► noted as finished
                     │ └─moved, at─────────────────────────► pending      (acked, buried, given up,
                     ├─keep──► pending                                     stalled, withdrawn)
                     └─its pusher dies or leaves──► pending or delayed, and in the log perhaps: a *twin*

    An entry in transit is stored and filtered, and nobody gets it: its pusher writes it to the log and
    then says so. One that has come back from the log has an *origin*, its partition and offset. Whatever
    finishes it notes that offset, so that the log's reader can commit it.

    Partitions are named by any text. An offset is a number from 0 on, and what a log has at an offset
    never changes.
    """

    empty_log = Attribute(
        "What each deletion of the crawl by this object awaits before the crawl counts as deleted, also one that somebody"
        " else left half done; None: nothing. It empties the log, and may be called twice."
    )

    async def exchange_logged(
        worker: str,
        call: int,
        log: LogTurn,
        *,
        push: Sequence[Entry] = (),
        ack: Sequence[Lease] = (),
        release: Sequence[Lease] = (),
        bury: Sequence[Burial] = (),
        want: int = 0,
        bounds: Bounds = UNBOUNDED,
        positions: Mapping[str, bytes] = NOWHERE,
    ) -> tuple[Exchange, LogAnswer]:
        """:meth:`IRequestQueue.exchange`, with the same numbers of calls, and with what a log needs.

        Transit:

        * With ``log.hold`` what is stored of the call's pushes is in transit, in the step that filters
          it. Nobody gets it, and ``size.leased`` counts it. [what_is_held_is_stored_and_filtered]
          [what_is_held_is_handed_to_nobody]
        * The answer has a lease for each. It is settled by ``moved`` and ``keep`` only: ack, release
          and bury of it are refused. [what_is_in_transit_is_not_settled]
        * ``moved`` removes it, and :attr:`~mocra_scrapy.models.LogState.moves` grows in the same
          step. Its fingerprint stays known, and what it counts for budgets stays counted.
          [what_was_moved_is_gone_and_counted]
        * With ``at``, where the log was fed up to just that offset, it is fed by this: lined up as what
          comes by :meth:`feed`, and the position moves on. So what finds nothing in front of it in the
          log need not be read from there. [what_was_moved_may_be_lined_up_at_once]
        * ``keep`` lines it up as if it had been pushed without ``hold``. [what_is_kept_is_lined_up]
        * What its pusher held in transit when it died or left is lined up, with the same deliveries: 1
          when it is handed out first; what was delayed waits for the rest of its delay.
          [transit_of_a_dead_pusher_is_lined_up] A stale pusher moves nothing.
          [a_stale_pusher_moves_nothing]
        * A repeated call changes nothing and names the same leases.
          [a_repeated_held_push_has_one_effect] [half_a_held_push_is_none]

        Origins:

        * An entry that came by :meth:`feed` and is acked, buried, given up, stalled or withdrawn by this
          call notes its offset, in the same step. What is released or comes back from a dead worker
          notes none. [what_is_finished_is_noted] [what_goes_on_is_not_noted]
        * A refused ack notes nothing. [a_stale_ack_notes_nothing]
        """

    async def feed(
        feeds: Sequence[Feed] = (),
        *,
        confirm: Mapping[str, Sequence[Offsets]] = NOTHING_FINISHED,
        collect: Collection[str] = (),
        most: int = 1000,
    ) -> Fed:
        """Store what was read of a log, forget the notes of *confirm*, and answer up to *most* notes of
        each partition of *collect*. Anybody may, with a worker or without, as often as they like: no
        call is numbered.

        * An offset is stored once, by whomever and however often it is fed: what lies before its
          partition's position is passed over. [an_offset_is_fed_once]
        * The position moves to ``stop`` in one step with what is stored. Over several shards each has a
          position of its own for each partition, and the answer tells the lowest: a position is never
          ahead of its entries, and who feeds from there on repeats nothing.
          [a_log_position_is_never_ahead]
        * A feed that begins behind the position would leave out what lies between: nothing of it is
          stored, and ``positions`` tells where to go on. [a_feed_leaves_nothing_out]
        * Nothing is stored of a partition of which nobody said where it begins (``None``), as when the
          crawl's record is gone. [an_unknown_partition_is_not_fed]
        * Offsets of a feed that have no entry are noted as finished. [offsets_without_entries_are_finished]
        * No fingerprint is filtered, and no budget counts or refuses what is fed: both was done when it
          was pushed first. What is fed stands in line like what is pushed, and wakes those who wait.
          [what_is_fed_is_not_filtered] [a_feed_wakes_a_waiting_worker]
        * A note is told until it is confirmed, then no more; to confirm one that is not there changes
          nothing. [a_note_is_told_until_it_is_confirmed]
        * Half a call is none, on each shard. [half_a_feed_is_none]

        Transit, where the log's messages say as what they were in it (``Feed.transit``), so that nothing
        comes twice of whom its pusher could not say any more that the log has it:

        * What is fed while it is in transit is there no more, in the same step, and ``moves`` grows:
          its pusher moves nothing then, and leaves nothing if it dies.
          [what_is_fed_is_in_transit_no_more]
        * What was lined up because its pusher was gone is not stored again by a feed. The one that is
          there notes that offset as it is finished, so not earlier; at once if it was before. A second
          message of it is noted at once. [a_twin_comes_once] [half_a_twin_is_none]
        * Twins are known until both came, while the run goes on; of those that are finished the latest
          2,000 on each shard. [twins_are_known_for_a_while]

        Raises:
            BackendUnavailable: nothing is known about this call; repeat it, or ask for the positions.
        """

    async def begin_log(run: int, begins: Mapping[str, int]) -> LogState:
        """Say where *run* begins in each partition, before anything of that run is in the log; answers
        how it stands then.

        * The first one who says it of a partition decides. [who_begins_a_log_first_decides]
        * A later run begins anew: positions and notes of the one before are gone; what is said of an
          earlier run changes nothing. [a_later_run_begins_its_log_anew]
        * They are gone with the crawl's record, and outlive the run.
          [a_log_goes_with_the_record]
        """

    async def log_state() -> LogState:
        """How it stands. Nothing is written."""

    async def finish_logged(worker: str, moves: int) -> Finish:
        """:meth:`IRequestQueue.finish`, if *moves* is still that number; else ``BUSY``.

        Whoever has read ``moves``, then the ends of the log, and found all of it fed, knows that nothing
        is in the log that is not here or done: what was in transit at that time is in transit still, or
        has made ``moves`` grow. [what_moved_meanwhile_keeps_a_run_open] [transit_keeps_a_run_open]
        """
