"""IEventStream: what other programs read of a crawl."""

from __future__ import annotations

from mocra_scrapy.interfaces import IEventStream

from .harness import Harness


def told(*names: object) -> list[dict[str, bytes]]:
    return [{"event": str(name).encode(), "record": b"{}"} for name in names]


async def seen(stream: IEventStream, after: str = "", most: int = 100) -> list[str]:
    return [entry["event"].decode() for _, entry in await stream.read(after, most)]


async def test_events_are_appended_in_order(harness: Harness) -> None:
    stream, other = harness.events("news"), harness.events("news", second=True)
    await stream.append([])
    assert await seen(stream) == []
    await stream.append(told("a", "b"))
    await other.append(told("c"))
    assert await seen(stream) == await seen(other) == ["a", "b", "c"]
    assert dict((await other.read())[0][1]) == {"event": b"a", "record": b"{}"}
    assert await seen(harness.events("olds")) == []


async def test_an_event_stream_is_bounded(harness: Harness) -> None:
    stream = harness.events("news", keep=100)
    for part in range(10):
        await stream.append(told(*range(100 * part, 100 * part + 100)))
    names = await seen(stream, most=1000)
    assert 100 <= len(names) <= 300
    assert names == [str(n) for n in range(1000 - len(names), 1000)], "the oldest go"


async def test_events_are_read_behind_a_position(harness: Harness) -> None:
    stream = harness.events("news")
    await stream.append(told(*range(12)))
    after, found = "", []
    while entries := await stream.read(after, 5):
        assert len(entries) <= 5
        after = entries[-1][0]
        found += [entry["event"].decode() for _, entry in entries]
    assert found == [str(n) for n in range(12)]
    await stream.append(told("new"))
    assert await seen(stream, after) == ["new"]
