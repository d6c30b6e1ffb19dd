"""What must be true of what the sites saw. It knows the schedule and when workers came and went, not what the
store thinks of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from .schedule import HOSTS, LEASE, Rule, Schedule
from .site import Sites, Visit, most_at_once

#: Seconds by which a departure may reach the site late, and for which they are booked ahead.
LATE, AHEAD = 0.1, 0.25
#: Of the rate, where there is work.
USED = 0.95
#: Seconds after which a worker that was started, or a host that was held, must be at work.
SETTLED = 1.0
#: Departures that are lost when a worker dies or leaves, or when a limit changes: those that are booked ahead.
DISTURBED = 2
SCOPE = "@both"


class Broken(AssertionError):
    """A rule does not hold. *rule*: its name."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule


@dataclass
class Member:
    """A worker, as far as its rules count. *buried*: when those that live must know of its death. *silent*: when it may
    be taken for dead although it only stands still.
    """

    number: int
    joined: float = 0.0
    gone: float = 0.0
    killed: float = 0.0
    buried: float = 0.0
    silent: tuple[float, float] = (0.0, 0.0)


@dataclass
class History:
    """The limits of a name over time: ``(since, rule)`` each."""

    steps: list[tuple[float, Rule]] = field(default_factory=list)

    def note(self, now: float, rule: Rule) -> None:
        if not self.steps or self.steps[-1][1] != rule:
            self.steps.append((now, rule))

    def fastest(self, begin: float, end: float) -> list[tuple[float, float, Rule]]:
        """``(from, to, rule)`` of what was in force in that time."""
        pieces = []
        for i, (since, rule) in enumerate(self.steps):
            until = self.steps[i + 1][0] if i + 1 < len(self.steps) else end + 1
            if until > begin and since <= end:
                pieces.append((max(begin, since), min(end, until), rule))
        return pieces


@dataclass
class Use:
    """When there was work for a rate: ``(from, to, departures a second)``, in the order of time."""

    pieces: list[tuple[float, float, float]] = field(default_factory=list)

    def add(self, since: float, now: float, rate: float) -> None:
        self.pieces.append((since, now, rate))

    def without(self, times: list[tuple[float, float]]) -> Use:
        """What is left of it outside these."""
        left = self.pieces
        for begin, end in times:
            left = [
                (a, b, rate)
                for since, until, rate in left
                for a, b in ((since, min(until, begin)), (max(since, end), until))
                if b > a
            ]
        return Use(sorted(left))

    def spans(self) -> list[tuple[float, float]]:
        """Those that touch in one."""
        spans: list[tuple[float, float]] = []
        for since, until, _ in self.pieces:
            if spans and spans[-1][1] == since:
                spans[-1] = (spans[-1][0], until)
            else:
                spans.append((since, until))
        return spans

    def rate_at(self, instant: float) -> float:
        """0: it was not to be used then."""
        return max((rate for since, until, rate in self.pieces if since < instant <= until), default=0.0)

    def expected(self) -> float:
        return sum((until - since) * rate for since, until, rate in self.pieces)


