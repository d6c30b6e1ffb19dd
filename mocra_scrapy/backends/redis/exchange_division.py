"""A worker's turn, divided between the shards of its crawl, and their answers put together again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mocra_scrapy.backends.redis.exchange_wire import ShardAnswer, ShardTurn
from mocra_scrapy.backends.redis.shards import Shards
from mocra_scrapy.models import Burial, Entry, Lease
from mocra_scrapy.models.entries import fingerprint_number


def divide(
    shards: Shards, push: Sequence[Entry], ack: Sequence[Lease], release: Sequence[Lease], bury: Sequence[Burial]
) -> dict[int, ShardTurn]:
    """What each shard has to store and to settle. Shard 0 always takes part: the crawl's record is
    there.

    Raises:
        ValueError: a fingerprint is too short.
    """
    if shards.count == 1:
        positions = [list(range(len(part))) for part in (push, ack, release, bury)]
        return {
            0: ShardTurn(
                list(push), positions[0], list(ack), positions[1], list(release), positions[2], list(bury), positions[3]
            )
        }
    turns: dict[int, ShardTurn] = {0: ShardTurn()}
    for i, entry in enumerate(push):
        if entry.fingerprint is not None:
            fingerprint_number(entry.fingerprint)  # refuses now what would else fail on one shard of several
        turn = turns.setdefault(shards.of(entry.slot), ShardTurn())
        turn.push.append(entry)
        turn.push_at.append(i)
    for i, lease in enumerate(ack):
        turn = turns.setdefault(lease.shard, ShardTurn())
        turn.ack.append(lease)
        turn.ack_at.append(i)
    for i, lease in enumerate(release):
        turn = turns.setdefault(lease.shard, ShardTurn())
        turn.release.append(lease)
        turn.release_at.append(i)
    for i, burial in enumerate(bury):
        turn = turns.setdefault(burial.lease.shard, ShardTurn())
        turn.bury.append(burial)
        turn.bury_at.append(i)
    return turns


def gather_flags(
    turns: Mapping[int, ShardTurn], answers: Mapping[int, ShardAnswer], lengths: tuple[int, int, int, int]
) -> list[list[bool]]:
    """Stored, acked, released, buried: in the order in which they were given to :func:`divide`."""
    flags = [[False] * n for n in lengths]
    for shard, turn in turns.items():
        a = answers[shard]
        for out, at, got in (
            (flags[0], turn.push_at, a.stored),
            (flags[1], turn.ack_at, a.acked),
            (flags[2], turn.release_at, a.released),
            (flags[3], turn.bury_at, a.buried),
        ):
            for i, flag in zip(at, got, strict=True):
                out[i] = flag
    return flags
