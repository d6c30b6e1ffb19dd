"""What happens in one simulation: drawn from a seed, written and read as JSON."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mocra_scrapy.models import QueueOptions, RuleSet, SlotLimit

from .graph import Graph

LEASE = 60.0
#: Virtual seconds after which nothing goes wrong any more.
PEACE = 400.0

#: What may happen to one step of a worker's connection.
STEP_FAULTS = ("drop", "cut", "late", "twice", "slow", "kill_before", "kill_after")
#: What may happen at an instant.
TIMED = ("kill", "freeze", "partition", "outage", "jump", "start", "leave", "replay", "jump_back")
#: After these most rules can't be judged any more, so they happen in one schedule of so many, or
#: where they are asked for.
DRASTIC, EVERY = ("delete", "wipe"), 8

LIMITS: tuple[tuple[float, int, int] | None, ...] = (
    None,
    None,
    (0.0, 1, 2),
    (0.0, 1, 3),
    (1.0, 1, 0),
    (0.7, 3, 1),
    (1.5, 2, 2),
)


@dataclass(frozen=True)
class Event:
    """One thing that goes wrong: at the *step*-th step of *worker*'s connection, or at the instant
    *at*.

    Attributes:
        kind: see above.
        seconds: how long it lasts, or how far a clock jumps.
    """

    kind: str
    worker: str = ""
    step: int = -1
    at: float = -1.0
    seconds: float = 0.0

    def __str__(self) -> str:
        when = f"at step {self.step}" if self.step >= 0 else f"at {self.at:g} s"
        more = f" for {self.seconds:g} s" if self.seconds else ""
        return f"{self.kind} {self.worker or 'the server'} {when}{more}"


@dataclass(frozen=True)
class Setup:
    """Who crawls what, and by which options."""

    pages: int = 12
    seeds: int = 3
    slots: int = 3
    killers: int = 0
    failures: float = 0.0
    scope: str = ""
    workers: int = 2
    capacity: int = 4
    shards: int = 1
    lifo: bool = False
    max_deliveries: int = 5
    isolate_after: int = 2
    keep_seen: bool = False
    limit: tuple[float, int, int] | None = None  # interval, burst, concurrency
    per_slot: int = 0
    whole: float = 0.0  # part of the pages whose links go with their acknowledgement only

    @property
    def _rules(self) -> RuleSet | None:
        if self.limit is None:
            return None
        interval, burst, concurrency = self.limit
        of_scope = SlotLimit(interval / 4, burst, concurrency and concurrency + 1)
        return RuleSet(SlotLimit(*self.limit), {self.scope: of_scope} if self.scope else {})

    @property
    def options(self) -> QueueOptions:
        return QueueOptions(
            lease=LEASE,
            max_deliveries=self.max_deliveries,
            isolate_after=self.isolate_after,
            lifo=self.lifo,
            keep_seen=self.keep_seen,
            shards=self.shards,
            rules=self._rules,
            scopes=bool(self.scope),
        )


@dataclass(frozen=True)
class Schedule:
    seed: int
    setup: Setup
    events: tuple[Event, ...] = field(default=())

    @property
    def graph(self) -> Graph:
        s = self.setup
        return Graph(self.seed, s.pages, s.seeds, s.slots, s.killers, s.failures, s.scope)

    def with_events(self, events: list[Event]) -> Schedule:
        return replace(self, events=tuple(events))

    def to_json(self) -> str:
        unsaid = asdict(Event(""))
        events = [{k: v for k, v in asdict(e).items() if v != unsaid[k]} for e in self.events]
        return json.dumps({"seed": self.seed, "setup": asdict(self.setup), "events": events}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        raw: dict[str, Any] = json.loads(text)
        setup = raw["setup"]
        setup["limit"] = tuple(setup["limit"]) if setup["limit"] else None
        return cls(raw["seed"], Setup(**setup), tuple(Event(**event) for event in raw["events"]))


def draw_schedule(seed: int, *, shards: int = 1, drastic: tuple[str, ...] = ()) -> Schedule:
    """The schedule of *seed*, on up to *shards* shards; *drastic*: of these faults, too."""
    rng = random.Random(seed)
    limit = rng.choice(LIMITS)
    scope = "@all" if limit and rng.random() < 0.2 else ""
    workers = rng.randint(1, 4)
    setup = Setup(
        pages=rng.randint(3, 30),
        seeds=rng.randint(1, 3),
        slots=rng.randint(1, 5),
        killers=rng.choice([0, 0, 0, 1, 2]),
        failures=rng.choice([0.0, 0.0, 0.2]),
        scope=scope,
        workers=workers,
        capacity=rng.randint(1, 8),
        shards=1 if scope else rng.randint(1, shards),
        lifo=rng.random() < 0.3,
        max_deliveries=rng.randint(1, 5),
        isolate_after=rng.randint(1, 3),
        keep_seen=rng.random() < 0.2,
        limit=limit,
        per_slot=0 if limit else rng.choice([0, 0, 1, 2]),
        whole=random.Random(f"whole {seed}").choice([0.0, 0.5, 1.0]),  # not rng: what it draws stays what it was
    )
    kinds = STEP_FAULTS + TIMED
    events = [_draw_event(rng, rng.choice(kinds), workers) for _ in range(rng.choice([0, 2, 4, 6, 9, 12]))]
    if drastic or seed % EVERY == EVERY - 1:
        drastic = drastic or DRASTIC
        events += [_draw_event(rng, rng.choice(drastic), workers) for _ in range(rng.randint(0, 2))]
    return Schedule(seed, setup, tuple(events))


def _draw_event(rng: random.Random, kind: str, workers: int) -> Event:
    worker = f"w{rng.randrange(workers)}" + rng.choice(["", "", "", ".2"])
    seconds = round(rng.choice([0.5, 5.0, 50.0, 130.0]) * rng.uniform(0.5, 1.5), 3)
    if kind in STEP_FAULTS:
        lasts = seconds if kind in {"late", "slow"} else 0.0
        return Event(kind, worker, step=int(rng.expovariate(1 / 12)), seconds=lasts)
    at = round(rng.choice([3.0, 20.0, 100.0]) * rng.random(), 3)
    if kind in {"outage", "jump", "jump_back", "delete", "wipe", "replay"}:
        return Event(kind, at=at, seconds=seconds if kind in {"outage", "jump", "jump_back"} else 0.0)
    if kind == "start":
        return Event(kind, f"late{rng.randrange(10**6)}", at=at)
    return Event(kind, worker, at=at, seconds=seconds if kind in {"freeze", "partition"} else 0.0)
