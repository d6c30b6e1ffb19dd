"""IDictionaries: what compressed payloads need to be read is there before them and stays after
them.
"""

from __future__ import annotations

from mocra_scrapy.models import Burial, Finish, StoredDictionaries

from .harness import Harness, entries

BYTES = bytes(range(256)) * 32


async def test_a_dictionary_comes_back_byte_for_byte(harness: Harness) -> None:
    queue = harness.queue()
    assert await queue.dictionaries() == StoredDictionaries()
    assert await queue.add_dictionary(0, BYTES, instead_of=None) == 0
    stored = await harness.queue(second=True).dictionaries()
    assert (stored.current, stored.contents) == (0, {0: BYTES})


async def test_one_dictionary_wins(harness: Harness) -> None:
    a, b = harness.queue(), harness.queue(second=True)
    assert await a.add_dictionary(7, b"a", instead_of=None) == 7
    assert await b.add_dictionary(8, b"b", instead_of=None) == 7
    assert await a.add_dictionary(7, b"a", instead_of=None) == 7  # a call that is repeated
    assert await b.add_dictionary(9, b"c", instead_of=8) == 7
    stored = await b.dictionaries()
    assert (stored.current, stored.contents) == (7, {7: b"a"})


async def test_old_dictionaries_stay(harness: Harness) -> None:
    queue = harness.queue()
    await queue.add_dictionary(1, b"one", instead_of=None)
    assert await queue.add_dictionary(65_535, b"two", instead_of=1) == 65_535
    assert await queue.add_dictionary(1, b"other", instead_of=65_535) == 65_535  # never another content
    stored = await queue.dictionaries()
    assert (stored.current, stored.contents) == (65_535, {1: b"one", 65_535: b"two"})
    assert await queue.add_dictionary(1, b"one", instead_of=65_535) == 1  # but it may be written with again


async def test_dictionaries_outlive_the_run(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.queue.add_dictionary(3, b"x", instead_of=None)
    await a.push(entries(1, slot="s"))
    await a.bury([Burial(lease, "unreadable") for lease in await harness.lease_all(a)])
    assert await a.queue.claim_seeding("a")
    assert await a.queue.complete_seeding("a")
    assert await a.queue.finish("a") is Finish.WON
    await a.queue.close_worker("a")
    b = await harness.worker("b", second=True)
    assert (await b.queue.state()).run == 2
    assert (await b.queue.dictionaries()).contents == {3: b"x"}


async def test_clear_deletes_dictionaries(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.queue.add_dictionary(3, b"x", instead_of=None)
    await a.queue.clear()
    assert await harness.queue(second=True).dictionaries() == StoredDictionaries()


async def test_dictionaries_are_bounded(harness: Harness) -> None:
    queue, last = harness.queue(), None
    for i in range(100):
        last = await queue.add_dictionary(i, b"%d" % i, instead_of=last)
    assert await queue.add_dictionary(100, b"more", instead_of=99) == 99
    assert len((await queue.dictionaries()).contents) == 100
    assert await queue.add_dictionary(5, b"5", instead_of=99) == 5
