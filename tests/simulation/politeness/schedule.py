"""What happens in one simulation: drawn from a seed, written and read as JSON."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from typing import Any

#: Virtual seconds: of a whole simulation; before which events happen; after which a worker is dead that says nothing.
LENGTH, EVENTFUL, LEASE = 50.0, 38.0, 9.0
#: What a page may be like, beside ``ok``; the shares are drawn for each simulation.
MANNERS = ("redirect", "cached", "ignored", "slow", "media", "block", "links")
HOSTS = ("a.test", "b.test")


@dataclass(frozen=True)
class Rule:
    """The settings' rule of one host. *interval*: seconds; *concurrency* 0: any number."""

    interval: float
    burst: int = 1
    concurrency: int = 0
    jitter: float = 0.0

    def setting(self, scope: str) -> dict[str, Any]:
        rule: dict[str, Any] = {"delay": self.interval, "burst": self.burst, "jitter": self.jitter}
        rule["concurrency"] = self.concurrency
        if scope:
            rule["scopes"] = [scope]
        return rule


@dataclass(frozen=True)
class Setup:
    """Attributes:
    rules: of each host, in each of two sets; workers have one or the other.
    scope: interval of a scope that both hosts share; 0: there is none.
    manners: manner -> its share of the pages.
    response: seconds that an answer takes on average.
    latency: seconds of the way to the store.
    workers: the set of rules of each worker that is there from the start.
    crawl_delay: what each site's robots.txt asks for, in seconds; 0: nobody reads it.
    """

    rules: tuple[tuple[Rule, ...], ...]
    workers: tuple[int, ...]
    manners: tuple[tuple[str, float], ...] = ()
    scope: float = 0.0
    response: float = 0.3
    latency: float = 0.002
    pages: int = 150
    crawl_delay: float = 0.0


@dataclass(frozen=True)
class Event:
    """At *at* seconds *worker* is started (with the rules of set *number*), killed, told to leave or
    stands still for *seconds*; or *host* holds for *seconds* (429, Retry-After), somebody pauses it, lets it
    go, changes its interval to *seconds*, or to what settings say (0).
    """

    kind: str
    at: float
    worker: str = ""
    host: str = ""
    seconds: float = 0.0
    number: int = 0


KINDS = ("join", "kill", "leave", "block", "hold", "pause", "change")


@dataclass(frozen=True)
class Schedule:
    seed: int
    setup: Setup
    events: tuple[Event, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        raw = json.loads(text)
        setup = raw["setup"]
        setup["rules"] = tuple(tuple(Rule(**rule) for rule in rules) for rules in setup["rules"])
        setup["workers"] = tuple(setup["workers"])
        setup["manners"] = tuple((manner, share) for manner, share in setup["manners"])
        return cls(raw["seed"], Setup(**setup), tuple(Event(**event) for event in raw["events"]))


def _rule(draw: random.Random, slowest: float) -> Rule:
    interval = draw.choice([x for x in (0.2, 0.5, 1.0, 1.0, 2.0) if x <= slowest])
    return Rule(
        interval, draw.choice([1, 1, 1, 2, 4]), draw.choice([0, 0, 16, 3, 1]), draw.choice([0.0, 0.0, 0.0, 0.4])
    )


def _events(draw: random.Random, workers: int) -> list[Event]:
    events: list[Event] = []
    names = [f"w{number}" for number in range(workers)]
    for _ in range(draw.choice([0, 1, 2, 3, 4, 6])):
        kind, at = draw.choice(KINDS), round(draw.uniform(2, EVENTFUL), 2)
        host = draw.choice(HOSTS)
        if kind == "join":
            names.append(f"w{len(names)}")
            events.append(Event("join", at, names[-1], number=draw.randrange(2)))
        elif kind in ("kill", "leave"):
            events.append(Event(kind, at, draw.choice(names)))
        elif kind == "block":
            events.append(Event(kind, at, draw.choice(names), seconds=draw.choice([0.3, 1.0, 3.0, 8.0])))
        elif kind == "hold":
            events.append(Event(kind, at, host=host, seconds=draw.choice([2.0, 5.0, 20.0])))
        elif kind == "pause":
            events.append(Event(kind, at, host=host))
            events.append(Event("resume", at + draw.choice([1.0, 8.0]), host=host))
        else:
            events.append(Event(kind, at, host=host, seconds=draw.choice([0.2, 0.5, 3.0])))
            if draw.random() < 0.7:
                events.append(Event(kind, at + draw.uniform(1, 20), host=host))
    return sorted(events, key=lambda event: event.at)


def draw_schedule(seed: int) -> Schedule:
    draw = random.Random(seed)
    workers = draw.choice([1, 2, 2, 3])
    first = (_rule(draw, 1.0), _rule(draw, 2.0))
    second = first if draw.random() < 0.5 else (_rule(draw, 2.0), _rule(draw, 2.0))
    some = draw.sample(MANNERS, draw.choice([0, 1, 2, 3]))
    return Schedule(
        seed,
        Setup(
            rules=(first, second),
            workers=(0, *(draw.choice([0, 0, 1]) for _ in range(workers - 1))),
            manners=tuple((manner, draw.choice([0.1, 0.3])) for manner in some),
            scope=draw.choice([0.0, 0.0, 0.0, 0.5]),
            response=draw.choice([0.05, 0.3, 1.5]),
            latency=draw.choice([0.0005, 0.01, 0.05]),
            pages=110,
        ),
        tuple(_events(draw, workers)),
    )
