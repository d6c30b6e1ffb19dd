"""The choice of a proxy: of two that come to mind the better one. Never waits, never asks anybody."""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from mocra_scrapy.proxies.members import Member, Wish
from mocra_scrapy.proxies.proxy import is_over

#: Draws after which all are looked at instead, and for how many seconds what was found is believed.
DRAWS, BELIEVED = 24, 0.5
#: Different wishes, and sites of these, that are remembered.
WISHES, SIGHTS = 256, 512


class Bag:
    """Members in no order, of which one is drawn, put in and taken out in no time."""

    __slots__ = ("_at", "members")

    def __init__(self) -> None:
        self.members: list[Member] = []
        self._at: dict[Member, int] = {}

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, member: object) -> bool:
        return member in self._at

    def put(self, member: Member) -> None:
        if member not in self._at:
            self._at[member] = len(self.members)
            self.members.append(member)

    def take_out(self, member: Member) -> None:
        place = self._at.pop(member, None)
        if place is None:
            return
        last = self.members.pop()
        if last is not member:
            self.members[place] = last
            self._at[last] = place


class Group:
    """Those that fit a wish: all, and those that may be taken now as far as all sites go."""

    __slots__ = ("all", "heaviest", "ready")

    def __init__(self) -> None:
        self.all: list[Member] = []
        self.ready = Bag()
        self.heaviest = 1.0


