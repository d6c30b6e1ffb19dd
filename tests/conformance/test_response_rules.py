"""IDeadLetters: what sites answered, beside the letters."""

from __future__ import annotations

import contextlib
from typing import Any

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import Burial, DeadLetter, Entry
from mocra_scrapy.models.dead_letters import RESPONSE_OVERHEAD

from .harness import LEASE, Harness


async def bury(
    session: QueueSession, harness: Harness, content: str, kind: str = "k", slot: str = "s", **more: Any
) -> bool:
    """A letter with a response, which says so in its detail; whether the response was kept."""
    await session.push([Entry(b"x", slot)])
    (lease,) = await harness.lease_all(session)
    burial = Burial(lease, "callback", content, kind=kind, response=content.encode(), **more)
    return list((await session.exchange(bury=[burial])).kept) == [True]


async def letters(session: QueueSession) -> dict[str, DeadLetter]:
    return {letter.detail: letter for letter in await session.queue.dead(1000)}


async def kept(session: QueueSession) -> list[str]:
    """The details of those that have a response of their own, which is what it should be."""
    every = list((await letters(session)).values())
    sizes = await session.queue.response_sizes([letter.id for letter in every])
    has = [letter for letter, size in zip(every, sizes, strict=True) if size]
    for letter in has:
        assert await session.queue.find_response(letter.id) == letter.detail.encode()
    return sorted(letter.detail for letter in has)


async def test_the_first_responses_of_a_kind_are_kept(harness: Harness) -> None:
    a = await harness.worker("a", dead_bodies=2)
    b = await harness.worker("b", second=True, dead_bodies=2)
    for n in range(4):
        await bury(a, harness, f"a{n}", slot=f"s{n}")
        await bury(b, harness, f"b{n}", "other", slot=f"s{n}")
    assert await kept(b) == ["a0", "a1", "b0", "b1"]
    assert len(await letters(b)) == 8, "a letter is kept with or without"
    # One goes: there is room for one.
    await b.queue.purge([(await letters(b))["a0"].id])
    for n in range(4, 7):
        await bury(a, harness, f"a{n}", slot=f"s{n}")
    assert [name for name in await kept(b) if name.startswith("a")] == ["a1", "a4"]
    # Many at once, of slots that live on any shard.
    await a.push([Entry(b"x", f"t{n}") for n in range(12)])
    held = await harness.lease_all(a)
    await a.bury([Burial(x, "callback", f"c{n:02}", kind="many", response=b"c%02d" % n) for n, x in enumerate(held)])
    assert len([name for name in await kept(b) if name.startswith("c")]) == 2
    # None at all.
    none = await harness.worker("none", dead_bodies=0)
    assert not await bury(none, harness, "d", "yet another")
    assert "d" not in await kept(b)


async def test_responses_take_no_more_bytes_than_allowed(harness: Harness) -> None:
    size = len("x" * 100 + "k1") + RESPONSE_OVERHEAD
    a = await harness.worker("a", dead_bodies_bytes=2 * size * harness.shards)  # a part of it is each shard's
    flags = [await bury(a, harness, f"{n}" * 100, f"k{n}") for n in range(4)]
    assert flags == [True, True, False, False]
    assert len(await letters(a)) == 4
    # What goes makes room for as much.
    await a.queue.purge([(await letters(a))["0" * 100].id])
    assert not await bury(a, harness, "5" * 101, "k5")
    assert await bury(a, harness, "6" * 100, "k6")
    assert not await bury(a, harness, "", "")
    assert await kept(a) == ["1" * 100, "6" * 100]


