"""What travels between :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue` and its
scripts.

The arguments of an exchange are one msgpack blob, not hundreds of arguments: both sides pack and
unpack in C. It is a map, and so is the answer: a field is called the same on both sides, and one
that says nothing is missing. The other side of everything here is written in ``lua/lib/meta.lua``
(the key table) and ``lua/exchange.lua``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import msgpack

from mocra_scrapy.backends.redis.budgets_wire import open_refused, open_withdrawn, pack_budgeting, with_blocks
from mocra_scrapy.backends.redis.log_wire import ORIGIN, pack_log, with_log
from mocra_scrapy.backends.redis.rules_wire import packed
from mocra_scrapy.exceptions import BackendCorrupted
from mocra_scrapy.models import (
    LEASED_BYTES,
    LONGEST,
    UNBOUNDED,
    Bounds,
    Burial,
    CrawlState,
    Departure,
    Entry,
    Exchange,
    Job,
    Lease,
    LogTurn,
    QueueOptions,
    QueueSize,
    Seeding,
    digest_of,
)
from mocra_scrapy.models.entries import BETWEEN, fingerprint_number, list_of, rank_of

#: Entries of one slot and rank in a group: Lua can pass about 8,000 arguments to one command.
GROUP = 1000
#: What a push is answered with whose parent is not the worker's any more.
STALE = ord("-")
#: What a body with a tag in front begins with.
TAGGED = b"\xc1"
#: Numbers of scripts' calls that a worker's call has: those that store come first, the last one settles and leases.
STEPS = 16
#: What a shard without the crawl's record says of it.
NO_STATE = CrawlState(0, False, Seeding.OPEN)


def pack_departure(departure: Departure) -> list[float]:
    """As ``lua/lib/departures.lua`` knows it."""
    booking = [round(departure.at * 1e6), *(us for owned in departure.owned for us in owned)]
    return [*booking, 1] if departure.counted else booking


def open_departure(names: tuple[str, ...], booking: Sequence[float]) -> Departure | None:
    """What :func:`pack_departure` made; ``None``: none of *names* has an interval or a quota."""
    at, *owned = booking
    counted = len(owned) % 2 == 1
    if counted:
        del owned[-1]
    departure = Departure(names, at / 1e6, tuple(zip(owned[::2], owned[1::2], strict=True)), counted)
    return departure if counted or any(end for _, end in departure.owned) else None


def push_groups(entries: Sequence[Entry]) -> list[list[Any]]:
    """``[slot, rank, delay in ms, [fingerprint or '', body, …]]`` for runs of entries that go to
    the same list; behind it what budgets they count for, if any, and whether they come again; behind
    that the token of their parent, where they have one.
    """
    groups: list[list[Any]] = []
    for (slot, rank, delay, names, again, parent), run in groupby(
        entries, key=lambda e: (list_of(e), rank_of(e), e.delay, e.budgets, e.again, e.parent and e.parent.token)
    ):
        flat: list[Any] = []
        for entry in run:
            flat.append("" if entry.fingerprint is None else str(fingerprint_number(entry.fingerprint)))
            flat.append(entry.body)
        ms = max(1, round(delay * 1000)) if delay > 0 else 0
        more: list[Any] = [list(names) if names else False, int(again)] if names or parent else []
        more += [parent] if parent else []
        groups.extend([slot, rank, ms, flat[i : i + 2 * GROUP], *more] for i in range(0, len(flat), 2 * GROUP))
    return groups


def open_item(item: bytes) -> tuple[int, float | None, bytes]:
    """``(deliveries lost, when it was first lost, body)`` of a stored item; bytes that nobody of
    ours wrote pass as a body.
    """
    if not item or item[0] == 0:
        return 0, None, item[1:]
    if len(item) < 9:
        return 0, None, item
    return item[0], struct.unpack(">d", item[1:9])[0] / 1000, item[9:]


def open_tag(body: bytes) -> tuple[tuple[str, ...], bytes]:
    """``(names of budgets, body)`` of what :func:`open_item` gives, see ``wrap`` in
    ``lua/lib/items.lua``.
    """
    if body[:1] != TAGGED or len(body) < 3:
        return (), body
    length = int.from_bytes(body[1:3], "big")
    _, *names = _text(body[3 : 3 + length]).split(BETWEEN)
    if names and names[-1].startswith(ORIGIN):
        del names[-1]
    return tuple(names), body[3 + length :]


def _text(raw: bytes) -> str:
    """A name or text as it was before it was packed."""
    return raw.decode("utf-8", "surrogateescape")


@dataclass(slots=True)
class ShardTurn:
    """What one shard is asked in an exchange."""

    push: Sequence[Entry] = ()
    ack: Sequence[Lease] = ()
    release: Sequence[Lease] = ()
    bury: Sequence[Burial] = ()
    want: int = 0
    bounds: Bounds = UNBOUNDED
    most_bytes: int = LEASED_BYTES
    positions: Mapping[str, bytes] = field(default_factory=dict)
    log: LogTurn | None = None


def burial_argument(burial: Burial) -> list[Any]:
    """What ``exchange.lua`` is told of one burial; the last part is stored with the letter as it
    is.
    """
    fingerprint = burial.fingerprint
    more = [
        int(burial.done),
        burial.url,
        b"" if fingerprint is None else fingerprint,
        "" if fingerprint is None else str(fingerprint_number(fingerprint)),
        burial.retries,
        -1 if burial.first_failed_at is None else round(burial.first_failed_at * 1000),
    ]
    body = burial.body
    argument = [burial.lease.token, burial.reason, burial.detail, int(body is not None), body or b"", more]
    return argument if burial.response is None else [*argument, burial.kind, burial.response]


def pack_rules(options: QueueOptions, channel: str) -> Mapping[str, Any]:
    """The part of ``exchange.lua``'s argument that is the same in each turn."""
    return {
        "channel": channel,
        "lease": int(options.lease * 1000),
        "max_deliveries": options.max_deliveries,
        "isolate_after": options.isolate_after,
        "lifo": int(options.lifo),
        "seen_ttl": int((options.seen_ttl or 0) * 1000),
        "max_dead": options.max_dead,
        "dead_ttl": int((options.dead_ttl or 0) * 1000),
        "dead_bodies": options.dead_bodies,
        "dead_bodies_bytes": options.dead_bodies_bytes,
        "rules": digest_of(options.rules),
        "lookahead": round(options.lookahead * 1e6),
    }


