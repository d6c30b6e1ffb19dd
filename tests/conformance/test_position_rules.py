"""ISeeding: positions of the sources that feed a crawl."""

from __future__ import annotations

import pytest

from mocra_scrapy.exceptions import BackendUnavailable, MocraError
from mocra_scrapy.models import Entry, Finish

from .harness import Harness, bodies, entries, fp

SEEDS = [Entry(str(i).encode(), f"s{i}", fingerprint=fp(i)) for i in range(8)]


async def test_a_position_comes_back_byte_for_byte(harness: Harness) -> None:
    a = await harness.worker("a")
    assert await a.queue.claim_seeding("a")
    given = {"stream:ünï": bytes(range(256)), "file": b"7", "a:b": b"\x00"}
    assert (await a.exchange(positions=given)).positioned
    assert await harness.queue(second=True).positions() == given
    assert (await a.exchange(positions={"file": b"8"})).positioned
    assert await a.queue.positions() == {**given, "file": b"8"}


async def test_a_position_moves_with_its_pushes(harness: Harness) -> None:
    a = await harness.worker("a")
    assert await a.queue.claim_seeding("a")
    answer = await a.exchange(push=SEEDS, positions={"file": b"8"})
    assert answer.positioned
    assert list(answer.stored) == [True] * 8
    assert await a.queue.positions() == {"file": b"8"}
    assert sorted(bodies(await harness.lease_all(a))) == [str(i) for i in range(8)]
    # A call that moves nothing says so.
    assert not (await a.exchange(push=entries("x"))).positioned


async def test_a_position_is_never_ahead(harness: Harness) -> None:
    """Whichever shard fails: where a seed is missing the position is, too."""
    a = await harness.worker("a")
    assert await a.queue.claim_seeding("a")
    refused = [slot for slot in ("s1", "s2", "s3", "s4", "s5", "s6") if await harness.refuse(slot)]
    for i, slot in enumerate(refused):
        late = [Entry(b"early", f"t{i}", fingerprint=fp(f"t{i}")), Entry(b"late", slot, fingerprint=fp(f"x{i}"))]
        with pytest.raises(MocraError):
            await a.exchange(push=late, positions={"file": str(i).encode()})
        assert await a.queue.positions() == {}
    if not refused:  # this backend has no parts that can fail alone
        assert (await a.exchange(push=SEEDS, positions={"file": b"1"})).positioned


async def test_only_who_seeds_moves_positions(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    assert not (await a.exchange(positions={"file": b"1"})).positioned, "nobody seeds"
    assert await a.queue.claim_seeding("a")
    assert (await a.exchange(positions={"file": b"1"})).positioned
    answer = await b.exchange(push=SEEDS[:2], positions={"file": b"9"})
    assert not answer.positioned
    assert list(answer.stored) == [True, True], "what it pushes is stored all the same"
    # The seeder dies, another one goes on: who wakes late moves nothing back.
    await harness.die()
    assert await b.queue.claim_seeding("b")
    assert (await b.exchange(positions={"file": b"3"})).positioned
    assert not (await a.exchange(positions={"file": b"2"})).positioned
    assert await a.queue.positions() == {"file": b"3"}
    assert await b.queue.complete_seeding("b")
    assert not (await b.exchange(positions={"file": b"4"})).positioned, "it said that it is through"
    assert await b.queue.positions() == {"file": b"3"}


async def test_an_empty_position_is_forgotten(harness: Harness) -> None:
    a = await harness.worker("a")
    assert await a.queue.claim_seeding("a")
    assert (await a.exchange(positions={"file": b"1", "other": b"2"})).positioned
    assert (await a.exchange(positions={"file": b"", "nothing": b""})).positioned
    assert await a.queue.positions() == {"other": b"2"}


async def test_a_repeated_call_moves_nothing_again(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    assert await a.queue.claim_seeding("a")
    with harness.answers_lost(a.queue), pytest.raises(BackendUnavailable):
        await a.exchange(push=SEEDS, positions={"file": b"8"})
    assert (await a.exchange(push=SEEDS, positions={"file": b"8"}, repeat=True)).positioned
    # Whatever happened meanwhile, the answer is that of the first time.
    assert await a.queue.complete_seeding("a")
    answer = await a.exchange(push=SEEDS, positions={"file": b"8"}, repeat=True)
    assert answer.positioned
    assert list(answer.stored) == [True] * 8
    assert await a.queue.positions() == {"file": b"8"}
    assert (await b.queue.size()).pending == 8


async def test_positions_outlive_the_run(harness: Harness) -> None:
    a = await harness.worker("a")
    assert await a.queue.claim_seeding("a")
    await a.exchange(positions={"stream": b"5-0"})
    assert await a.queue.complete_seeding("a")
    assert await a.queue.finish("a") is Finish.WON
    b = await harness.worker("b", second=True)
    assert (await b.queue.state()).run == 2
    assert await b.queue.positions() == {"stream": b"5-0"}


async def test_positions_go_with_the_record(harness: Harness) -> None:
    a = await harness.worker("a")
    assert await a.queue.claim_seeding("a")
    await a.exchange(positions={"stream": b"5-0"})
    await harness.lose_record()
    await a.queue.join("a")
    assert await a.queue.positions() == {}
    assert await a.queue.claim_seeding("a")
    assert (await a.exchange(positions={"stream": b"6-0"})).positioned
    await a.queue.clear()
    assert await harness.queue(second=True).positions() == {}
