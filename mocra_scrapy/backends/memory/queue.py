"""``MemoryRequestQueue``: the verbs of :class:`~mocra_scrapy.interfaces.IRequestQueue` over a
:class:`StoredCrawl` in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice, zip_longest

from zope.interface import implementer

from mocra_scrapy.backends.embedded.crawl import Answered, StoredCrawl, Worker
from mocra_scrapy.backends.embedded.fingerprints import fingerprint_number
from mocra_scrapy.backends.embedded.slots import Item, item_of
from mocra_scrapy.backends.embedded.throttle import names_of
from mocra_scrapy.backends.embedded.throttled_leasing import ThrottledLeasing
from mocra_scrapy.backends.memory.dead_letters import MemoryDeadLetters, check_burials
from mocra_scrapy.backends.memory.dictionaries import MemoryDictionaries
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.interfaces import IRequestQueue
from mocra_scrapy.models import (
    LONGEST,
    UNBOUNDED,
    Bounds,
    Burial,
    CrawlState,
    Entry,
    Exchange,
    Finish,
    Lease,
    QueueOptions,
    QueueSize,
    Seeding,
    WorkerInfo,
)


@implementer(IRequestQueue)
class MemoryRequestQueue(MemoryDeadLetters, MemoryDictionaries):
    """One crawl's queue.

    Args:
        crawl: what is stored, shared by all queues of that name.
        options: see :class:`~mocra_scrapy.models.QueueOptions`; ``shards`` is only compared,
            everything is in one.
        clock: seconds, never going back.
        wall: seconds since the epoch.
        owner: kept alive as long as this queue.
    """

    def __init__(
        self,
        crawl: StoredCrawl,
        options: QueueOptions,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        owner: object = None,
    ) -> None:
        self.options = options
        self._crawl = crawl
        self._clock, self._wall = clock, wall
        self._owner = owner

    # ------------------------------------------------------------------ coming and going

    async def join(self, worker: str) -> CrawlState:
        crawl, wish = self._crawl, self.options.shards
        if wish and crawl.shards and wish != crawl.shards:
            raise ConfigurationError(
                "MOCRA_SHARDS",
                f"this crawl was begun with {crawl.shards} shards, not {wish}",
                f"Set it to {crawl.shards}, or leave it out, or delete the crawl first",
            )
        resumed = crawl.begin_or_resume(self.options.keep_seen, wish or 1)
        if crawl.throttle.rules != self.options.rules:
            crawl.throttle.rules = self.options.rules
            crawl.throttle.limits.clear()
        self._renew(worker)
        return CrawlState(crawl.run, crawl.finished, crawl.seeding, resumed)

    def _renew(self, worker: str) -> Worker:
        return self._crawl.renew(worker, self._clock(), self.options.lease)

    async def close_worker(self, worker: str) -> int:
        return self._crawl.leave(worker, self.options.isolate_after)

    async def claim_seeding(self, worker: str) -> bool:
        crawl = self._crawl
        self._renew(worker)
        if crawl.seeding is Seeding.DONE:
            return False
        if crawl.seeding is Seeding.CLAIMED and crawl.seeder != worker:
            seeder = crawl.workers.get(crawl.seeder)
            if seeder is not None and seeder.expires >= self._clock():
                return False
        crawl.seeding, crawl.seeder = Seeding.CLAIMED, worker
        return True

    async def complete_seeding(self, worker: str) -> bool:
        crawl = self._crawl
        if crawl.seeding is Seeding.OPEN or crawl.seeder != worker:
            return False
        crawl.seeding = Seeding.DONE
        crawl.wake_all()  # an idle worker may have waited for nothing but this to end the run
        return True

    async def finish(self, worker: str) -> Finish:
        crawl = self._crawl
        if crawl.finished:
            return Finish.WON if crawl.winner == worker else Finish.FINISHED
        if crawl.seeding is not Seeding.DONE or crawl.size().unfinished:
            return Finish.BUSY
        crawl.finished, crawl.winner = True, worker
        crawl.throttle.end_run(self._clock())
        if not self.options.keep_seen:
            crawl.seen.clear()
        crawl.wake_all()
        return Finish.WON

    # ------------------------------------------------------------------ the turn

    async def exchange(
        self,
        worker: str,
        call: int,
        *,
        push: Sequence[Entry] = (),
        ack: Sequence[Lease] = (),
        release: Sequence[Lease] = (),
        bury: Sequence[Burial] = (),
        want: int = 0,
        bounds: Bounds = UNBOUNDED,
    ) -> Exchange:
        # Looked at before anything changes: a bad fingerprint must not leave half a call behind.
        numbers = [None if entry.fingerprint is None else fingerprint_number(entry.fingerprint) for entry in push]
        check_burials(bury)
        crawl, me = self._crawl, self._renew(worker)
        crawl.seen.age(self._clock(), self.options.seen_ttl)
        crawl.dead.expire(self._clock(), self.options.dead_ttl)
        if me.last is not None and call <= me.last.call:
            if call < me.last.call:
                raise ValueError(f"the call numbers of a worker must grow: {call} after {me.last.call}")
            return self._answer(me, me.last)
        done = me.last = Answered(call, lost=me.lost)
        me.lost = False
        done.held = crawl.throttle.holds.pop(worker, {})
        crawl.throttle.limits.update(bounds.limits)
        ready = self._push(push, numbers, done) + crawl.throttle.keep(worker, bounds.keep_permits)
        ready += self._settle(me, ack, release, bury, done)
        ready += crawl.promote(self._clock(), self.options.lifo)
        done.reclaimed, done.given_up = crawl.reclaim(self._clock(), self._wall(), self.options)
        ready += done.reclaimed
        if self.options.limit is None:
            self._lease(me, want, frozenset(bounds.full), bounds.per_slot, done)
        else:
            self._lease_within_limits(me, want, bounds.full, bounds.loads, done)
        if done.tokens:
            crawl.wakeups.fed(worker)
        elif want > 0:
            crawl.wakeups.hungry(worker)
        crawl.wakeups.wake_hungry(min(ready, crawl.pending), but=worker)
        return self._answer(me, done)

    def _push(self, push: Sequence[Entry], numbers: Sequence[int | None], done: Answered) -> int:
        """Filter and store; how many can be leased at once."""
        crawl, now, ready = self._crawl, self._clock(), 0
        for entry, number in zip(push, numbers, strict=True):
            new = number is None or crawl.seen.add(number)
            done.stored.append(new)
            if not new:
                continue
            if entry.delay > 0:
                crawl.put_delayed(item_of(entry), now + entry.delay)
            else:
                crawl.put_new(item_of(entry), self.options.lifo)
                ready += 1
        if crawl.finished and any(done.stored):
            crawl.reopen()
        return ready

    def _settle(
        self, me: Worker, ack: Sequence[Lease], release: Sequence[Lease], bury: Sequence[Burial], done: Answered
    ) -> int:
        """Ack, release and bury what is still *me*'s; how many went back."""
        done.acked.extend(me.drop(lease.token) is not None for lease in ack)
        for lease in reversed(release):  # backwards: the first of them is the first in line again
            item = me.drop(lease.token)
            done.released.append(item is not None)
            if item is not None:
                self._crawl.give_back(item, self.options.isolate_after)
        done.released.reverse()
        dropped: dict[str, Item | None] = {}  # several burials of one lease make as many letters
        for burial in bury:
            token = burial.lease.token
            item = dropped[token] if token in dropped else dropped.setdefault(token, me.drop(token))
            done.buried.append(item is not None)
            if item is not None:
                now, wall, most = self._clock(), self._wall(), self.options.max_dead
                self._crawl.bury(item, burial, me.name, now=now, wall=wall, most=most)
        return sum(done.released)

    def _lease(self, me: Worker, want: int, full: frozenset[str], per_slot: int, done: Answered) -> None:
        """Hand out up to *want*: a suspect first if *me* holds none, then what the slots have in
        turn.
        """
        crawl = self._crawl
        given: dict[str, int] = {}
        if want > 0 and me.suspect is None:
            suspect = crawl.take_suspect(lambda slot: slot not in full)
            if suspect is not None:
                me.suspect = self._hand(me, suspect, done)
                given[suspect.slot] = 1
        for item in crawl.slots.take(want - len(done.tokens), full, per_slot, given):
            self._hand(me, item, done)

    def _lease_within_limits(
        self, me: Worker, want: int, full: Sequence[str], loads: Mapping[str, int], done: Answered
    ) -> None:
        """The same, where slots have limits."""
        crawl, now = self._crawl, self._clock()
        out = ThrottledLeasing(
            crawl.slots, crawl.throttle, self.options, worker=me.name, loads=loads, avoid=full, now=now
        )
        if want > 0 and me.suspect is None:
            due = now

            def allowed(key: str) -> bool:
                nonlocal due
                room, due = out.allowed(key)
                return room > 0 and due <= now + self.options.lookahead

            suspect = crawl.take_suspect(allowed)
            if suspect is not None:
                out.give(suspect, due)
        out.serve(want)
        for item, departs in out.taken:
            token = self._hand(me, item, done)
            if item.lost >= self.options.isolate_after:
                me.suspect = token
            done.departs.append(departs)
        done.names, done.crowded = list(out.names), list(out.crowded)

    def _hand(self, me: Worker, item: Item, done: Answered) -> str:
        token = f"{next(self._crawl.tokens):x}"
        me.held[token] = item
        done.tokens.append(token)
        return token

    def _answer(self, me: Worker, done: Answered) -> Exchange:
        """What was done, with the leases that are still held and the counts of now."""
        leases, now, throttle = [], self._clock(), self._crawl.throttle
        for token, departs in zip_longest(done.tokens, done.departs, fillvalue=now):
            item = me.held.get(str(token))
            if item is not None:
                slot, *scopes = names_of(item.slot)
                wait = max(0.0, float(departs) - now)
                leases.append(
                    Lease(
                        str(token),
                        item.body,
                        slot,
                        item.priority,
                        item.start,
                        item.lost + 1,
                        item.first,
                        wait=wait,
                        scopes=tuple(scopes),
                    )
                )
        permits = {name: throttle.permits.get(name, {}).get(me.name, 0) for name in done.names}
        permits.update(throttle.notes.get(me.name, {}))
        held = {name: min(max(0.0, until - now), LONGEST) for name, until in done.held.items()}
        return Exchange(
            tuple(done.stored),
            tuple(done.acked),
            tuple(done.released),
            tuple(done.buried),
            tuple(leases),
            self._crawl.size(),
            self._crawl.next_due(self._clock()),
            self._crawl.state(),
            done.lost or me.lost,
            done.reclaimed,
            done.given_up,
            permits,
            tuple(done.crowded),
            held,
        )

    async def wait(self, worker: str, timeout: float) -> bool:
        return await self._crawl.wakeups.wait(worker, timeout)

    # ------------------------------------------------------------------ looks, and verbs for people

    async def state(self) -> CrawlState:
        return self._crawl.state()

    async def size(self) -> QueueSize:
        self._crawl.seen.age(self._clock(), self.options.seen_ttl)
        self._crawl.dead.expire(self._clock(), self.options.dead_ttl)
        return self._crawl.size()

    async def workers(self) -> Sequence[WorkerInfo]:
        now = self._clock()
        everybody = sorted(self._crawl.workers.values(), key=lambda worker: worker.name)
        return [WorkerInfo(worker.name, worker.expires - now, len(worker.held)) for worker in everybody]

    async def peek(self, limit: int = 10) -> Sequence[Entry]:
        items = islice(chain(self._crawl.slots, self._crawl.suspects), max(0, limit))
        return [Entry(item.body, names_of(item.slot)[0], item.priority, None, item.start) for item in items]

    async def forget(self, fingerprints: Sequence[bytes]) -> Sequence[bool]:
        numbers = [fingerprint_number(fingerprint) for fingerprint in fingerprints]
        self._crawl.seen.age(self._clock(), self.options.seen_ttl)
        return [self._crawl.seen.discard(number) for number in numbers]

    async def clear(self) -> None:
        self._crawl.clear()

    async def close(self) -> None:
        """Nothing listens between two calls of :meth:`wait`."""
