"""Which permits this worker wants to hold, and which records it would probe. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable

from mocra_scrapy.models import PermitWish
from mocra_scrapy.models.proxies import MOST_RECORDS
from mocra_scrapy.proxies.choices import Choices
from mocra_scrapy.proxies.members import Member, Wish

#: Seconds that a permit is kept that nobody uses.
IDLE = 15.0
#: Proxies that one turn looks at for more permits, beside those that are held.
LOOKED_AT = 200
#: Seconds after its last request for which a site's proxies are probed, and such sites.
LATELY, SITES = 120.0, 10_000
#: Probes that a worker has at a time, and records that it looks at for them in one turn.
PROBES, CANDIDATES = 8, 2000

assert CANDIDATES < MOST_RECORDS


class Wants:
    """Of one worker.

    Args:
        ahead: permits that are held beyond those in use, while nobody is short.
    """

    def __init__(self, choices: Choices, ahead: int, chance: random.Random | None = None) -> None:
        self._choices, self.ahead = choices, ahead
        self._chance = chance or random.Random()  # noqa: S311
        self.held: dict[Member, None] = {}  # those with a cap that it holds or uses, the gone ones included
        self._sites: dict[str, float] = {}  # site -> when somebody last wanted a proxy for it
        self._out: dict[
            tuple[Member, str], None
        ] = {}  # records that are out, the one that was looked at last at the end

    def touch(self, member: Member) -> None:
        """*member*, which has a cap, was taken, given back or granted."""
        if member.cap:
            if member.granted or member.in_use:
                self.held[member] = None
            else:
                self.held.pop(member, None)

    def wanted(self, site: str) -> None:
        """Somebody wants a proxy for *site*."""
        self._sites.pop(site, None)
        self._sites[site] = self._choices.clock()
        if len(self._sites) > SITES:
            del self._sites[next(iter(self._sites))]

    def heard(self, member: Member, site: str) -> None:
        """A record of *member* changed."""
        if member.at(site).until and not member.is_gone:
            self._out[member, site] = None
        else:
            self._out.pop((member, site), None)

    # ------------------------------------------------------------------ permits

    def permits(self, waiting: Iterable[tuple[Wish, str, Member | None]], is_short: bool) -> list[PermitWish]:
        """All that this worker wants to hold.

        Args:
            waiting: what somebody waits for: a wish and a site, or this very member.
        """
        now, wanted, free = self._choices.clock(), dict[Member, int](), 0
        for member in self.held:
            keeps = member.in_use
            if not is_short and not member.is_gone and now - member.used_at < IDLE and not member.whole.is_out(now):
                keeps = max(keeps, member.granted)
            wanted[member] = keeps
            free += max(0, keeps - member.in_use)
        for wish, site, bound_to in waiting:
            self._one_more(wanted, wish, site, bound_to, now)
        for member, site in self._choices.probes():
            if member.cap and not member.has_permit():
                wanted[member] = max(wanted.get(member, 0), min(member.cap, member.in_use + 1))
            del site
        if not is_short and free < self.ahead:
            self._more(wanted, self.ahead - free, now)
        return [PermitWish(member.identity, number, member.cap) for member, number in wanted.items()]

    def _one_more(self, wanted: dict[Member, int], wish: Wish, site: str, member: Member | None, now: float) -> None:
        """For one that waits: of the one that it must have, or of one that has room."""
        some: list[Member] = self._sample(self._choices.group(wish).all, 32) if member is None else [member]
        for one in some:
            number = wanted.get(one, one.in_use)
            if one.cap and number < one.cap and not one.is_gone and one.denied <= now and one.is_in(site, now):
                wanted[one] = number + 1
                return

    def _more(self, wanted: dict[Member, int], number: int, now: float) -> None:
        """In blocks, of those that come to mind."""
        for member in self._sample(list(self._choices.members.values()), LOOKED_AT):
            if number <= 0:
                return
            has = wanted.get(member, member.in_use)
            if not member.cap or has >= member.cap or member.denied > now or not member.is_in("", now):
                continue
            block = min(member.cap - has, max(1, member.cap // 4))
            wanted[member] = has + block
            member.used_at = now
            number -= block

    def _sample(self, members: list[Member], number: int) -> list[Member]:
        if len(members) <= number:
            some = list(members)
            self._chance.shuffle(some)
            return some
        return self._chance.sample(members, number)

    # ------------------------------------------------------------------ probes

    def probes(self) -> list[tuple[Member, str]]:
        """Records that are out whose time is over, and of which this worker would try one."""
        now, found = self._choices.clock(), list[tuple[Member, str]]()
        room = PROBES - len(self._choices.probes())
        for key in list(self._out)[:CANDIDATES]:
            if len(found) >= room:
                break
            member, site = key
            health = member.at(site)
            if member.is_gone or not health.until:
                del self._out[key]
            elif site and member.whole.is_out(now):
                continue  # whoever probes it as a whole tries this, too
            elif health.until <= now and not health.is_ours and self._is_used(site, now):
                found.append(key)
                del self._out[key]
                self._out[key] = None
        return found

    def _is_used(self, site: str, now: float) -> bool:
        return not site or now - self._sites.get(site, -LATELY) < LATELY

    def next_probe(self) -> float | None:
        """When the next of them may be asked for that could not be asked for before; ``None``: none."""
        now, some = self._choices.clock(), list(self._out)[:CANDIDATES]
        untils = [member.at(site).until for member, site in some if member.at(site).until > now]
        return min(untils, default=None)
