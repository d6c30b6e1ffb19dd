"""What each shard of several is asked in an exchange, and in which order their answers are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mocra_scrapy.backends.redis.exchange_wire import ShardTurn
from mocra_scrapy.backends.redis.log_wire import log_of
from mocra_scrapy.backends.redis.shards import Shards
from mocra_scrapy.models import Entry, Exchange, Lease, LogAnswer, LogTurn

#: In place of a lease of another shard's.
FOREIGN = Lease("", b"", "")


@dataclass(slots=True)
class Part:
    """What one shard is asked; ``at`` lists remember where each piece stood in the caller's
    sequences.
    """

    turn: ShardTurn
    push_at: list[int] = field(default_factory=list)
    ack_at: list[int] = field(default_factory=list)
    release_at: list[int] = field(default_factory=list)
    bury_at: list[int] = field(default_factory=list)
    moved_at: list[int] = field(default_factory=list)
    keep_at: list[int] = field(default_factory=list)


def divide(shards: Shards, turn: ShardTurn) -> dict[int, Part]:
    """What each shard has to store and to settle. Shard 0 always takes part: the crawl's record is
    there.
    """
    places: dict[int, tuple[list[int], list[int], list[int], list[int]]] = {0: ([], [], [], [])}

    def places_of(shard: int) -> tuple[list[int], list[int], list[int], list[int]]:
        return places.setdefault(shard, ([], [], [], []))

    for i, entry in enumerate(turn.push):
        places_of(shards.of(entry.slot))[0].append(i)
    for which, leases in ((1, turn.ack), (2, turn.release), (3, [burial.lease for burial in turn.bury])):
        for i, lease in enumerate(leases):
            places_of(lease.shard)[which].append(i)
    parts = {
        shard: Part(
            ShardTurn(
                [_on(shard, turn.push[i]) for i in at[0]],
                [turn.ack[i] for i in at[1]],
                [turn.release[i] for i in at[2]],
                [turn.bury[i] for i in at[3]],
            ),
            *at,
        )
        for shard, at in places.items()
    }
    parts[0].turn.positions = turn.positions
    if turn.log is not None:
        _divide_log(parts, turn.log, shards.count)
    return parts


def _divide_log(parts: dict[int, Part], log: LogTurn, count: int) -> None:
    placed = any(at is not None for at in log.at)
    for shard in range(count) if placed else {lease.shard for lease in (*log.moved, *log.keep)}:
        parts.setdefault(shard, Part(ShardTurn()))
    for shard, part in parts.items():
        # Each shard hears of all places, so that its position moves on over what is another one's.
        part.moved_at = [i for i, lease in enumerate(log.moved) if placed or lease.shard == shard]
        part.keep_at = [i for i, lease in enumerate(log.keep) if lease.shard == shard]
        leases, keep = [log.moved[i] for i in part.moved_at], [log.keep[i] for i in part.keep_at]
        moved = [lease if lease.shard == shard else FOREIGN for lease in leases]
        at = [log.at[i] for i in part.moved_at] if log.at else ()
        part.turn.log = LogTurn(log.hold, moved, keep, at)


def gather_log(parts: Mapping[int, Part], answers: Mapping[int, Exchange], turn: ShardTurn, log: LogTurn) -> LogAnswer:
    """What the shards answered to :func:`divide`'s parts of *log*."""
    transit: list[Lease | None] = [None] * len(turn.push)
    moved, taken, kept = [False] * len(log.moved), [False] * len(log.moved), [False] * len(log.keep)
    for shard, part in parts.items():
        told = log_of(answers[shard])
        for place, lease in zip(part.push_at, told.transit, strict=True):
            transit[place] = lease
        for place, flag, is_taken in zip(part.moved_at, told.moved, told.taken, strict=True):
            if log.moved[place].shard == shard:
                moved[place], taken[place] = flag, is_taken
        for place, flag in zip(part.keep_at, told.kept, strict=True):
            kept[place] = flag
    return LogAnswer(transit, moved, kept, taken)


def _on(shard: int, entry: Entry) -> Entry:
    """What *shard* is told of *entry*: whose parent is on another one it can't know."""
    return entry if entry.parent is None or entry.parent.shard == shard else replace(entry, parent=None)


def gather_flags(parts: Mapping[int, Part], answers: Mapping[int, Exchange], turn: ShardTurn) -> list[list[bool]]:
    """Stored, acked, released, buried, kept: in the order in which they were given to :func:`divide`."""
    flags = [[False] * len(given) for given in (turn.push, turn.ack, turn.release, turn.bury, turn.bury)]
    for shard, part in parts.items():
        answer = answers[shard]
        for out, at, got in (
            (flags[0], part.push_at, answer.stored),
            (flags[1], part.ack_at, answer.acked),
            (flags[2], part.release_at, answer.released),
            (flags[3], part.bury_at, answer.buried),
            (flags[4], part.bury_at, answer.kept),
        ):
            for i, flag in zip(at, got, strict=True):
                out[i] = flag
    return flags


def gather_refused(parts: Mapping[int, Part], answers: Mapping[int, Exchange]) -> Mapping[int, str]:
    """Which pushes a budget refused, by their places in what was given to :func:`divide`."""
    return {part.push_at[i]: which for shard, part in parts.items() for i, which in answers[shard].refused.items()}


def gather_stale(parts: Mapping[int, Part], answers: Mapping[int, Exchange]) -> frozenset[int]:
    """Which pushes had lost their parent, in the same way."""
    return frozenset(part.push_at[i] for shard, part in parts.items() for i in answers[shard].stale)
