"""A worker's whole turn, see :class:`~mocra_scrapy.interfaces.IRequestQueue`: push, settle, reclaim,
lease, answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.backends.embedded.permits import come_down
from mocra_scrapy.backends.embedded.reclaiming import reclaim
from mocra_scrapy.backends.embedded.runs import move
from mocra_scrapy.backends.embedded.slots import Item, Room, item_of
from mocra_scrapy.backends.embedded.stalls import MOST
from mocra_scrapy.backends.embedded.throttled_leasing import ThrottledLeasing
from mocra_scrapy.backends.embedded.workers import Answered
from mocra_scrapy.models import (
    LONGEST,
    NOWHERE,
    UNBOUNDED,
    Bounds,
    Burial,
    Departure,
    Entry,
    Exchange,
    Lease,
    QueueOptions,
)
from mocra_scrapy.models.entries import fingerprint_number, names_of


def exchange(
    crawl: StoredCrawl,
    options: QueueOptions,
    worker: str,
    call: int,
    *,
    now: float,
    wall: float,
    push: Sequence[Entry] = (),
    ack: Sequence[Lease] = (),
    release: Sequence[Lease] = (),
    bury: Sequence[Burial] = (),
    want: int = 0,
    bounds: Bounds = UNBOUNDED,
    positions: Mapping[str, bytes] = NOWHERE,
    turn: Turn | None = None,
) -> Exchange:
    """The call number *call* of *worker*, or its answer once more. *turn*: of another kind than usual.

    Raises:
        ValueError: the number is smaller than the last one; nothing was changed but the worker's
            lease.
    """
    numbers = [None if entry.fingerprint is None else fingerprint_number(entry.fingerprint) for entry in push]
    turn = turn or Turn(crawl, options, worker, now, wall)
    if turn.is_repeated(call):
        return turn.answer()
    turn.begin(call)
    crawl.budgets.begin(bounds.budgets, now)
    freed = turn.take_notice(bounds)
    freed += turn.push(push, numbers)
    if positions:
        turn.move(positions)
    freed += turn.settle(ack, release, bury)
    freed += turn.pass_time()
    turn.bury_stalled(want)
    turn.lease(want, bounds)
    turn.wake(want, freed)
    return turn.answer()


class Turn:
    """One call, in steps. Those that free something for others answer how much: entries, and
    permits that others ask for.
    """

    def __init__(self, crawl: StoredCrawl, options: QueueOptions, worker: str, now: float, wall: float) -> None:
        self._crawl, self._options = crawl, options
        self._now, self._wall = now, wall
        self._me = crawl.renew(worker, now, options.lease)
        version = crawl.throttle.rules.version
        crawl.throttle.rules.know(worker, options.rules)
        if crawl.throttle.rules.version != version:  # it was taken for dead, or never joined
            come_down(crawl, now)
        self._silence = crawl.silence
        crawl.seen.age(now, options.seen_ttl)
        crawl.dead.expire(now, options.dead_ttl)
        self._done = self._me.last or Answered(0)
        self._yielded: Sequence[str] = ()

    def is_repeated(self, call: int) -> bool:
        if self._me.last is None or call > self._me.last.call:
            return False
        if call < self._me.last.call:
            raise ValueError(f"the call numbers of a worker must grow: {call} after {self._me.last.call}")
        return True

    def begin(self, call: int) -> None:
        self._done = self._me.last = Answered(call, lost=self._me.lost)
        self._me.lost = False

    def take_notice(self, bounds: Bounds) -> int:
        """Of permits that are given back; the worker is told of holds."""
        throttle, turns = self._crawl.throttle, self._crawl.slots.turns
        self._done.holds = dict(throttle.holds.pop(self._me.name, {}))
        for unused in bounds.unused:
            self._crawl.take_back(unused, self._now)
        kept = throttle.keep_permits(self._me.name, bounds.keep_permits)
        self._yielded = kept.yielded
        return len(kept.missed.union(name for name in kept.freed if turns.open(name)))

    # ------------------------------------------------------------------ push and settle

    def push(self, entries: Sequence[Entry], numbers: Sequence[int | None]) -> int:
        """Filter and store."""
        crawl, done, ready = self._crawl, self._done, 0
        for place, (entry, number) in enumerate(zip(entries, numbers, strict=True)):
            if entry.parent is not None and entry.parent.token not in self._me.held:
                done.stored.append(False)
                done.stale.add(place)
                continue
            new = not (entry.budgets and self._is_refused(place, entry, number))
            new = new and (number is None or crawl.seen.add(number))
            done.stored.append(new)
            if new and entry.budgets:
                crawl.budgets.accept(entry.budgets, again=entry.again)
            if new:
                ready += self._store(entry, number)
        if any(done.stored):
            crawl.reopen()
        return ready

    def _store(self, entry: Entry, number: int | None) -> bool:
        """What is new; whether it may be had now."""
        due = self._now + entry.delay if entry.delay > 0 else self._now
        return self._crawl.line_up(item_of(entry, number), due, self._now, self._options.lifo)

    def move(self, positions: Mapping[str, bytes]) -> None:
        """Of sources that were read so far."""
        self._done.positioned = move(self._crawl, self._me.name, positions)

    def _is_refused(self, place: int, entry: Entry, number: int | None) -> bool:
        """What is known is a duplicate, whatever budgets say."""
        if entry.again or (number is not None and number in self._crawl.seen):
            return False
        why = self._crawl.budgets.why_not(entry.budgets)
        if why is not None:
            self._crawl.budgets.refuse(*why)
            self._done.refused[place] = why[0]
        return why is not None

    def settle(self, ack: Sequence[Lease], release: Sequence[Lease], bury: Sequence[Burial]) -> int:
        """Ack, release and bury what is still the worker's."""
        me, done = self._me, self._done
        done.acked.extend(me.drop(lease.token) is not None for lease in ack)
        for lease in reversed(release):  # backwards: the first of them is the first in line again
            item = me.drop(lease.token)
            done.released.append(item is not None)
            if item is not None:
                self._crawl.give_back(item, self._options.isolate_after)
        done.released.reverse()
        self._bury(bury)
        return sum(done.released)

    def _bury(self, bury: Sequence[Burial]) -> None:
        dropped: dict[str, Item | None] = {}  # several burials of one lease make as many letters
        deliveries: dict[str, str] = {}
        dead, options = self._crawl.dead, self._options
        for burial in bury:
            token = burial.lease.token
            if token not in dropped:
                dropped[token] = self._me.drop(token)
            item = dropped[token]
            self._done.buried.append(item is not None)
            is_kept = False
            if item is not None:
                letter = dead.add(
                    item,
                    burial,
                    self._me.name,
                    now=self._now,
                    wall=self._wall,
                    most=options.max_dead,
                    delivery=deliveries.get(token, ""),
                )
                deliveries[token] = letter.delivery
                is_kept = dead.keep_response(letter, burial, options.dead_bodies, options.dead_bodies_bytes)
            self._done.kept.append(is_kept)

    def pass_time(self) -> int:
        """Delays that are over, workers that are dead."""
        done = self._done
        promoted = self._crawl.promote(self._now, self._options.lifo)
        done.reclaimed, done.given_up = reclaim(self._crawl, self._now, self._wall, self._options)
        return promoted + done.reclaimed

    def bury_stalled(self, want: int) -> None:
        """Some of what is left of slots that were given up."""
        if want > 0 and self._crawl.stalls.doomed:
            most = self._options.max_dead
            self._done.stalled = self._crawl.bury_stalled(MOST, self._now, self._wall, most)

    # ------------------------------------------------------------------ lease

    def lease(self, want: int, bounds: Bounds) -> None:
        """Hand out up to *want*: a suspect first if the worker holds none, then what the slots have
        in turn.
        """
        if self._options.rules is None:
            self._lease(want, bounds)
        else:
            self._lease_within_limits(want, bounds)
        if bounds.budgets is not None:
            self._done.withdrawn = self._crawl.budgets.withdrawn()

    def _lease(self, want: int, bounds: Bounds) -> None:
        given: dict[str, int] = {}
        full, room = frozenset(bounds.full), Room()
        if want > 0 and self._me.suspect is None:
            found = self._crawl.take_suspect(lambda name: None if name in full else self._now)
            if found is not None:
                self._hand_out(*found)
                given[found[0].list_name] = 1
                room.spend(found[0])
        missing = want - len(self._done.handed_out)
        for item in self._crawl.slots.take(missing, full, bounds.per_slot, given=given, room=room):
            self._hand_out(item, self._now)
        self._done.more = room.tired

    def _lease_within_limits(self, want: int, bounds: Bounds) -> None:
        crawl, done = self._crawl, self._done
        leasing = ThrottledLeasing(
            crawl.slots,
            crawl.throttle,
            self._options,
            worker=self._me,
            loads=bounds.loads,
            avoid=(*bounds.full, *self._yielded),
            now=self._now,
        )
        if want > 0 and self._me.suspect is None:
            found = crawl.take_suspect(leasing.due)
            if found is not None:
                leasing.give_suspect(*found)
        leasing.serve(want)
        leasing.grant_wanted(bounds.wanted)
        for item, departs, departure in leasing.taken:
            self._hand_out(item, departs, departure)
        done.names, done.crowded, done.more = list(leasing.names), list(leasing.crowded), leasing.more

    def _hand_out(self, item: Item, departs: float, departure: Departure | None = None) -> None:
        token = f"{next(self._crawl.tokens):x}"
        self._crawl.budgets.waits(item, -1)
        self._me.held[token] = item
        self._done.handed_out[token] = (departs, departure)
        if item.lost >= self._options.isolate_after:
            self._me.suspect = token

    def wake(self, want: int, freed: int) -> None:
        """As many of those who wait as there is something for."""
        wakeups = self._crawl.wakeups
        if self._done.handed_out:
            wakeups.fed(self._me.name)
        elif want > 0:
            wakeups.hungry(self._me.name)
        wakeups.wake_hungry(min(freed, self._crawl.pending), but=self._me.name)

    # ------------------------------------------------------------------ answer

    def answer(self) -> Exchange:
        """What was done, with the leases that are still held and the counts of now."""
        me, done, now, throttle = self._me, self._done, self._now, self._crawl.throttle
        permits = {name: throttle.permits.get(name, {}).get(me.name, 0) for name in done.names}
        permits.update(throttle.notes.get(me.name, {}))
        return Exchange(
            tuple(done.stored),
            tuple(done.acked),
            tuple(done.released),
            tuple(done.buried),
            tuple(self._leases()),
            self._crawl.size(),
            0.0 if done.more else self._crawl.next_due(now),
            self._crawl.state(),
            done.lost or me.lost,
            done.reclaimed,
            done.given_up,
            permits,
            tuple(done.crowded),
            {name: min(max(0.0, until - now), LONGEST) for name, until in done.holds.items()},
            self._silence,
            done.stalled,
            throttle.rules.version,
            throttle.rules.different,
            dict(done.refused),
            tuple(done.withdrawn),
            tuple(done.kept),
            done.positioned,
            frozenset(done.stale),
        )

    def _leases(self) -> list[Lease]:
        leases = []
        for token, (departs, departure) in self._done.handed_out.items():
            item = self._me.held.get(token)
            if item is not None:
                slot, *scopes = names_of(item.list_name)
                leases.append(
                    Lease(
                        token,
                        item.body,
                        slot,
                        item.priority,
                        item.start,
                        item.lost + 1,
                        item.first,
                        wait=max(0.0, departs - self._now),
                        scopes=tuple(scopes),
                        probe=self._crawl.throttle.probing.get(slot, self._now) > self._now,
                        departure=departure,
                        budgets=() if item.budgets is None else item.budgets.names,
                    )
                )
        return leases
