"""What travels where a log keeps the requests, see ``lua/lib/transit.lua``, ``lua/lib/log.lua`` and
``lua/feed.lua``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import groupby
from typing import Any

import msgpack

from mocra_scrapy.backends.redis.budgets_wire import BlockAnswer
from mocra_scrapy.exceptions import BackendCorrupted
from mocra_scrapy.models import Entry, Exchange, Fed, Feed, Lease, LogAnswer, LogState, LogTurn, Offsets, QueueSize
from mocra_scrapy.models.entries import BETWEEN, fingerprint_number, list_of, rank_of

#: What the last part of an item's tag begins with, where it came from a log.
ORIGIN = "\x1e"
#: What is told of an item that is in transit begins with it: no lease's token does.
TRANSIT = "t"
STORED = ord("1")


def pack_log(log: LogTurn, asked: dict[str, Any]) -> None:
    """A part of the argument of ``exchange.lua``."""
    asked["log"] = 1
    if log.hold:
        asked["hold"] = 1
    if log.moved:
        asked["moved"] = [lease.token for lease in log.moved]
        if log.at:
            asked["at"] = [False if at is None else at for at in log.at]
    if log.keep:
        asked["keep"] = [lease.token for lease in log.keep]


def with_log(
    answer: Exchange, told: Mapping[bytes, Any], log: LogTurn, pushed: Sequence[Entry], *, number: int, shard: int
) -> Exchange:
    """*answer* of one shard to call *number*, and what *told* has of transit."""
    transit: list[Lease | None] = []
    place = 0
    for flag, entry in zip(told.get(b"stored", b""), pushed, strict=True) if log.hold else ():
        place += flag == STORED
        token = f"{TRANSIT}{number:010x}{place:04x}"
        lease = Lease(token, entry.body, entry.slot, entry.priority, entry.start, shard=shard)
        transit.append(lease if flag == STORED else None)
    flags = ([flag == STORED for flag in told.get(name, b"")] for name in (b"moved", b"lined_up", b"taken"))
    return logged(answer, LogAnswer(transit or [None] * len(pushed), *flags))


def logged(answer: Exchange, log: LogAnswer) -> Exchange:
    """*answer* with *log*, see :func:`log_of`."""
    if isinstance(answer, BlockAnswer):
        return replace(answer, log=log)
    return BlockAnswer(**{one.name: getattr(answer, one.name) for one in fields(Exchange)}, log=log)


def log_of(answer: Exchange) -> LogAnswer:
    """What an answer has of transit."""
    log = answer.log if isinstance(answer, BlockAnswer) else None
    return log or LogAnswer()


def joined_log(first: Exchange, second: Exchange) -> LogAnswer:
    """Of the two steps of a call: what was pushed by the first, what was settled by the second."""
    before, after = log_of(first), log_of(second)
    return LogAnswer(before.transit, after.moved, after.kept, after.taken)


# ------------------------------------------------------------------ what is fed


def _tag(entry: Entry) -> str | bool:
    """For which budgets it counts, see ``items.wrap``; ``False``: none."""
    if not entry.budgets:
        return False
    number = "" if entry.fingerprint is None else str(fingerprint_number(entry.fingerprint))
    return BETWEEN.join((("-" if entry.again else "") + number, *entry.budgets))


def _twin(feed: Feed, offset: int) -> str | bool:
    """The name that ``log.lua`` has for what was in transit; ``False``: it was not."""
    known = feed.transit.get(offset)
    return False if known is None else f"{known[1]} {known[0]}"


def pack_feed(feed: Feed, entries: Sequence[tuple[int, Entry]], *, with_gaps: bool) -> list[Any]:
    """What one shard is told of *feed*, of which it stores *entries*."""
    groups = []
    for (slot, rank), run in groupby(entries, key=lambda one: (list_of(one[1]), rank_of(one[1]))):
        flat: list[Any] = []
        for offset, entry in run:
            delay = max(1, round(entry.delay * 1000)) if entry.delay > 0 else 0
            flat += (offset, delay, entry.body, _tag(entry), _twin(feed, offset))
        # Lua can pass about 8,000 arguments to one command.
        groups += [[slot, rank, flat[at : at + 4000]] for at in range(0, len(flat), 4000)]
    gaps: list[int] = []
    at = feed.start
    for offset, _ in feed.entries if with_gaps else ():
        if offset > at:
            gaps += (at, offset)
        at = offset + 1
    if with_gaps and at < feed.stop:
        gaps += (at, feed.stop)
    return [feed.partition, feed.start, feed.stop, groups, gaps]


def pack_notes(notes: Sequence[Offsets]) -> list[str]:
    """As ``lua/lib/log.lua`` stores them."""
    return [str(start) if stop == start + 1 else f"{start}-{stop}" for start, stop in notes]


def _open_note(raw: bytes) -> Offsets:
    start, _, stop = raw.partition(b"-")
    return int(start), int(stop) if stop else int(start) + 1


def open_fed(answers: Sequence[bytes], names: Sequence[str], collect: Sequence[str], most: int) -> tuple[Fed, bool]:
    """What the shards answered, the first one first, to feeds of *names* and a look at *collect*; whether
    the run is finished.
    """
    positions: dict[str, int | None] = {}
    finished: dict[str, list[Offsets]] = {name: [] for name in collect}
    size, stored, moves, is_over = QueueSize(), 0, 0, False
    try:
        for raw in answers:
            told = msgpack.unpackb(raw, raw=True, strict_map_key=False)
            here = dict(
                zip((*names, *collect), told[b"positions"] or (), strict=True)
            )  # what was fed twice has moved twice
            for name, at in here.items():
                known = positions.get(name, at)
                positions[name] = None if at is False or known is None else min(known, int(at))
            for name, notes in zip(collect, told[b"finished"] or (), strict=True):
                finished[name] += map(_open_note, notes or ())
            size += QueueSize(*map(int, told[b"size"]))
            stored, moves = stored + int(told[b"stored"]), moves + int(told[b"moves"])
            is_over = is_over or told.get(b"is_over") == 1
    except (LookupError, ValueError, TypeError, msgpack.UnpackException) as error:
        raise BackendCorrupted(f"the feed script gave an answer that can't be read: {error}") from error
    return Fed(
        positions, stored, {name: sorted(notes)[:most] for name, notes in finished.items()}, size, moves
    ), is_over


def open_log_state(answers: Sequence[Sequence[Any]]) -> LogState:
    """What ``log_look.lua`` said of each shard, the one with the crawl's record first."""
    positions: dict[str, int] = {}
    begins: dict[str, int] = {}
    for at, (_, _, flat, *_) in enumerate(answers):
        here = {flat[i].decode(): (int(flat[i + 1]), int(flat[i + 2])) for i in range(0, len(flat), 3)}
        if at == 0:
            begins = {name: first for name, (first, _) in here.items()}
            positions = {name: position for name, (_, position) in here.items()}
        # Of what another one was not told yet nothing is fed.
        positions = {name: min(known, here[name][1]) for name, known in positions.items() if name in here}
    run, _, _, record_run, born = answers[0]
    moves = sum(int(one[1]) for one in answers)
    return LogState(int(record_run), int(born), int(run), moves, begins, positions)
