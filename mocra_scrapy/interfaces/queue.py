"""The queue of a crawl's requests."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute

from mocra_scrapy.interfaces.budgets import IBudgets
from mocra_scrapy.interfaces.crawl_record import ICrawlRecord
from mocra_scrapy.interfaces.dead_letters import IDeadLetters
from mocra_scrapy.interfaces.dictionaries import IDictionaries
from mocra_scrapy.interfaces.seeding import ISeeding
from mocra_scrapy.interfaces.throttle_rules import IThrottleRules
from mocra_scrapy.models import (
    NOWHERE,
    UNBOUNDED,
)

if TYPE_CHECKING:
    from mocra_scrapy.models import (
        Audit,
        Bounds,
        Burial,
        CrawlState,
        Entry,
        Exchange,
        Finish,
        Job,
        Lease,
        QueueOptions,
        QueueSize,
        WorkerInfo,
    )


class IRequestQueue(IDeadLetters, IDictionaries, ICrawlRecord, IThrottleRules, IBudgets, ISeeding):
    """The requests of one crawl: each stored entry is handed out to one worker at a time until it
    is acknowledged.

    States of an entry::

        push ──► pending ──lease──► leased ──ack──► gone
          │         ▲  ▲               │├──release──► pending   (same deliveries)
          └► delayed┘  │               │├──bury─────► dead ──replay──► pending (deliveries = 1 again)
           (until due) └──reclaim──────┘│              └──purge──► gone
                        (deliveries+1)  └──reclaim, deliveries used up──► dead

    **Workers.** A worker is a name that is unique for one run of one process, and makes one exchange at
    a time. Leases belong to workers: one that calls within ``options.lease`` seconds keeps all it holds.

    **Calls** are numbered by the caller, strictly growing for a worker. A call that failed with
    ``BackendUnavailable`` is repeated with the same number and the same arguments, and then has the
    effect and gives the answer of a single one.

    ::

        from mocra_scrapy.backends import open_backend
        from mocra_scrapy.models import Entry, QueueOptions

        backend = open_backend("memory://")
        await backend.open()
        queue = backend.request_queue("books", QueueOptions())
        await queue.join("worker-a")
        await queue.exchange("worker-a", 1, push=[Entry(b"page 1", "example.com")])
        (lease,) = (await queue.exchange("worker-a", 2, want=10)).leases
        # Downloaded and parsed: its links, and that it is done, in one step.
        await queue.exchange("worker-a", 3, push=[Entry(b"page 2", "example.com")], ack=[lease])
        assert (await queue.size()).pending == 1
    """

    options: QueueOptions = Attribute("What it was made with.")

    async def join(worker: str, job: Job | None = None) -> CrawlState:
        """Announce *worker* and learn where the crawl stands. *job*: what it works on; ``None``: nobody
        knows, and nothing is compared.

        * The first join of a crawl starts run 1 with seeding open. [the_first_join_starts_a_run]
        * A join while a run is unfinished resumes it. [a_join_resumes_an_unfinished_run]
        * An unfinished run is resumed by its own job only; another one gets OtherJob, which says what
          differs, and nothing changes. [another_job_is_refused] Of two that begin a crawl at once
          one wins. [of_two_jobs_at_once_one_wins] A finished run binds nobody
          [a_finished_run_binds_no_job], nor one of which nothing was ever stored and on which nobody
          works. [an_empty_run_binds_no_job]
        * ``others``: how many other workers live. [a_join_tells_who_is_there]
        * A run that nobody works on, with nothing left and its seeding complete, counts as
          finished: whoever was to say so left early. [an_exhausted_run_counts_as_finished]
        * A join after a finished run starts the next one, afresh: fingerprints are forgotten
          [a_join_after_the_end_starts_afresh] unless ``options.keep_seen``.
          [keep_seen_keeps_the_fingerprints]
        * A record that is gone (somebody deleted it, or the server came back empty) is begun anew by
          the next join: run 1 with seeding open, all fingerprints forgotten, even with
          ``options.keep_seen``; what is queued stays. [a_lost_record_is_begun_anew]
        * ``born`` is another one then: in every answer workers see by it that what they know of
          the crawl is gone. [a_lost_record_shows]
        * A name that ``options.shards`` disagrees with the stored number raises ConfigurationError.
          [shards_must_agree]
        """

    async def exchange(
        worker: str,
        call: int,
        *,
        push: Sequence[Entry] = (),
        ack: Sequence[Lease] = (),
        release: Sequence[Lease] = (),
        bury: Sequence[Burial] = (),
        want: int = 0,
        bounds: Bounds = UNBOUNDED,
        positions: Mapping[str, bytes] = NOWHERE,
    ) -> Exchange:
        """All that a worker has to say, and its answer: one atomic step, one round trip per shard.

        Pushing:

        * An entry comes back byte for byte. [a_body_comes_back_byte_for_byte]
        * Filter and store are one step: a fingerprint is stored once
          [a_fingerprint_is_stored_once], also within a call, all its bytes count, however many
          [every_byte_of_a_fingerprint_counts], and it stays known after ack
          [a_fingerprint_stays_seen_after_ack]; ``None`` is never filtered.
          [no_fingerprint_means_no_filtering]
        * With ``options.seen_ttl`` it stays known for as long, and for 1.25 times that at most.
          [fingerprints_are_remembered_for_seen_ttl]
        * A delayed entry is handed out when its delay has passed, not before.
          [a_delayed_entry_waits]

        Settling:

        * ack removes an entry [ack_removes_the_entry]; a second ack is refused
          [a_second_ack_is_refused]; so is one by anybody but the owner.
          [a_stale_owner_changes_nothing]
        * release gives an entry back to the head of its queue, with the same deliveries.
          [release_gives_back_in_order]
        * bury makes it a dead letter [bury_makes_a_dead_letter]; several burials of one lease in a
          call make as many letters, one with ``done`` is the record of a request that is done.
          [a_request_may_leave_records]
        * On all shards, what is pushed is stored before anything is acked or buried: children that
          can't be stored keep their parent. [children_are_stored_before_the_parent_goes]
        * A refused ack still stores the call's pushes [a_stale_ack_still_stores_its_children], but for
          those on its shard that name it as their ``parent``.
          [children_of_a_stale_parent_are_not_stored]

        Leasing:

        * A leased entry is hidden from everybody else. [a_leased_entry_is_hidden]
        * Within a slot: higher priority first, then start entries last, then oldest first (newest
          first with ``lifo``, but for start entries). [priority_then_order] [lifo_order]
          [start_entries_come_last]
        * Between slots it is fair: a slot is served again when all others that have work were.
          [slots_take_turns]
        * Nothing is leased from the slots named in ``bounds.full`` [full_slots_are_passed_over], at
          most ``bounds.per_slot`` (0: any number) from each of the others. [per_slot_is_a_limit]
        * *want* is a limit; 0 leases nothing and only settles and renews. [want_is_a_limit]
        * So is :data:`~mocra_scrapy.models.LEASED_BYTES` for the bodies of an answer, but for a single
          one that is larger: the rest comes with the next call. [an_answer_is_of_bounded_size]

        Throttling (with ``options.rules``; over all workers together; :class:`IThrottleRules` says
        which limits hold):

        * Departures of a slot keep its interval, each lease says when it may depart
          [departures_keep_the_interval], at most ``options.lookahead`` from now
          [departures_are_booked_a_little_ahead]; after a rest ``burst`` may go at once
          [a_burst_is_allowed_after_a_rest]; intervals vary by ``jitter``
          [jitter_varies_the_interval].
        * Requests in flight take *permits*. A worker has as many of a slot as ``permits`` said
          last, and starts no more requests; never more than ``concurrency`` in all.
          [permits_are_never_overbooked]
        * ``bounds.loads``: how much of a slot or scope the caller has, in flight and waiting; it
          gets no more than twice its permits, and where there is an interval no more than its
          permits.
          [a_load_bounds_what_is_leased]
        * ``bounds.keep_permits``: of these it keeps so many permits, and gives back the rest.
          [what_is_given_back_is_free]
        * Where a worker finds all permits taken, others that have more than their share are asked
          for some, in the same call that gives it fewer than its share.
          [permits_are_shared_between_workers]
          [who_gets_less_than_its_share_asks_for_the_rest_at_once] Once it got some it asks no more:
          what it gives back anybody may have at once. [a_granted_worker_asks_no_more]
        * ``bounds.wanted``: permits beside the queue [permits_beside_the_queue_are_counted];
          ``bounds.unused``: bookings that did not happen. [an_unused_departure_is_leased_again]
        * The permits of a worker that leaves or dies are free. [a_leaving_worker_frees_its_permits]
          [a_dead_worker_frees_its_permits]
        * Limits of scopes hold over all slots that have entries of them. [scopes_hold_over_slots]
        * What may not depart now keeps nobody else waiting, and ``next_due`` tells when it may.
          [held_slots_keep_nobody_waiting]
        * Slots that wait for one name, a scope they share, take turns: who was served longest ago is
          next, also where one call takes one. [who_waits_for_one_name_takes_turns]
        * Slots of which there is no permit keep nobody waiting for others, however many: after a call
          that looked at as many as it may ``next_due`` is 0. [crowded_slots_keep_nobody_waiting]
          Who holds permits serves them in turn. [a_crowded_slot_takes_turns_with_others]
        * Whatever keeps an entry, it can be had as soon as that ends: its time has come, permits were
          given back, their holder left or died, a limit was changed by whomever, a pause was
          resumed. [what_ends_a_wait_is_noticed]
        * An entry that waits for want of limits is handed out by a queue without limits, too.
          [without_limits_nothing_waits_for_one]

        Dying:

        * Each call renews all that the worker holds. [a_calling_worker_keeps_its_leases]
        * What a worker held for longer than ``options.lease`` without a call is handed out again,
          at the head of its queue, with one more delivery. [a_dead_workers_entries_return]
        * The worker learns of it by ``lost``, keeps its name and goes on.
          [a_worker_that_was_declared_dead_goes_on]
        * Where nobody called for more than half a lease it was the server that was away, or its
          clock that was set ahead. Nobody dies of that: all leases last longer by that long, and
          ``silence`` says so. [a_silence_of_all_ends_no_lease]
        * A server's clock that is set back is made up for: time goes on from the last call, for
          leases, delays and turns. [a_clock_set_back_stops_nothing]
        * After ``options.max_deliveries`` hand-outs to workers that died it is a dead letter,
          reason ``deliveries``. [too_many_deliveries_make_a_dead_letter]
        * An entry that was lost with ``options.isolate_after`` workers is handed out only to a
          worker that holds no other such suspect. [suspects_are_handed_out_alone] One whose slot
          is full keeps no other waiting. [a_suspect_of_a_full_slot_keeps_none_waiting]

        Repeating:

        * The same call again changes nothing and gives the same answer.
          [a_repeated_call_has_one_effect]
        * A call that the server refuses in its middle has its whole effect or none, and repeated it
          has it once. [half_a_call_is_none]

        Consider the following timeline::

            time: 0, worker-a calls exchange(call=8, push=[child], ack=[parent], want=1).
            time: 1, the server stores child, removes parent, leases page 5 to worker-a, and
                     records call 8 with this answer. The connection breaks: the answer is lost.
            time: 2, worker-a gets BackendUnavailable. It can't know whether the call took effect.
            time: 3, worker-a calls exchange(call=8, …) with the same arguments. The server finds
                     call 8 in the worker's record and gives the recorded answer.

            If calls were *not* numbered, child would be stored twice unless its fingerprint is
            filtered, parent's ack would be refused as if another worker had taken it over, and
            page 5 would stay leased to a worker that never heard of it.

        Work per call is bounded: it promotes, reclaims and cleans up a limited number. 1,000 pushes,
        settlements and wanted leases are good manners; more are accepted. [a_call_may_be_large]

        Raises:
            BackendUnavailable: nothing is known about this call; repeat it.
            BackendCorrupted: the server holds something under our keys that is not ours.
        """

    async def wait(worker: str, timeout: float) -> bool:
        """Sleep until this worker has reason to call: ``True`` when woken, ``False`` after
        *timeout* seconds.

        * A worker that wanted and got nothing is woken when another one pushes.
          [a_push_wakes_a_waiting_worker] A push of many wakes as many.
          [a_push_of_many_wakes_as_many]
        * So is it when one leaves and gives something back. [a_leaving_worker_wakes_a_waiting_one]
        * All are woken when the run is finished. [the_end_wakes_everybody]
        * A wake-up may come for nothing, and may be lost: callers poll now and then.
        """

    async def finish(worker: str) -> Finish:
        """End the run if nothing is pending, delayed or leased on any shard and seeding is
        complete.

        * Refused while there is work anywhere or seeding is not complete.
          [a_busy_crawl_does_not_finish]
        * Exactly one call wins. [one_worker_wins_the_end]
        * What cleans up after it spares the next run, however late it comes.
          [a_late_clean_up_spares_the_next_run]
        * A push into a finished run opens it again; nothing is lost. [a_push_after_the_end_reopens]
        * A finished, drained queue leaves nothing behind but the crawl's record, dead letters, and
          the fingerprints when ``options.keep_seen``. [a_drained_queue_leaves_nothing_behind]
        """

    async def close_worker(worker: str) -> int:
        """Sign off: give back all the worker holds, same deliveries, and forget it. Answers how
        many were given back.

        [a_leaving_worker_gives_everything_back]
        """

    async def declare_dead(worker: str) -> int | None:
        """Somebody knows, by more than its silence, that *worker* is dead: its lease ends now.
        Answers how many entries it holds; ``None``: it has no lease that could end.

        * Then all is as if the lease had run out: what it held comes back with one more delivery,
          its permits are free, another one may seed. [a_declared_death_is_like_any_other]
        * Those who wait are woken. [a_declared_death_wakes_those_who_wait]
        * One that lives all the same is told, goes on, and settles nothing of what it held.
          [a_death_declared_by_mistake_is_survived]
        """

    async def state() -> CrawlState:
        """Where the crawl stands. Run 0: it never began."""

    async def size() -> QueueSize:
        """Counts over all shards. [size_counts_every_state]"""

    async def audit(fix: bool = False) -> Audit:
        """Compare what is counted with what is there, a bounded number a step; *fix*: set the one
        to the other, and what no turn would reach in line again.

        * Where nothing was damaged nothing differs, and nothing changes. [an_audit_finds_nothing]
        * Where somebody deleted a part, or a server lost it, what is left is reached again and the
          run can end. [counts_heal]
        """

    async def workers() -> Sequence[WorkerInfo]:
        """Everybody who joined and neither left nor was reclaimed. [workers_are_listed]"""

    async def peek(limit: int = 10) -> Sequence[Entry]:
        """Some pending entries, without leasing them; no fingerprints. [peek_changes_nothing]"""

    async def forget(fingerprints: Sequence[bytes]) -> Sequence[bool]:
        """Let these fingerprints be stored once more. ``False``: was not known.
        [a_forgotten_fingerprint_is_new]
        """

    async def close() -> None:
        """Stop listening. The stored state stays. May be called twice."""
