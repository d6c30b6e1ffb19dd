"""IDeadLetters: what is kept of what was given up, and the verbs for people."""

from __future__ import annotations

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Burial, DeadLetter, Entry, LetterFilter, QueueSize

from .harness import LEASE, Harness, bodies, fp
from .test_people_rules import bury_all


async def bury_one(
    session: QueueSession, harness: Harness, reason: str = "retry", slot: str = "s", **more: object
) -> None:
    await session.push([Entry(b"x", slot)])
    (lease,) = await harness.lease_all(session)
    await session.bury([Burial(lease, reason, **more)])  # type: ignore[arg-type]


async def test_dead_letters_are_paged(harness: Harness) -> None:
    a = await harness.worker("a")
    assert list(await a.queue.dead()) == []
    for i in range(25):
        await a.push([Entry(b"%d" % i, "s")])
        await bury_all(harness, a)
    reader = harness.queue(second=True)
    pages: list[list[bytes]] = []
    after = None
    while page := list(await reader.dead(10, after=after)):
        pages.append([x.body for x in page])
        after = page[-1].id
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [body for page in pages for body in page] == [b"%d" % i for i in range(25)]
    # A page does not depend on whether the letter that it comes after is still there.
    first = list(await reader.dead(3))
    assert list(await reader.purge([first[2].id])) == [True]
    assert (await reader.dead(1, after=first[2].id))[0].body == b"3"
    # Over all shards nothing is passed over either.
    for i in range(40):
        await a.push([Entry(b"", f"t{i}")])
    await bury_all(harness, a)
    ids = []
    after = None
    while page := list(await reader.dead(7, after=after)):
        ids += [x.id for x in page]
        after = ids[-1]
    assert len(ids) == len(set(ids)) == 64


async def test_replay_puts_back(harness: Harness) -> None:
    a, b = await harness.worker("a", max_deliveries=1), await harness.worker("b", second=True, max_deliveries=1)
    await a.push([Entry(b"x", "s", 4, fp("x"), start=True), Entry(b"y", "t", -4, fp("y"))])
    await harness.lease_all(a)
    await harness.die()
    assert await harness.lease_all(b) == []
    letters = {x.body: x for x in await b.queue.dead()}
    assert set(letters) == {b"x", b"y"}
    assert list(await a.queue.replay([letters[b"x"].id, "nonsense", letters[b"x"].id])) == [True, False, False]
    size = await a.queue.size()
    assert (size.pending, size.dead) == (1, 1)
    (lease,) = await harness.lease_all(b)
    assert (lease.body, lease.slot, lease.priority, lease.start) == (b"x", "s", 4, True)
    assert (lease.deliveries, lease.first_lost_at) == (1, None)
    assert list(await b.ack([lease])) == [True]
    assert list(await b.push([Entry(b"x", "s", fingerprint=fp("x"))])) == [False]  # replaying is not forgetting