def pack_turn(
    turn: ShardTurn,
    rules: Mapping[str, Any],
    worker: str,
    number: int,
    *,
    control: bool,
    own: Mapping[str, Any] | None = None,
) -> bytes:
    """The argument of ``exchange.lua``. *control*: this is the shard with the crawl's record. *own*: the
    worker's rule set, where the shard asked for it.
    """
    asked: dict[str, Any] = {**rules, "worker": worker, "number": number, "control": int(control), "want": turn.want}
    asked["first"], asked["bytes"] = number - number % STEPS, turn.most_bytes
    if own is not None:
        asked["own"] = own
    if turn.push:
        asked["push"] = push_groups(turn.push)
    if turn.ack:
        asked["ack"] = [lease.token for lease in turn.ack]
    if turn.release:
        asked["release"] = [lease.token for lease in turn.release]
    if turn.bury:
        asked["bury"] = [burial_argument(burial) for burial in turn.bury]
    if turn.positions:
        asked["positions"] = dict(turn.positions)
    if turn.log is not None:
        pack_log(turn.log, asked)
    if turn.bounds is not UNBOUNDED:
        _pack_bounds(turn.bounds, asked)
    return packed(asked)


def _pack_bounds(bounds: Bounds, asked: dict[str, Any]) -> None:
    if bounds.full:
        asked["full"] = list(bounds.full)
    if bounds.per_slot:
        asked["per_slot"] = bounds.per_slot
    if bounds.loads:
        asked["loads"] = dict(bounds.loads)
    if bounds.keep_permits:
        asked["keep_permits"] = dict(bounds.keep_permits)
    if bounds.unused:
        asked["unused"] = [[list(one.names), pack_departure(one)] for one in bounds.unused]
    if bounds.wanted:
        asked["wanted"] = list(bounds.wanted)
    if bounds.budgets is not None:
        asked["budgets"] = pack_budgeting(bounds.budgets)