async def test_an_answer_tells_which_responses_were_kept(harness: Harness) -> None:
    a = await harness.worker("a", dead_bodies=1)
    await a.push([Entry(b"x", "s") for _ in range(4)])
    held = await harness.lease_all(a)
    burials = [
        Burial(held[0], "item", "plain"),
        Burial(held[1], "item", "first", kind="k", response=b"first"),
        Burial(held[2], "item", "second", kind="k", response=b"second"),
        Burial(held[1], "item", "first of another kind", kind="l", response=b"first of another kind"),
    ]
    with harness.answers_lost(a.queue), contextlib.suppress(BackendUnavailable):
        await a.exchange(bury=burials)
    answer = await a.exchange(bury=burials, repeat=True)
    assert (list(answer.buried), list(answer.kept)) == ([True] * 4, [False, True, False, True])
    assert await kept(a) == ["first", "first of another kind"]
    # What is not this worker's any more leaves neither.
    await harness.die()
    b = await harness.worker("b", second=True)
    await harness.lease_all(b)
    stale = await a.exchange(bury=[Burial(held[3], "item", "stale", kind="m", response=b"stale")])
    assert (list(stale.buried), list(stale.kept)) == ([False], [False])
    assert list((await a.exchange()).kept) == []


async def test_a_response_goes_with_its_letter(harness: Harness) -> None:
    options = {"dead_bodies": 1, "max_dead": 3, "dead_ttl": 4 * LEASE}
    a = await harness.worker("a", **options)
    for verb in ("replay", "purge"):
        assert await bury(a, harness, "first")
        assert not await bury(a, harness, "second")
        first = (await letters(a))["first"].id
        assert list(await getattr(a.queue, verb)([first])) == [True]
        await a.ack(await harness.lease_all(a))
        assert await a.queue.find_response(first) is None
        assert list(await a.queue.response_sizes([first])) == [0]
        assert await kept(a) == [], "the second one was not kept, and does not take its place later"
        assert await bury(a, harness, "third"), "but the next one is"
        await a.queue.purge([letter.id for letter in await a.queue.dead()])
    # Pushed out by younger letters.
    assert await bury(a, harness, "old")
    for n in range(2):
        assert not await bury(a, harness, f"{n}")
    assert await bury(a, harness, "new")
    assert await kept(a) == ["new"]
    # Too old, whether or not anybody calls.
    new = (await letters(a))["new"].id
    await harness.advance(4 * LEASE + 1)
    assert await a.queue.find_response(new) is None
    assert list(await a.queue.response_sizes([new])) == [0]
    b = await harness.worker("b", second=True, **options)
    assert await bury(b, harness, "after")
    assert await kept(b) == ["after"]
    # Deleted with the crawl.
    await b.queue.clear()
    c = await harness.worker("c", **options)
    assert await bury(c, harness, "anew")
    await c.queue.purge([letter.id for letter in await c.queue.dead()])
    left = harness.keys()
    assert not [key for key in left if ":dead" in key]


async def test_a_response_is_found_by_any_letter_of_its_delivery(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push([Entry(b"x", "s") for _ in range(2)])
    one, two = await harness.lease_all(a)
    burials = [
        Burial(one, "callback", "with", kind="k", response=b"page"),
        Burial(one, "item", "beside"),
        Burial(two, "callback", "alone"),
    ]
    await a.bury(burials)
    every = await letters(a)
    reader = harness.queue(second=True)
    assert await reader.find_response(every["with"].id) == await reader.find_response(every["beside"].id) == b"page"
    for unknown in (every["alone"].id, "nonsense", "0-0", ""):
        assert await reader.find_response(unknown) is None
    await reader.purge([every["with"].id])
    assert await reader.find_response(every["beside"].id) is None


async def test_response_sizes_are_told(harness: Harness) -> None:
    a = await harness.worker("a")
    for n in range(3):
        await bury(a, harness, "x" * (n + 1), slot=f"s{n}")
    await bury(a, harness, "none of its own")
    every = await letters(a)
    asked = [every["xx"].id, "nonsense", every["none of its own"].id, every["x"].id, "0-0"]
    assert list(await harness.queue(second=True).response_sizes(asked)) == [2, 0, 0, 1, 0]