async def test_purge_deletes(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push([Entry(b"", f"s{i}") for i in range(5)])
    await bury_all(harness, a)
    ids = [x.id for x in await a.queue.dead()]
    assert list(await harness.queue(second=True).purge([*ids[:3], ids[0], "nonsense"])) == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert [x.id for x in await a.queue.dead()] == ids[3:]
    assert list(await a.queue.replay(ids[:1])) == [False]
    assert (await a.queue.size()).dead == 2


async def test_a_request_may_leave_records(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push([Entry(b"1", "s", 3, fp(1)), Entry(b"2", "s")])
    one, two = await harness.lease_all(a)
    failed = {"url": "http://s.test/ü", "fingerprint": fp(1), "retries": 2, "first_failed_at": 1_000_000.5}
    burials = [
        Burial(one, "item", "first", done=True, **failed),  # type: ignore[arg-type]
        Burial(two, "retry", body=b"fresh"),
        Burial(one, "item", "second", done=True),
    ]
    answer = await a.exchange(bury=burials, ack=[])
    assert list(answer.buried) == [True, True, True]
    assert (await a.queue.size()) == QueueSize(dead=3, seen=1)
    letters = sorted(await b.queue.dead(), key=lambda x: x.detail)
    assert [(x.reason, x.detail, x.body, x.done) for x in letters] == [
        ("retry", "", b"fresh", False),
        ("item", "first", b"1", True),
        ("item", "second", b"1", True),
    ]
    record = letters[1]
    assert {name: getattr(record, name) for name in failed} == failed
    assert (record.priority, record.deliveries, record.worker) == (3, 1, "a")
    assert letters[2].first_failed_at == letters[2].died_at > 1e9
    assert (letters[2].url, letters[2].fingerprint, letters[2].retries) == ("", None, 0)
    # The same call again writes nothing more; in a later one it is not ours any more.
    assert list((await a.exchange(bury=burials, ack=[], repeat=True)).buried) == [True, True, True]
    assert (await a.queue.size()).dead == 3
    assert list(await a.bury(burials)) == [False, False, False]
    assert (await a.queue.size()).dead == 3


async def test_letters_survive_the_run(harness: Harness) -> None:
    a = await harness.worker("a")
    await bury_one(a, harness)
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    assert (await a.queue.finish("a")).value == "won"
    await a.queue.close_worker("a")
    assert [x.reason for x in await harness.queue(second=True).dead()] == ["retry"]
    b = await harness.worker("b", second=True)
    assert (await b.queue.state()).run == 2
    assert (await b.queue.size()).dead == 1


async def test_too_many_letters_push_out_the_oldest(harness: Harness) -> None:
    a = await harness.worker("a", max_dead=3)
    for n in range(5):
        await bury_one(a, harness, detail=str(n))
    assert [x.detail for x in await a.queue.dead()] == ["2", "3", "4"]
    assert (await a.queue.size()).dead == 3
    # Of all slots together, wherever they are stored.
    for n in range(5, 13):
        await bury_one(a, harness, detail=str(n), slot=f"slot {n}")
        assert sorted(int(x.detail) for x in await a.queue.dead()) == [n - 2, n - 1, n]
    # Those that are too many because somebody was killed in between go when the crawl is gone on with.
    await a.queue.close_worker("a")
    b = await harness.worker("b", max_dead=2)
    assert len(await b.queue.dead()) == (2 if harness.shards > 1 else 3), "one shard drops when it writes"


async def test_old_letters_go(harness: Harness) -> None:
    a = await harness.worker("a", dead_ttl=LEASE)
    reader = harness.queue(second=True, dead_ttl=LEASE)
    await bury_one(a, harness, detail="old")
    (old,) = await reader.dead()
    await harness.advance(LEASE / 2)
    await bury_one(a, harness, detail="young")
    assert [x.detail for x in await reader.dead()] == ["old", "young"]
    await harness.advance(LEASE / 2 + 1)
    assert [x.detail for x in await reader.dead()] == ["young"]
    assert (await reader.size()).dead == 1
    assert dict(await reader.count_dead()) == {"retry": 1}
    assert list(await reader.find_dead([old.id])) == [None]
    assert list(await reader.replay([old.id])) == list(await reader.purge([old.id])) == [False]
    await a.exchange()
    # Without a limit nothing goes by itself.
    keeper = harness.queue(dead_ttl=None)
    assert [x.detail for x in await keeper.dead()] == ["young"], "what was too old is deleted, not only hidden"
    await harness.advance(LEASE)
    assert [x.detail for x in await keeper.dead()] == ["young"]
    assert await reader.purge_where(LetterFilter()) == 0


async def test_letters_are_filtered(harness: Harness) -> None:
    a = await harness.worker("a")
    for n in range(12):
        await bury_one(a, harness, ("retry", "callback", "item")[n % 3], f"slot{n % 4}", done=n % 3 > 0, detail=str(n))
    reader = harness.queue(second=True)
    every = list(await reader.dead())
    assert len(every) == 12

    async def found(**where: object) -> list[str]:
        return [x.detail for x in await reader.dead(where=LetterFilter(**where))]  # type: ignore[arg-type]

    assert await found(reason="retry") == ["0", "3", "6", "9"]
    assert await found(slot="slot1") == ["1", "5", "9"]
    assert await found(reason="callback", slot="slot1") == ["1"]
    assert await found(done=True, slot="slot3") == ["7", "11"]
    assert await found(done=False) == ["0", "3", "6", "9"]
    assert await found(reason="") == await found(slot="") == []
    middle = every[6].died_at
    assert await found(since=middle) == [x.detail for x in every if x.died_at >= middle]
    assert await found(until=middle) == [x.detail for x in every if x.died_at < middle]
    # A slot is meant whatever scopes its requests have beside it; a replay keeps these.
    await a.push([Entry(b"scoped", "host", scopes=("@account",))])
    (lease,) = await harness.lease_all(a)
    await a.bury([Burial(lease, "retry", "scoped")])
    (letter,) = await reader.dead(where=LetterFilter(slot="host"))
    assert (letter.slot, letter.scopes) == ("host", ("@account",))
    await reader.replay([letter.id])
    (lease,) = await harness.lease_all(a)
    assert (lease.slot, lease.scopes) == ("host", ("@account",))
    await a.ack([lease])
    # Pages are full as long as there are enough.
    some = LetterFilter(reason="item")
    first = list(await reader.dead(3, where=some))
    assert [x.detail for x in first] == ["2", "5", "8"]
    assert [x.detail for x in await reader.dead(3, where=some, after=first[-1].id)] == ["11"]
    assert list(await reader.dead(0, where=some)) == []
    # More letters than one step on the server looks at.
    await a.push([Entry(b"", "many") for _ in range(250)])
    leases = await harness.lease_all(a, 250)
    await a.bury([Burial(lease, "retry", "last" if i == 249 else "") for i, lease in enumerate(leases)])
    assert len(list(await reader.dead(1000, where=LetterFilter(slot="many")))) == 250
    assert [x.slot for x in await reader.dead(1, where=LetterFilter(slot="many"))] == ["many"]


async def test_letters_are_counted_by_reason(harness: Harness) -> None:
    a = await harness.worker("a")
    assert dict(await a.queue.count_dead()) == {}
    for n in range(7):
        await bury_one(a, harness, ("retry", "callback")[n % 2], f"slot{n}", done=n % 2 > 0)
    await a.push([Entry(b"", f"t{n % 5}") for n in range(450)])
    leases = await harness.lease_all(a, 450)
    await a.bury([Burial(lease, "item", "d" * 100) for lease in leases])
    reader = harness.queue(second=True)
    assert dict(await reader.count_dead()) == {"retry": 4, "callback": 3, "item": 450}
    assert dict(await reader.count_dead(LetterFilter(done=True))) == {"callback": 3}
    assert dict(await reader.count_dead(LetterFilter(slot="slot0"))) == {"retry": 1}
    assert dict(await reader.count_dead(LetterFilter(until=1.0))) == {}


async def test_letters_are_found_by_id(harness: Harness) -> None:
    a = await harness.worker("a")
    for n in range(4):
        await bury_one(a, harness, slot=f"slot{n}", detail=str(n))
    letters: list[DeadLetter] = list(await a.queue.dead())
    reader = harness.queue(second=True)
    asked = [letters[2].id, "nonsense", letters[0].id, "0-0", ""]
    assert list(await reader.find_dead(asked)) == [letters[2], None, letters[0], None, None]


async def test_replay_may_forget_the_fingerprint(harness: Harness) -> None:
    a = await harness.worker("a")
    some = [Entry(b"%d" % n, f"slot{n}", fingerprint=fp(n)) for n in range(4)]
    await a.push(some)
    held = {x.body: x for x in await harness.lease_all(a)}
    await a.bury([Burial(held[b"%d" % n], "retry", fingerprint=fp(n) if n < 3 else None) for n in range(4)])
    ids = {x.body: x.id for x in await a.queue.dead()}
    reader = harness.queue(second=True)
    assert list(await reader.replay([ids[b"0"]])) == [True]
    assert list(await reader.replay([ids[b"1"], ids[b"3"], ids[b"1"]], forget=True)) == [True, True, False]
    assert (await reader.size()).seen == 3
    assert list(await a.push(some)) == [False, True, False, False]
    assert sorted(bodies(await harness.lease_all(a))) == ["0", "1", "1", "3"]


async def test_a_delivery_is_replayed_once(harness: Harness) -> None:
    """However many letters it left, named or not, in one call or in several."""
    a = await harness.worker("a")
    await a.push([Entry(b"%d" % n, f"slot{n}", fingerprint=fp(n)) for n in range(3)])
    held = {x.body: x for x in await harness.lease_all(a)}
    burials = [Burial(held[b"%d" % (n % 3)], "item", f"{n % 3} {n}", done=True) for n in range(7)]
    await a.bury(burials)
    letters = {x.detail: x for x in await a.queue.dead()}
    assert len(letters) == 7
    assert {(x.delivery == letters["0 0"].delivery) == (x.detail[0] == "0") for x in letters.values()} == {True}
    reader = harness.queue(second=True)
    # Each letter was there, its request is put back once; the letter that nobody named goes with them.
    named = [letters[detail].id for detail in ("0 3", "1 1", "0 0", "1 4", "0 3", "1 1")]
    assert list(await reader.replay(named, forget=True)) == [True, True, True, True, False, False]
    assert sorted(x.detail for x in await reader.dead()) == ["2 2", "2 5"]
    assert list(await reader.replay([letters["0 6"].id])) == [False], "it went with the others"
    # A letter by itself is purged by itself.
    assert list(await reader.purge([letters["2 2"].id])) == [True]
    assert list(await reader.replay([letters["2 5"].id])) == [True]
    assert sorted(bodies(await harness.lease_all(a))) == ["0", "1", "2"]
    assert (await reader.size()).dead == 0


async def test_a_replay_after_the_end_reopens(harness: Harness) -> None:
    a = await harness.worker("a")
    await bury_one(a, harness, slot="far")
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    await a.queue.finish("a")
    await a.queue.close_worker("a")
    reader = harness.queue(second=True)
    (letter,) = await reader.dead()
    assert list(await reader.replay(["nonsense"])) == [False]
    assert (await reader.state()).finished
    assert list(await reader.replay([letter.id])) == [True]
    assert not (await reader.state()).finished
    b = await harness.worker("b", second=True)
    assert (await b.queue.state()).run == 1, "the same run goes on: nothing is seeded again"
    (lease,) = await harness.lease_all(b)
    assert (lease.body, lease.slot) == (b"x", "far")


async def test_purge_deletes_what_fits(harness: Harness) -> None:
    a = await harness.worker("a")
    for n in range(9):
        await bury_one(a, harness, ("retry", "item")[n % 2], f"slot{n % 4}", detail=str(n))
    reader = harness.queue(second=True)
    assert await reader.purge_where(LetterFilter(reason="item"), 3) == 3
    assert [x.detail for x in await reader.dead()] == ["0", "2", "4", "6", "7", "8"]
    assert await reader.purge_where(LetterFilter(slot="slot0")) == 3
    assert await reader.purge_where(LetterFilter(reason="callback")) == await reader.purge_where(LetterFilter(), 0) == 0
    assert await reader.purge_where(LetterFilter()) == 3
    assert (await reader.size()).dead == 0