def _flags(raw: bytes) -> list[bool]:
    return [flag == 0x31 for flag in raw]


def _stale(raw: bytes) -> frozenset[int]:
    return frozenset(i for i, flag in enumerate(raw) if flag == STALE) if STALE in raw else frozenset()


def _leases(
    groups: list[Any],
    number: int,
    shard: int,
    *,
    departs: list[Any] | None,
    now: float,
    tried: Sequence[bytes],
) -> list[Lease]:
    leases, probed = [], {_text(name) for name in tried}
    place = 0
    for key, rank, items in groups:
        name, *more = _text(key).split(BETWEEN)
        scopes = tuple(more)
        for item in items or (None,):
            place += 1
            if item is None:
                continue
            lost, first, stored = open_item(item)
            budgets, body = open_tag(stored)
            priority, normal = divmod(int(rank), 2)
            booking: list[float] = (departs[place - 1] if departs else None) or []
            leases.append(
                Lease(
                    f"{number:010x}{place:04x}",
                    body,
                    name,
                    priority,
                    not normal,
                    lost + 1,
                    first,
                    shard,
                    max(0.0, (booking[0] - now) / 1e6) if booking else 0.0,
                    scopes,
                    name in probed,
                    open_departure((name, *scopes), booking) if booking else None,
                    budgets,
                ),
            )
    return leases


def open_answer(raw: Any, number: int, shard: int, turn: ShardTurn) -> Exchange:
    """What ``exchange.lua`` of one shard answered to call *number*, by which it was told *turn*."""
    try:
        told = msgpack.unpackb(raw, raw=True, strict_map_key=False)
        due, groups = told.get(b"due"), told.get(b"groups")
        permits, held = told.get(b"permits"), told.get(b"held")
        answer = Exchange(
            _flags(told.get(b"stored", b"")),
            _flags(told.get(b"acked", b"")),
            _flags(told.get(b"released", b"")),
            _flags(told.get(b"buried", b"")),
            _leases(
                groups,
                number,
                shard,
                departs=told.get(b"departs"),
                now=told.get(b"now", 0),
                tried=told.get(b"tried", ()),
            )
            if groups
            else [],
            QueueSize(*map(int, told[b"size"])),
            None if due is None else due / 1000,
            open_state(told[b"state"]) if b"state" in told else NO_STATE,
            b"lost" in told,
            int(told.get(b"reclaimed", 0)),
            int(told.get(b"given_up", 0)),
            {_text(name): int(n) for name, n in permits.items()} if permits else {},
            [_text(name) for name in told.get(b"crowded", ())],
            {_text(name): min(us / 1e6, LONGEST) for name, us in held.items()} if held else {},
            int(told.get(b"silence", 0)) / 1000,
            int(told.get(b"stalled", 0)),
            int(told.get(b"rules", 0)),
            int(told.get(b"rule_sets", 1)),
            open_refused(told.get(b"stored", b"")),
            open_withdrawn(told[b"withdrawn"], told.get(b"bodies", ())) if b"withdrawn" in told else (),
            _flags(told[b"kept"]) if b"kept" in told else [False] * len(told.get(b"buried", b"")),
            b"positioned" in told,
            _stale(told.get(b"stored", b"")),
        )
        answer = with_blocks(answer, told)
        return with_log(answer, told, turn.log, turn.push, number=number, shard=shard) if turn.log else answer
    except (LookupError, ValueError, TypeError, AttributeError, struct.error, msgpack.UnpackException) as error:
        raise BackendCorrupted(f"the exchange script gave an answer that can't be read: {error}") from error


def open_job(raw: bytes) -> Job | None:
    """The job of a crawl's record; ``None``: there is none, or it can't be read."""
    try:
        return Job.from_text(raw) if raw else None
    except ValueError:
        return None


def open_state(raw: Sequence[Any]) -> CrawlState:
    """``[run, finished, seeding, born]`` as scripts answer it."""
    seeding = raw[2] if isinstance(raw[2], bytes) else str(raw[2]).encode()
    return CrawlState(int(raw[0]), bool(int(raw[1])), Seeding(seeding.decode() or "open"), born=int(raw[3]))
