"""What must be true, known beside the queue: judged after every step, and in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mocra_scrapy.models import DeadLetter, Exchange, Finish, Lease, QueueSize, SlotLimit

from .graph import Graph
from .link import Link
from .schedule import Schedule
from .worlds import World


class Broken(AssertionError):
    """A rule does not hold. *rule*: its name."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule


@dataclass(frozen=True)
class Held:
    page: int
    link: Link
    shard: int
    deliveries: int
    since: float


def name_of(lease: Lease) -> str:
    """What tells a hand-out from all others of its worker. (Tokens of two shards may be the same.)"""
    return f"{lease.shard}:{lease.token}"


def page_of(body: bytes) -> int:
    return int(body)


class Ledger:
    """Of one simulation.

    Attributes:
        run: the run that is under way.
        fetched: pages of which a worker got all that there is, links included.
        known: pages whose fingerprint the filter has.
        faithful: whether nothing was deleted behind the queue's back.
        complete: whether everything that is reachable has to be fetched.
    """

    def __init__(self, schedule: Schedule, world: World) -> None:
        self.schedule, self.world = schedule, world
        self.graph: Graph = schedule.graph
        self.options = schedule.setup.options
        rules = self.options.rules
        self.limit = SlotLimit() if rules is None else rules.default
        self.run = 1
        self.faithful = self.complete = True
        self.fetched: set[int] = set()
        self.known: set[int] = set()
        self.winner: str | None = None
        self._ended_run = 0
        self._may_have_ended = False
        self._seeder: tuple[Link, float] | None = None  # and since when
        self._signed_off: set[str] = set()  # names of links
        self.unfinished = self.letters = 0
        self.steps = 0
        self._copies: Counter[int] = Counter()  # stored, and neither acknowledged nor buried
        self._handed: Counter[int] = Counter()
        self._replayed: set[int] = set()
        self._stored_at: dict[int, float] = {}
        self._held: dict[tuple[str, str], Held] = {}
        self._last: dict[str, tuple[int, Exchange]] = {}
        self._departures: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}
        self._flights: dict[tuple[str, str], tuple[Link, int, float, tuple[str, ...]]] = {}
        self._lived = self._heard = 0.0  # seconds in which somebody called, and when that was last
        self._lived_at: dict[str, float] = {}  # worker -> at its last call
        self._gaps: dict[tuple[str, int], float] = {}

    def expect(self, holds: bool, rule: str, what: str) -> None:
        if not holds and self.faithful:
            raise Broken(rule, what)

    # ------------------------------------------------------------------ runs

    def in_run(self, run: int, *, finished: bool) -> None:
        """Something was answered that belongs to *run*."""
        self._may_have_ended |= finished
        if run > self.run:
            self.run = run
            self._seeder = None
            self._forget()
            if not self.options.keep_seen:
                self.fetched.clear()

    def _forget(self) -> None:
        """The filter was emptied."""
        self.winner = None
        if not self.options.keep_seen:
            self.known.clear()

    def seeding_claimed(self, link: Link) -> None:
        now, other = self.world.now(), self._seeder
        if other is not None and other[0] is not link:
            alive_until = max(other[1], other[0].renewed.get(0, 0.0)) + self.options.lease
            dead = alive_until < now + self.world.slack
            self.expect(dead, "one_seeder", f"{link.name} seeds, but {other[0].name} does until {alive_until}")
        if link.name not in self._signed_off:  # else it was on its way when the worker left, which ends it
            self._seeder = (link, now)

    def seeding_completed(self, link: Link) -> None:
        self._seeder = None
        missing = set() if self._ended_run == self.run else {page.number for page in self.graph.start} - self.known
        self.expect(not missing, "seeds_are_stored", f"{link.name} completed seeding, but {missing} were never stored")

    def ended(self, link: Link, verdict: Finish) -> None:
        self._may_have_ended = True
        if verdict is not Finish.WON or not self.world.exact or self.winner == link.name:
            return
        self.expect(self.unfinished == 0, "ends_when_done", f"{link.name} ended it with {self.unfinished} left")
        self.expect(self.winner is None, "one_winner", f"{link.name} and {self.winner} won the end")
        missing = {page.number for page in self.graph.start} - self.known
        first = self._ended_run != self.run  # one that was opened again is not seeded again
        self.expect(not (first and missing), "ends_when_done", f"ended before the seeds {missing} were stored")
        self._forget()
        self.winner, self._ended_run = link.name, self.run

    # ------------------------------------------------------------------ an exchange

    def sent(self, link: Link, arguments: Mapping[str, Any]) -> None:
        """Where it is not known when a call takes effect: what it settles may be others' from now
        on.
        """
        if not self.world.exact:
            for lease in self._settled(arguments):
                self._held.pop((link.name, name_of(lease)), None)

    @staticmethod
    def _settled(arguments: Mapping[str, Any]) -> list[Lease]:
        return [*arguments["ack"], *arguments["release"], *(burial.lease for burial in arguments["bury"])]

    def exchanged(self, link: Link, call: int, arguments: Mapping[str, Any], answer: Exchange) -> None:
        """*answer* was given; on an exact world, right now."""
        self.in_run(answer.state.run, finished=answer.state.finished)
        last = self._last.get(link.name)
        if last is not None and last[0] == call:
            self._repeated(link, last[1], answer)
            return
        if last is not None and call < last[0]:
            return  # late, and refused
        self._last[link.name] = (call, answer)
        self._hear(link, answer)
        if answer.lost:
            for key in [key for key in self._held if key[0] == link.name]:
                del self._held[key]
        self._whole(link, arguments, answer)
        self._stored(arguments["push"], answer)
        self._went(link, arguments, answer)
        for lease in answer.leases:
            self._leased(link, lease)

    def _hear(self, link: Link, answer: Exchange) -> None:
        """Nobody dies of a time in which nobody called."""
        if not self.world.exact:
            return
        now, lease = self.world.now(), self.options.lease
        self._lived += gap if (gap := now - self._heard) <= lease / 2 else 0.0
        silent = self._lived - self._lived_at.get(link.name, -lease)
        self._heard, self._lived_at[link.name] = now, self._lived
        # Joins and claims are calls, too, which are not counted here: half a lease is left for them.
        died = not answer.lost or silent > lease / 2 - self.world.slack
        self.expect(died, "outages_kill_nobody", f"{link.name} was taken for dead after {silent:g} s of others' calls")

    def _repeated(self, link: Link, first: Exchange, again: Exchange) -> None:
        for part in ("stored", "stale", "acked", "released", "buried"):
            same = list(getattr(first, part)) == list(getattr(again, part))
            self.expect(same, "one_effect", f"{link.name} repeated a call: another answer, {part}")
        tokens = {name_of(lease) for lease in first.leases}
        self.expect({name_of(lease) for lease in again.leases} <= tokens, "one_effect", "a repeated call leased more")

    def _whole(self, link: Link, arguments: Mapping[str, Any], answer: Exchange) -> None:
        """Of one shard: children that name their parent are stored, or known, where it goes with this
        call, and nowhere else.
        """
        if self.schedule.setup.shards > 1:
            return
        settled = dict(zip(map(name_of, arguments["ack"]), answer.acked, strict=True))
        settled.update(zip((name_of(one.lease) for one in arguments["bury"]), answer.buried, strict=True))
        for place, entry in enumerate(arguments["push"]):
            if entry.parent is not None:
                goes = settled[name_of(entry.parent)]
                what = f"{link.name}: page {page_of(entry.body)} is stale: {place in answer.stale}, its parent goes: {goes}"
                self.expect(goes == (place not in answer.stale), "children_come_with_their_parent", what)

    def _stored(self, entries: Sequence[Any], answer: Exchange) -> None:
        for place, (entry, new) in enumerate(zip(entries, answer.stored, strict=True)):
            page = page_of(entry.body)
            if place in answer.stale:
                self.expect(not new, "children_come_with_their_parent", f"page {page} is stale, and stored")
                continue
            if new:
                self.unfinished += 1
                self._copies[page] += 1
                self.winner = None
                twice = self.world.exact and entry.fingerprint is not None and page in self.known
                self.expect(not twice, "stored_once", f"page {page} was stored again")
                self._stored_at[page] = self.world.now()
            elif entry.fingerprint is not None and self.world.exact:
                self.expect(page in self.known, "nothing_is_refused", f"page {page} was never stored, but refused")
            self.known.add(page)

    def _went(self, link: Link, arguments: Mapping[str, Any], answer: Exchange) -> None:
        gone: dict[str, Lease] = {}
        for lease, done in zip(arguments["ack"], answer.acked, strict=True):
            if done:
                gone[name_of(lease)] = lease
        for burial, done in zip(arguments["bury"], answer.buried, strict=True):
            if done:
                self.letters += 1
                gone[name_of(burial.lease)] = burial.lease
        for token, lease in gone.items():
            page = page_of(lease.body)
            self.unfinished -= 1
            self._copies[page] -= 1
            once = self._copies[page] >= 0 or not self.world.exact
            self.expect(once, "settled_once", f"{link.name} settled page {page}, of which nothing is left")
            self._held.pop((link.name, token), None)
            missing = set(self.graph.all[page].links) - self.known
            early = self.world.exact and missing
            self.expect(not early, "children_first", f"{link.name} settled page {lease.body!r} before {missing}")
        for lease, done in zip(arguments["release"], answer.released, strict=True):
            if done:
                self._held.pop((link.name, name_of(lease)), None)
        self.unfinished -= answer.given_up + answer.stalled
        self.letters += answer.given_up + answer.stalled

    def left(self, link: Link) -> None:
        """*link*'s worker signed off, or is about to: the queue forgets it, its last call too."""
        self._last.pop(link.name, None)
        self._signed_off.add(link.name)
        if self._seeder is not None and self._seeder[0] is link:
            self._seeder = None
        for key in [key for key in self._held if key[0] == link.name]:
            del self._held[key]

    def replayed(self, letters: Sequence[DeadLetter]) -> None:
        self.letters -= len(letters)
        self.unfinished += len(letters)
        pages = [page_of(letter.body) for letter in letters]
        self._copies.update(pages)
        self._replayed.update(pages)
        if letters:
            self.winner = None

    # ------------------------------------------------------------------ leases

    def _leased(self, link: Link, lease: Lease) -> None:
        page, now = self.graph.all[page_of(lease.body)], self._instant(link, lease.shard)
        self._handed[page.number] += 1
        bounded = 1 <= lease.deliveries <= self.options.max_deliveries
        self.expect(bounded, "deliveries_are_bounded", f"page {page.number}: {lease.deliveries}")
        if self.world.exact:
            counted = lease.deliveries <= self._handed[page.number]
            self.expect(counted, "deliveries_are_counted", f"page {page.number}: {lease.deliveries}")
            timed = page.delay and page.filtered and page.number not in self._replayed
            early = timed and now < self._stored_at.get(page.number, now) + page.delay - self.world.slack
            self.expect(not early, "delays_pass", f"page {page.number} was handed out too early")
        same = lease.slot == page.slot and lease.priority == page.priority and lease.scopes == page.scopes
        self.expect(same, "entries_come_back", f"page {page.number}: {lease}")
        self._check_holders(link, page.number, now)
        key = (link.name, name_of(lease))
        self._held[key] = Held(page.number, link, lease.shard, lease.deliveries, now)
        self._check_suspects(link, lease)
        if self.world.exact or lease.wait > 0:
            self._departures[key] = (now + lease.wait, (lease.slot, *lease.scopes))

    def _instant(self, link: Link, shard: int) -> float:
        return self.world.now() if self.world.exact else link.answered.get(shard, self.world.now())

    def _check_holders(self, link: Link, page: int, now: float) -> None:
        """As many living workers have a page at most as there are copies of it: one, as a rule."""
        holders = []
        for key, held in list(self._held.items()):
            if held.page == page:
                alive_until = held.link.renewed.get(held.shard, held.since) + self.options.lease
                if held.link is link or alive_until < now + self.world.slack:
                    del self._held[key]
                else:
                    holders.append(f"{held.link.name} (until {alive_until:g})")
        few = len(holders) < self._copies_of(page)
        self.expect(few, "one_holder", f"page {page} went to {link.name} at {now:g}, but {holders} have it")

    def _copies_of(self, page: int) -> int:
        """How many there are, or may be."""
        if self.world.exact:
            return self._copies[page]
        again = page in self._replayed or (self._may_have_ended and not self.options.keep_seen)
        return 1 << 30 if again or not self.graph.all[page].filtered else 1

    def _check_suspects(self, link: Link, lease: Lease) -> None:
        mine = [held for held in self._held.values() if held.link is link and held.shard == lease.shard]
        suspects = [held.page for held in mine if held.deliveries > self.options.isolate_after]
        self.expect(len(suspects) <= 1, "suspects_alone", f"{link.name} holds {suspects}")

    # ------------------------------------------------------------------ requests in flight

    def started(self, link: Link, lease: Lease) -> None:
        now, names = self.world.now(), (lease.slot, *lease.scopes)
        self._flights[link.name, name_of(lease)] = (link, lease.shard, now, names)
        most = self.limit.concurrency
        if not most:
            return
        flights = [flight for flight in self._flights.values() if lease.slot in flight[3] and self._counts(flight)]
        self.expect(len(flights) <= most, "permits_hold", f"{lease.slot}: {len(flights)} in flight, {most} allowed")

    def _counts(self, flight: tuple[Link, int, float, tuple[str, ...]]) -> bool:
        """Whether the queue knows of it: its worker was never taken for dead since it began."""
        link, shard, since, _ = flight
        silent = self.world.now() - link.renewed.get(shard, since) > self.options.lease - self.world.slack
        return not silent and link.doubted < since

    def landed(self, link: Link, lease: Lease) -> None:
        self._flights.pop((link.name, name_of(lease)), None)

    def is_dead(self, link: Link) -> None:
        """Its process is gone; the queue does not know yet."""
        for key in [key for key in self._flights if key[0] == link.name]:
            del self._flights[key]

    # ------------------------------------------------------------------ counts, and the end

    def in_line(self, misplaced: Sequence[str]) -> None:
        """Whoever has something is reached by a turn, from one place: in line, or where it waits for
        what keeps it.
        """
        self.expect(not misplaced, "one_place_in_line", f"not in one place: {misplaced}")

    def counted(self, size: QueueSize, contents: QueueSize) -> None:
        self.expect(size == contents, "counts_are_right", f"counted {size}, but there are {contents}")
        if self.world.exact:
            self.expect(size.unfinished == self.unfinished, "nothing_is_lost", f"{size}, not {self.unfinished}")
            self.expect(size.dead == self.letters, "nothing_is_lost", f"{size}, not {self.letters} letters")
        if self.limit.concurrency:
            for name, permits in self.world.permits().items():
                holds = name.startswith("@") or permits <= self.limit.concurrency
                self.expect(holds, "permits_are_never_overbooked", f"{name} has {permits}")

    def over(self, size: QueueSize, letters: Sequence[DeadLetter]) -> None:
        """Everybody left, the run is finished."""
        self.expect(not size.unfinished, "ends_when_done", f"finished with {size}")
        dead = {page_of(letter.body) for letter in letters if not letter.done}
        # What a worker gave up had yielded its links before; what the queue gave up had not.
        silent = {page_of(letter.body) for letter in letters if letter.reason == "deliveries"}
        missing = self.graph.reachable(silent) - self.fetched - dead if self.complete else set()
        if missing:  # even where the server came back empty
            raise Broken("nothing_is_lost", f"{sorted(missing)} were neither fetched nor given up")
        self._check_departures()

    def _check_departures(self) -> None:
        limit = self.limit
        if not limit.interval:
            return
        due: dict[str, float] = {}
        for at, names in sorted(self._departures.values()):
            slot = names[0]
            early = at < due.get(slot, at) - (limit.burst - 1) * limit.interval - self.world.slack
            self.expect(not early, "departures_keep_the_interval", f"{slot}: one at {at}, due at {due.get(slot)}")
            due[slot] = max(at, due.get(slot, at)) + limit.interval
