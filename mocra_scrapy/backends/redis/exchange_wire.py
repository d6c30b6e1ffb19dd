"""What travels between :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue` and its
scripts.

The arguments of an exchange are one msgpack blob, not hundreds of arguments: both sides pack and
unpack in C. The other side of everything here is written in ``lua/_prelude.lua`` (the key table)
and ``lua/exchange.lua``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import msgpack

from mocra_scrapy.exceptions import BackendCorrupted
from mocra_scrapy.models import (
    LONGEST,
    Bounds,
    Burial,
    CrawlState,
    Entry,
    Lease,
    QueueOptions,
    QueueSize,
    Seeding,
    SlotLimit,
)
from mocra_scrapy.models.entries import BETWEEN, fingerprint_number, list_of, rank_of

#: Entries of one slot and rank in a group: Lua can pass about 8,000 arguments to one command.
GROUP = 1000


def pack_limit(limit: SlotLimit) -> list[Any]:
    """As ``_throttle.lua`` knows it: interval in us, burst, concurrency, jitter."""
    return [round(limit.interval * 1e6), limit.burst, limit.concurrency, limit.jitter]


def push_groups(entries: Sequence[Entry]) -> list[list[Any]]:
    """``[slot, rank, delay in ms, [fingerprint or '', body, …]]`` for runs of entries that go to
    the same list.
    """
    groups: list[list[Any]] = []
    for (slot, rank, delay), run in groupby(entries, key=lambda e: (list_of(e), rank_of(e), e.delay)):
        flat: list[Any] = []
        for entry in run:
            flat.append("" if entry.fingerprint is None else str(fingerprint_number(entry.fingerprint)))
            flat.append(entry.body)
        ms = max(1, round(delay * 1000)) if delay > 0 else 0
        groups.extend([slot, rank, ms, flat[i : i + 2 * GROUP]] for i in range(0, len(flat), 2 * GROUP))
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


def _text(raw: bytes) -> str:
    """A name or text as it was before it was packed."""
    return raw.decode("utf-8", "surrogateescape")


@dataclass(slots=True)
class ShardAnswer:
    """What one shard answered to an exchange."""

    stored: list[bool]
    acked: list[bool]
    released: list[bool]
    buried: list[bool]
    leases: list[Lease]
    size: QueueSize
    next_due: float | None
    state: CrawlState
    lost: bool
    reclaimed: int
    given_up: int
    permits: dict[str, int]
    crowded: list[str]
    held: dict[str, float]


@dataclass(slots=True)
class ShardTurn:
    """What one shard is asked in an exchange; ``at`` lists remember where each part stood in the
    caller's sequences.
    """

    push: list[Entry] = field(default_factory=list)
    push_at: list[int] = field(default_factory=list)
    ack: list[Lease] = field(default_factory=list)
    ack_at: list[int] = field(default_factory=list)
    release: list[Lease] = field(default_factory=list)
    release_at: list[int] = field(default_factory=list)
    bury: list[Burial] = field(default_factory=list)
    bury_at: list[int] = field(default_factory=list)
    want: int = 0

    @property
    def settles(self) -> bool:
        return bool(self.ack or self.release or self.bury)


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
    return [burial.lease.token, burial.reason, burial.detail, int(body is not None), body or b"", more]


def pack_turn(turn: ShardTurn, *head: Any, bounds: Bounds, options: QueueOptions) -> bytes:
    """The argument of ``exchange.lua``; *head* is everything up to ``channel``, in its order."""
    packed: bytes = msgpack.packb(
        [
            *head,
            push_groups(turn.push),
            [lease.token for lease in turn.ack],
            [lease.token for lease in turn.release],
            [burial_argument(burial) for burial in turn.bury],
            turn.want,
            list(bounds.full),
            bounds.per_slot,
            0 if options.limit is None else pack_limit(options.limit),
            round(options.lookahead * 1e6),
            dict(bounds.loads),
            dict(bounds.keep_permits),
            [[name, *pack_limit(limit)] for name, limit in bounds.limits.items()],
        ],
        use_bin_type=False,  # cmsgpack is older than the bin types
        unicode_errors="surrogateescape",
    )
    return packed


def _pairs(table: Any) -> Iterable[tuple[bytes, Any]]:
    """A table of Lua as a map: an empty one comes as a list."""
    return table.items() if isinstance(table, dict) else ()


def _flags(raw: bytes) -> list[bool]:
    return [flag == 0x31 for flag in raw]


def _leases(groups: list[Any], number: int, shard: int, waits: list[Any]) -> list[Lease]:
    leases = []
    place = 0
    for key, rank, items in groups:
        name, *more = _text(key).split(BETWEEN)
        scopes = tuple(more)
        for item in items or (None,):
            place += 1
            if item is None:
                continue
            lost, first, body = open_item(item)
            priority, normal = divmod(int(rank), 2)
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
                    waits[place - 1] / 1e6 if waits else 0.0,
                    scopes,
                ),
            )
    return leases


def open_answer(raw: Any, number: int, shard: int) -> ShardAnswer:
    """What ``exchange.lua`` answered to call *number*."""
    try:
        (
            stored,
            acked,
            released,
            buried,
            groups,
            size,
            due,
            state,
            lost,
            reclaimed,
            given_up,
            waits,
            permits,
            crowded,
            held,
        ) = msgpack.unpackb(raw, raw=True, strict_map_key=False)
        return ShardAnswer(
            _flags(stored),
            _flags(acked),
            _flags(released),
            _flags(buried),
            _leases(groups, number, shard, waits),
            QueueSize(*map(int, size)),
            None if due < 0 else due / 1000,
            open_state(state),
            bool(lost),
            int(reclaimed),
            int(given_up),
            {_text(name): int(n) for name, n in _pairs(permits)},
            [_text(name) for name in crowded or ()],
            {_text(name): min(us / 1e6, LONGEST) for name, us in _pairs(held)},
        )
    except (ValueError, TypeError, struct.error, msgpack.UnpackException) as error:
        raise BackendCorrupted(f"the exchange script gave an answer that can't be read: {error}") from error


def open_state(raw: Sequence[Any]) -> CrawlState:
    """``[run, finished, seeding]`` as scripts answer it."""
    seeding = raw[2] if isinstance(raw[2], bytes) else str(raw[2]).encode()
    return CrawlState(int(raw[0]), bool(int(raw[1])), Seeding(seeding.decode() or "open"))
