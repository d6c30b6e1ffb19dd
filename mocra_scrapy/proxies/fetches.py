"""Requests and the proxies through which they go, from the choice to what came of it."""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.proxies import CREDENTIALS, MARK, OF_PROXY, OF_SITE, is_of_pool
from mocra_scrapy.proxies.members import Wish
from mocra_scrapy.proxies.sticky import Key, key_of
from mocra_scrapy.proxies.verdicts import GOOD, NOTHING

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.models import ProxyRules
    from mocra_scrapy.proxies.choices import Choices
    from mocra_scrapy.proxies.members import Member
    from mocra_scrapy.proxies.reports import Reports
    from mocra_scrapy.proxies.sticky import Sticky
    from mocra_scrapy.proxies.turns import Turns
    from mocra_scrapy.proxies.wants import Wants

FIX = 'Set False (no proxy), or a dict of "tags", "country" and "sticky"'


class Taken(NamedTuple):
    """A request on its way. ``probe``: bits of what it is the probe of."""

    member: Member
    site: str
    probe: int


class Asked(NamedTuple):
    """What a request wants."""

    site: str
    wish: Wish
    key: Key | None


class Fetches:
    """Of one worker.

    Args:
        slot_of: the download slot of a request.
        session_of: its session, where sessions are kept.
        secret: ``MOCRA_SECRET_KEY``.
    """

    def __init__(
        self,
        choices: Choices,
        wants: Wants,
        reports: Reports,
        turns: Turns,
        sticky: Sticky,
        *,
        rules: ProxyRules,
        slot_of: Callable[[Request], str],
        session_of: Callable[[Request], Any],
        secret: str | None,
    ) -> None:
        self._choices, self._wants, self._reports = choices, wants, reports
        self._turns, self._sticky, self._rules = turns, sticky, rules
        self._slot_of, self._session_of, self._secret = slot_of, session_of, secret
        self._out: dict[int, list[tuple[weakref.ref[Request], Taken]]] = {}
        self._unjudged: weakref.WeakKeyDictionary[Request, Taken] = weakref.WeakKeyDictionary()

    # ------------------------------------------------------------------ what is wanted

    def asked(self, request: Request) -> Asked | None:
        """``None``: it goes without the pool: it has a proxy of its own, or wants none.

        Raises:
            ConfigurationError: its ``mocra_proxy`` makes no sense.
        """
        meta = request.meta
        if "proxy" in meta and not is_of_pool(meta):
            return None
        scheme = request.url.partition(":")[0]
        if scheme not in ("http", "https", "ws", "wss"):
            return None
        value = meta.get("mocra_proxy")
        if value is False:
            return None
        site = self._slot_of(request)
        self._wants.wanted(site)
        if value is None or value is True:
            return Asked(site, Wish(scheme=scheme), self._key_of_session(request))
        if not isinstance(value, Mapping) or value.keys() - {"tags", "country", "sticky"}:
            raise ConfigurationError("meta['mocra_proxy']", f"{value!r} is not what a request can ask for", FIX)
        tags = value.get("tags") or ()
        tags = tags.split(",") if isinstance(tags, str) else tags
        wish = Wish(
            frozenset(str(tag).strip().lower() for tag in tags), str(value.get("country") or "").lower(), scheme
        )
        sticky = value.get("sticky")
        key = self._key_of_session(request) if sticky is None else key_of(f"user:{sticky}", self._secret)
        return Asked(site, wish, key)

    def _key_of_session(self, request: Request) -> Key | None:
        session = self._session_of(request)
        if session is None or not session.sticky:
            return None
        key = key_of(f"session:{session.pool}:{session.id}", self._secret)
        # No site has seen one that went nowhere yet: it takes another proxy, and waits for none.
        return key._replace(waits=bool(session.proxy), kept=session.proxy, of_session=True)

    def retire_session(self, request: Request, asked: Asked) -> bool:
        """Whether the session of *request* is given up: its proxy is gone for good, and the two are one
        visitor.
        """
        if asked.key is None or not asked.key.waits or not self._sticky.is_lost(asked.key, asked.site, asked.wish):
            return False
        session = self._session_of(request)
        if session is not None:
            session.retire("its proxy is gone")
        return True

    # ------------------------------------------------------------------ the way out

    def can_go(self, asked: Asked) -> bool:
        """Whether there is a proxy for it now."""
        if asked.key is None:
            return self._choices.choose(asked.site, asked.wish) is not None
        member = self._sticky.member_of(asked.key)
        return member is not None and self._fits(asked, member)

    def _fits(self, asked: Asked, member: Member) -> bool:
        lost = asked.key is not None and self._sticky.is_lost(asked.key, asked.site, asked.wish)
        return not lost and self._choices.may_take(member, asked.site)

    def take(self, request: Request, asked: Asked) -> bool:
        """Send *request* through a proxy; ``False``: there is none for it now."""
        if asked.key is None:
            member = self._choices.choose(asked.site, asked.wish)
        else:
            member = self._sticky.member_of(asked.key)
            if member is not None and not self._fits(asked, member):
                member = None
        if member is None:
            return False
        if member.cap and not self._turns.permits_hold:
            self._turns.forget_permits()
            return False
        self._go(request, asked, member)
        return True

    def _go(self, request: Request, asked: Asked, member: Member) -> None:
        now, site = self._choices.clock(), asked.site
        probe = 0
        for bit, name, health in ((OF_PROXY, "", member.whole), (OF_SITE, site, member.sites.get(site))):
            if health is not None and health.is_out(now):
                probe |= bit
                self._choices.no_probe(member, name)
        member.in_use += 1
        member.used_at = now
        if member.cap:
            self._wants.touch(member)
            if not member.has_permit():
                self._choices.changed(member)
        self._out.setdefault(id(request), []).append((weakref.ref(request), Taken(member, site, probe)))
        self._set(request, asked, member)

    def _set(self, request: Request, asked: Asked, member: Member) -> None:
        proxy = member.proxy
        request.meta["proxy"], request.meta[MARK] = proxy.address, member.identity
        name = None
        if proxy.session:
            session = asked.key.name if asked.key is not None else f"{random.getrandbits(48):012x}"
            country = asked.wish.country or proxy.country
            name = proxy.session.replace("{session}", session).replace("{country}", country)
        authorization = proxy.authorization(name)
        if authorization is None:
            request.headers.pop(b"Proxy-Authorization", None)
        else:
            request.headers[b"Proxy-Authorization"] = authorization
        session_of = self._session_of(request) if asked.key is not None and asked.key.of_session else None
        if session_of is not None and session_of.proxy != member.identity:
            session_of.bind_proxy(member.identity)

    # ------------------------------------------------------------------ waiting

    def outlook(self, asked: Asked) -> float | None:
        """Seconds until there may be one; 0: it is only busy, or being asked for; ``None``: nobody
        knows.
        """
        if asked.key is not None:
            member = self._sticky.member_of(asked.key)
            now = self._choices.clock()
            if member is not None and not self._sticky.is_lost(asked.key, asked.site, asked.wish):
                return member.back_at(asked.site, now) - now
        return self._choices.outlook(asked.site, asked.wish)

    async def wait(self, asked: Asked, seconds: float) -> None:
        """Until it may be worth asking again; *seconds* at most."""
        member = None
        if asked.key is not None:
            member = self._sticky.member_of(asked.key)
            if member is None or self._sticky.is_lost(asked.key, asked.site, asked.wish):
                self._sticky.ask(asked.key, asked.site, asked.wish)
                member = None
        await self._turns.wait(asked.wish, asked.site, member, seconds)

    # ------------------------------------------------------------------ the way back

    def returned(self, request: Request) -> Taken | None:
        """*request* has left the downloader: its permit is free. ``None``: it did not go through the
        pool.
        """
        some = self._out.get(id(request))
        if not some:
            return None
        _, taken = some.pop()
        if not some:
            del self._out[id(request)]
        self._release(taken.member)
        return taken

    def _release(self, member: Member) -> None:
        member.in_use -= 1
        if member.cap:
            self._wants.touch(member)
            self._choices.changed(member)
            self._turns.wake()

    def sweep(self) -> None:
        """Requests of which nobody heard the end, and that nobody has any more."""
        for number, some in list(self._out.items()):
            for one in [one for one in some if one[0]() is None]:
                some.remove(one)
                self._release(one[1].member)
                self.judged(one[1], NOTHING, 0.0)
            if not some:
                del self._out[number]

    def judged(self, taken: Taken, verdict: str, latency: float) -> None:
        """What came of it."""
        identity, site, probe = taken.member.identity, taken.site, taken.probe
        health = taken.member.at(site)
        if verdict == GOOD:
            health.row = 0
            self._reports.good(identity, site, latency, probe)
        elif verdict == NOTHING:
            for bit in (OF_PROXY, OF_SITE):
                if probe & bit:
                    self._reports.unused(identity, site, bit)
        else:
            self._reports.bad(identity, site, verdict, probe)
            self._alone(taken, verdict)
        if self._reports.is_urgent:
            self._turns.kick()

    def _alone(self, taken: Taken, verdict: str) -> None:
        """While the store is away this worker judges for itself."""
        health = taken.member.at(taken.site)
        health.row += 1
        if self._turns.is_away and (health.row >= self._rules.failures or verdict == CREDENTIALS):
            health.row, health.local = 0, self._choices.clock() + self._rules.cool_down
            self._choices.changed(taken.member)

    def judge_later(self, request: Request, taken: Taken) -> None:
        """Its body has to be looked at first."""
        self._unjudged[request] = taken

    def unjudged(self, request: Request) -> Taken | None:
        """Of one whose body can be looked at now."""
        return self._unjudged.pop(request, None)

    def is_down(self, site: str) -> bool:
        """Whether *site* is at fault, not the proxies through which it can't be reached."""
        return self._turns.down.get(site, 0.0) > self._choices.clock()

    @property
    def in_flight(self) -> int:
        return len(self._out)