class Choices:
    """Of one worker.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, chance: random.Random | None = None) -> None:
        self.clock, self._chance = clock, chance or random.Random()  # noqa: S311
        self.members: dict[str, Member] = {}
        self._groups: OrderedDict[Wish, Group] = OrderedDict()
        self._seen: OrderedDict[tuple[Wish, str], tuple[float, list[Member]]] = OrderedDict()
        self._probes: dict[Member, set[str]] = {}

    # ------------------------------------------------------------------ what there is

    def replace(self, members: Iterable[Member]) -> list[Member]:
        """These and no others; those that are gone."""
        new = {member.identity: member for member in members}
        gone = [member for identity, member in self.members.items() if identity not in new]
        self.members = new
        for member in gone:
            member.is_gone = True
            self._probes.pop(member, None)
        self._groups.clear()
        self._seen.clear()
        return gone

    def group(self, wish: Wish) -> Group:
        """Those that fit *wish*."""
        known = self._groups.get(wish)
        if known is None:
            known, now = Group(), self.clock()
            known.all = [member for member in self.members.values() if member.fits(wish)]
            known.heaviest = max((member.proxy.weight for member in known.all), default=1.0)
            for member in known.all:
                if self._is_ready(member, now):
                    known.ready.put(member)
            self._groups[wish] = known
            if len(self._groups) > WISHES:
                self._groups.popitem(last=False)
        return known

    def _is_ready(self, member: Member, now: float) -> bool:
        return not member.is_gone and not member.whole.is_out(now) and member.has_permit() and not is_over(member.proxy)

    def changed(self, member: Member) -> None:
        """Something of *member* changed that says whether it may be taken."""
        is_ready = self._is_ready(member, self.clock())
        for wish, group in self._groups.items():
            if is_ready and member.fits(wish):
                group.ready.put(member)
            elif not is_ready:
                group.ready.take_out(member)

    def has_probe(self, member: Member, site: str) -> None:
        """This worker may try *member* once, for *site* or (empty) for any."""
        member.at(site).is_ours = True
        self._probes.setdefault(member, set()).add(site)

    def no_probe(self, member: Member, site: str) -> None:
        """It was used, or is somebody else's."""
        member.at(site).is_ours = False
        sites = self._probes.get(member)
        if sites is not None:
            sites.discard(site)
            if not sites:
                del self._probes[member]

    def probes(self) -> list[tuple[Member, str]]:
        """Those that this worker has and has not used."""
        return [(member, site) for member, sites in self._probes.items() for site in sites]

    # ------------------------------------------------------------------ the choice

    def choose(self, site: str, wish: Wish) -> Member | None:
        """The one to take now, with a permit if it needs one; ``None``: there is none now."""
        now = self.clock()
        probe = self._probe_for(site, wish, now) if self._probes else None
        if probe is not None:
            return probe
        group = self.group(wish)
        first = second = None
        for member in self._drawn(group, site, wish, now):
            if first is None:
                first = member
            elif member is not first:
                second = member
                break
        if first is None or second is None:
            return first
        return first if first.score(site) >= second.score(site) else second

    def _drawn(self, group: Group, site: str, wish: Wish, now: float) -> Iterator[Member]:
        """Members that may be taken, by chance; the same may come twice."""
        members, chance, heaviest = group.ready.members, self._chance.random, group.heaviest
        found = draws = 0
        while members and draws < DRAWS:
            draws += 1
            member = members[int(chance() * len(members))]
            if member.proxy.weight < heaviest * chance():
                continue
            if member.proxy.expires is not None and is_over(member.proxy):
                self.changed(member)
            elif member.is_in(site, now):
                found += 1
                yield member
        if found or not members:
            return
        some = self._seen_for(group, site, wish, now)
        for _ in range(DRAWS if some else 0):
            member = some[int(chance() * len(some))]
            if member.is_in(site, now) and member.has_permit():
                yield member

    def _seen_for(self, group: Group, site: str, wish: Wish, now: float) -> list[Member]:
        """All that may be taken, as they were a moment ago."""
        until, some = self._seen.get((wish, site), (0.0, []))
        if until <= now:
            some = [member for member in group.ready.members if member.is_in(site, now)]
            self._seen[wish, site] = (now + BELIEVED, some)
            if len(self._seen) > SIGHTS:
                self._seen.popitem(last=False)
        return some

    def _probe_for(self, site: str, wish: Wish, now: float) -> Member | None:
        for member in self._probes:
            if member.fits(wish) and member.has_permit() and self.may_probe(member, site, now):
                return member
        return None

    def may_probe(self, member: Member, site: str, now: float) -> bool:
        """Whether *member* may go to *site* as a probe. Who has that of the proxy as a whole also tries
        the site, where that could be probed as well: nobody else could.
        """
        if member.is_gone or is_over(member.proxy):
            return False
        whole, known = member.whole, member.sites.get(site)
        at_site = known is not None and known.is_out(now)
        if whole.is_out(now):
            return whole.is_ours and (not at_site or (known is not None and known.until <= now))
        return at_site and known is not None and known.is_ours

    def may_take(self, member: Member, site: str) -> bool:
        """Whether *member*, and no other one, may be taken now."""
        now = self.clock()
        if member.is_gone or is_over(member.proxy) or not member.has_permit():
            return False
        return member.is_in(site, now) or self.may_probe(member, site, now)

    def outlook(self, site: str, wish: Wish) -> float | None:
        """Where none can be taken: seconds until one may be; 0: one is only busy; ``None``: nobody
        knows, there is none.
        """
        now, best = self.clock(), None
        for member in self.group(wish).all:
            if member.is_gone or is_over(member.proxy):
                continue
            wait = member.back_at(site, now) - now
            if wait <= 0:
                return 0.0
            best = wait if best is None else min(best, wait)
        return best

    def likely(self, site: str, wish: Wish) -> Member | None:
        """One that is in, whether or not there is a permit for it now: of two the better one."""
        now, all_of_them = self.clock(), self.group(wish).all
        some: list[Member] = []
        for _ in range(DRAWS):
            if not all_of_them:
                return None
            member = all_of_them[int(self._chance.random() * len(all_of_them))]
            if member.is_in(site, now) and not is_over(member.proxy):
                some.append(member)
                if len(some) == 2:
                    break
        if not some:
            some = [member for member in all_of_them if member.is_in(site, now) and not is_over(member.proxy)][:1]
        return max(some, key=lambda member: member.score(site), default=None)