class Judge:
    """Of one simulation."""

    def __init__(self, schedule: Schedule) -> None:
        self._setup = schedule.setup
        self._members: dict[str, Member] = {}
        self._changes: dict[str, float] = {}
        self._paused: dict[str, tuple[float, float]] = {}
        self._resumed: list[tuple[str, float]] = []
        self._pauses: list[tuple[str, float, float]] = []
        self._loosest: dict[str, History] = {name: History() for name in (*HOSTS, SCOPE)}
        self._uses: dict[str, Use] = {name: Use() for name in (*HOSTS, SCOPE)}
        self._looked = 0.0
        self._disturbed: list[float] = []

    # ------------------------------------------------------------------ what happens

    def started(self, worker: str, number: int, now: float) -> None:
        self._members[worker] = Member(number)

    def joined(self, worker: str, now: float) -> None:
        member = self._members[worker]
        member.joined = member.joined or now
        self._note(now)

    def left(self, worker: str, now: float) -> None:
        self._members[worker].gone = now
        self._disturb(now)

    def leaves(self, worker: str, now: float) -> None:
        self._disturb(now)

    def killed(self, worker: str, now: float) -> None:
        member = self._members[worker]
        member.killed, member.buried = now, now + LEASE + 3
        self._disturb(now)

    def froze(self, worker: str, now: float, until: float) -> None:
        member = self._members[worker]
        since = member.silent[0] if now < member.silent[1] else now + LEASE / 2  # it called seconds ago, perhaps
        if until > since:
            member.silent = since, until + SETTLED

    def changed(self, host: str, interval: float, now: float) -> None:
        self._changes[host] = interval
        self._disturb(now)

    def paused(self, host: str, now: float) -> None:
        self._paused.setdefault(host, (now, float("inf")))

    def resumed(self, host: str, now: float) -> None:
        self._resumed.append((host, now))
        if host in self._paused:
            self._pauses.append((host, self._paused.pop(host)[0], now))
        self._disturb(now)

    def _disturb(self, now: float) -> None:
        self._disturbed.append(now)
        self._note(now)

    def _note(self, now: float) -> None:
        for name, history in self._loosest.items():
            rule = self._rule(name, now, lapsed=False)
            if rule is not None:
                history.note(now, rule)

    def _rule(self, name: str, now: float, *, lapsed: bool) -> Rule | None:
        """In force now. *lapsed*: those of the dead too, as long as nobody can know."""

        def counts(member: Member) -> bool:
            dead = member.killed and (not lapsed or now > member.buried)
            silent = not lapsed and member.silent[0] <= now <= member.silent[1]
            return bool(member.joined) and not member.gone and not dead and not silent

        numbers = {member.number for member in self._members.values() if counts(member)}
        if not numbers:
            return None
        if name == SCOPE:
            return Rule(self._setup.scope) if self._setup.scope else None
        rules = [self._setup.rules[number][HOSTS.index(name)] for number in numbers]
        slowest = max(rules, key=lambda rule: (rule.interval, -rule.jitter))
        few = min((rule.concurrency for rule in rules if rule.concurrency), default=0)
        rule = Rule(slowest.interval, min(rule.burst for rule in rules), few, slowest.jitter)
        change = self._changes.get(name)
        return replace(rule, interval=change) if change else rule

    # ------------------------------------------------------------------ while it goes on

    def looked(self, now: float, able: set[str], frozen: set[str], pending: Callable[[str], int]) -> None:
        """Whether there was work, and somebody who could do it, since the last look."""
        since, self._looked = self._looked, now
        self._note(now)
        if not able:  # an outage costs nobody a lease, and this looks like one
            for member in self._members.values():
                if member.killed and since < member.buried:
                    member.buried += now - since
        ready = [w for w in able if (m := self._members[w]).joined and now - m.joined > SETTLED]
        if not ready or not since:
            return
        works = {host: pending(host) >= 3 and host not in self._paused for host in HOSTS}
        rules = {name: self._rule(name, now, lapsed=True) for name in (*HOSTS, SCOPE)}
        scope = rules[SCOPE]
        for host in HOSTS:
            rule = rules[host]
            if scope is None and works[host] and rule is not None and self._can_be_used(rule, now, bool(frozen)):
                self._uses[host].add(since, now, 1 / rule.interval)
        slowest = max((rule.interval for host in HOSTS if (rule := rules[host]) is not None), default=0.0)
        limited = [rule for host in HOSTS if (rule := rules[host]) is not None]
        both = all(works.values()) and all(self._can_be_used(rule, now, bool(frozen)) for rule in limited)
        if scope is not None and both and slowest <= scope.interval:
            self._uses[SCOPE].add(since, now, 1 / scope.interval)

    def _can_be_used(self, rule: Rule, now: float, any_frozen: bool) -> bool:
        """Whether the rate is what limits."""
        if rule.jitter:
            return False
        holders_gone = any_frozen or any(m.killed and now < m.buried for m in self._members.values())
        # A page that dawdles has a permit meanwhile: 4/3 of a second in the mean.
        takes = self._setup.response + dict(self._setup.manners).get("slow", 0.0) * 4 / 3
        needed = 3 * takes / rule.interval + 2
        return not rule.concurrency or (rule.concurrency >= needed and not holders_gone)

    def use_of(self, name: str) -> str:
        """For people."""
        use = self._uses[name]
        return f"{use.expected():.1f} expected in {len(use.spans())} spans"

    # ------------------------------------------------------------------ in the end

    def over(self, sites: Sites, now: float) -> None:
        names = [(host, [v for v in sites.visits if v.host == host]) for host in HOSTS]
        if self._setup.scope:
            names.append((SCOPE, sites.visits))
        for name, visits in names:
            self._within_the_rate([v.at for v in visits], name)
            self._used(visits, name, sites)
        for host in HOSTS:
            self._within_the_concurrency(sites, host)
        self._nobody_comes_while_held(sites)

    def _within_the_rate(self, times: list[float], name: str) -> None:
        """Never more than burst + rate x time."""
        if not times:
            return
        history = self._loosest[name]
        # What was booked before a change may still come, and late; the last one keeps the next away by its own interval.
        way = 2 * self._setup.latency  # an answer says how long to wait from its arrival on
        pieces = [
            (since - 0.01 if i else 0.0, until + AHEAD + LATE + 5 * way + rule.interval, rule)
            for i, (since, until, rule) in enumerate(history.fastest(0.0, times[-1]))
        ]
        ahead = max((r.burst - 1) * r.interval / _least(r) for _, _, r in pieces)
        marks = _marks(pieces, times)
        for i in range(len(times)):
            begin = marks(times[i] - LATE - way)
            for j in range(i + 1, len(times)):
                most = 1 + ahead + marks(times[j]) - begin
                if j - i + 1 > most + 1e-3:
                    raise Broken(
                        "never_above_the_rate",
                        f"{j - i + 1} at {name} from {times[i] - 1000:.3f} to {times[j] - 1000:.3f} s, not {most:.2f}",
                    )

    def _within_the_concurrency(self, sites: Sites, host: str) -> None:
        rules = [rule.concurrency for _, rule in self._loosest[host].steps]
        if not rules or 0 in rules:
            return
        most, when = most_at_once(sites.visits, host)
        if most > max(rules):
            raise Broken(
                "never_above_the_concurrency", f"{most} at once at {host}, {when - 1000:.3f} s, not {max(rules)}"
            )

    def _nobody_comes_while_held(self, sites: Sites) -> None:
        grace = 0.2 + 20 * self._setup.latency
        for host, since, until in [*sites.held, *self._pauses]:
            until = min([until, *(at for name, at in self._resumed if name == host and at > since)])
            for visit in sites.visits:
                # Whoever stood still, or died, may not have told of it.
                if visit.host == host and since + grace < visit.at < until - 0.05 and not sites.was_told_late(since):
                    raise Broken(
                        "a_hold_is_kept",
                        f"{visit.worker} came to {host} at {visit.at - 1000:.3f} s, held from {since - 1000:.3f} to {until - 1000:.3f}",
                    )

    def _used(self, visits: Iterable[Visit], name: str, sites: Sites) -> None:
        """At least so much of the rate as there was work, outside the holds of sites.

        What is forgiven, each because it is lost in one process before others can know of it:

        * a departure for each page that dawdles, or whose callback computes: its own goes by meanwhile;
        * for each that was not used the time until the store hears of it; all of it where others are booked
          behind it by then, which keep their distance: it is of use for its instant only, and that has come;
        * what those have booked who die, leave, or are told of a change: DISTURBED;
        * one at each end of a stretch with work, as looks come between departures.
        """
        held = [(b - self._setup.response, e + SETTLED) for host, b, e in sites.held if name in (host, SCOPE)]
        use = self._uses[name].without(held)
        spans = use.spans()
        inside = [visit for visit in visits if any(since < visit.at <= until for since, until in spans)]
        hears = 0.02 + 6 * self._setup.latency
        unused = [at for host, at in sites.unused if name in (host, SCOPE)]
        rates = [use.rate_at(at) for at in unused]
        expected = use.expected() - sum(1 if rate * AHEAD > 1 else hears * rate for rate in rates)
        dawdled = [at for host, at in sites.dawdled if name in (host, SCOPE)]
        lost = 1 + len(spans) + sum(since < at <= until for since, until in spans for at in dawdled)
        lost += sum(visit.manner == "block" for visit in inside)
        lost += DISTURBED * sum(since <= at <= until for since, until in spans for at in self._disturbed)
        least = USED * expected - lost
        if len(inside) < least:
            raise Broken(
                "the_rate_is_used",
                f"{len(inside)} at {name} where {expected:.1f} could have come: at least {least:.1f}",
            )


def _least(rule: Rule) -> float:
    return rule.interval * (1 - rule.jitter)


def _marks(pieces: list[tuple[float, float, Rule]], times: list[float]) -> Callable[[float], float]:
    """The integral of the highest rate in force, from the beginning on."""
    edges = sorted({t for since, until, _ in pieces for t in (since, until)} | {times[0] - 1, times[-1] + 1})
    totals, rates = [0.0], []
    for a, b in pairwise(edges):
        rates.append(max((1 / _least(r) for since, until, r in pieces if since <= a and until >= b), default=0.0))
        totals.append(totals[-1] + (b - a) * rates[-1])

    def until(t: float) -> float:
        i = min(max(bisect_right(edges, t) - 1, 0), len(rates) - 1)
        return totals[i] + (t - edges[i]) * rates[i]

    return until
