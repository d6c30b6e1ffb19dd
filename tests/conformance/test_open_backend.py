"""``open_backend`` and ``redact_url``; what is the memory backend's own."""

from __future__ import annotations

import asyncio
import builtins
import gc
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from zope.interface import implementer

from mocra_scrapy import backends
from mocra_scrapy.backends import REDIS_SCHEMES, open_backend, redact_url
from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.exceptions import ConfigurationError, NotSupported
from mocra_scrapy.interfaces import IBackend
from mocra_scrapy.models import Entry, QueueOptions, ServerReport

from .harness import bodies, entries, fp
from .memory_harness import MemoryHarness


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://x", "memory://x"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://user:hunter2@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:hunter2@[::1]:6379/0", "redis://:***@[::1]:6379/0"),
        ("redis://:hun@ter2@host", "redis://:***@host"),
        ("redis://:hun/ter2@host/1", "redis://:***@host/1"),
        ("redis://:hun?ter2@host/1", "redis://:***@host/1"),
        ("redis://:hun#ter2@host/1", "redis://:***@host/1"),
        ("redis://:h@un?ter2@host/1", "redis://:***@host/1"),
        ("redis://hunter2@host", "redis://***@host"),
        ("redis://host/0?client_name=a@b", "redis://host/0?client_name=a@b"),
        ("redis://host/0?password=hunter2&db=1", "redis://host/0?password=***&db=1"),
        ("redis://:x@host/0?db=1&ssl_PASSWORD=hunter2", "redis://:***@host/0?db=1&ssl_PASSWORD=***"),
        ("redis+sentinel://:hunter2@h1:26379,h2/mymaster/0", "redis+sentinel://:***@h1:26379,h2/mymaster/0"),
        ("unix://:hunter2@/run/r.sock?db=2", "unix://:***@/run/r.sock?db=2"),
        ("user:hunter2@host", "user:***@host"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert redact_url(url) == shown
    assert "hunter2" not in redact_url(url)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("redsi://u:hunter2@h", "Did you mean redis://?"),
        ("postgres://u:hunter2@h", "memory://, redis://"),
        ("u:hunter2@host:6379", "Write memory:// or redis://"),
        ("", "Write memory:// or redis://"),
        ("memory://a/b", "memory://NAME"),
    ],
)
def test_an_unknown_url_is_explained(url: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        open_backend(url)
    assert hint in str(raised.value)
    assert raised.value.subject == "MOCRA_BACKEND"
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("scheme", REDIS_SCHEMES)
def test_a_missing_client_is_named(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        n for n in sys.modules if n.partition(".")[0] == "redis" or n.startswith("mocra_scrapy.backends.redis")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(backends, "redis", raising=False)
    real: Callable[..., Any] = builtins.__import__

    def without_redis(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "redis":
            raise ModuleNotFoundError("No module named 'redis'", name="redis")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_redis)
    with pytest.raises(ConfigurationError, match=r'pip install "mocra-scrapy\[redis\]"') as raised:
        open_backend(f"{scheme}://:hunter2@host")
    assert "hunter2" not in str(raised.value)


# ---------------------------------------------------------------------- third parties


@implementer(IBackend)
class Theirs:
    shared = durable = True

    def __init__(self, url: str, *, prefix: str, options: dict[str, object]) -> None:
        self.url, self.prefix, self.options = url, prefix, options

    async def open(self, timeout: float = 15.0) -> ServerReport:
        return ServerReport()

    def request_queue(self, crawl: str, options: QueueOptions) -> Any: ...

    def election(self, role: str) -> Any:
        raise NotSupported("theirs://", "it has no elections", "Use redis:// for MOCRA_BACKEND")

    def locks(self) -> Any: ...

    def shared_values(self, namespace: str) -> Any: ...

    def cache(self, namespace: str, bounds: Any = None) -> Any: ...

    def worker_registry(self) -> Any: ...

    def breaker(self, crawl: str, rules: Any, options: QueueOptions) -> Any: ...
    def stalls(self, crawl: str, rules: Any, options: QueueOptions) -> Any: ...

    def rate_limiter(self, crawl: str, options: QueueOptions) -> Any: ...

    async def crawls(self) -> Any: ...

    async def close(self) -> None: ...


class Undeclared(Theirs):
    pass


@implementer(IBackend)
class Lacking:
    url = "x"

    def __init__(self, url: str, **more: object) -> None: ...

    async def open(self, timeout: float = 15.0) -> ServerReport:
        return ServerReport()

    def request_queue(self, crawl: str) -> Any: ...


def install(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    points = [EntryPoint("theirs", value, backends.GROUP)]
    monkeypatch.setattr(backends, "entry_points", lambda group: points if group == backends.GROUP else [])


def test_a_third_party_backend_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, f"{__name__}:Theirs")
    backend = open_backend("theirs://host", prefix="p", options={"a": 1})
    assert isinstance(backend, Theirs)
    assert (backend.url, backend.prefix, backend.options) == ("theirs://host", "p", {"a": 1})
    with pytest.raises(ConfigurationError, match="theirs://"):
        open_backend("other://")


def test_a_third_party_backend_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, f"{__name__}:Lacking")
    with pytest.raises(ConfigurationError) as raised:
        open_backend("theirs://:hunter2@host")
    for part in (
        "add 'close'",
        "add 'shared'",
        "add 'durable'",
        "add 'election'",
        "signature of 'request_queue'",
        "Lacking",
    ):
        assert part in str(raised.value)
    assert "'open'" not in str(raised.value)
    install(monkeypatch, f"{__name__}:no_such_class")
    with pytest.raises(ConfigurationError, match="can't be imported"):
        open_backend("theirs://")


# ---------------------------------------------------------------------- memory


async def test_a_name_is_shared_and_gone_with_its_last_holder() -> None:
    async def sizes(*opened: IBackend) -> list[int]:
        return [(await one.request_queue("c", QueueOptions()).size()).pending for one in opened]

    first, same = open_backend("memory://shop"), open_backend("memory://shop")
    private, prefixed = open_backend("memory://"), open_backend("memory://shop", prefix="other")
    await first.open()
    await first.request_queue("c", QueueOptions()).exchange("w", 1, push=entries(1, 2))
    assert await sizes(first, same, private, prefixed, open_backend("memory://")) == [2, 2, 0, 0, 0]
    assert (first.shared, first.durable, first.url) == (False, False, "memory://shop")
    queue = same.request_queue("c", QueueOptions())
    await first.close()
    await first.close()
    del first, same
    gc.collect()
    assert await sizes(open_backend("memory://shop")) == [2]  # the queue still holds it
    del queue
    gc.collect()
    assert await sizes(open_backend("memory://shop")) == [0]


async def test_fingerprints_are_remembered_for_seen_ttl_and_a_quarter_more_at_most() -> None:
    for pause in (1.0, 7.0, 24.0, 25.0, 26.0, 60.0):
        harness = MemoryHarness()
        await harness.start()
        a = await harness.worker("a", seen_ttl=100.0)
        born: dict[int, float] = {}
        for number in range(40):
            await harness.advance(pause)
            born[number] = harness.now
            assert list(await a.push([Entry(b"", fingerprint=fp(number))])) == [True]
            for old, at in list(born.items()):
                new = list(await a.push([Entry(b"", fingerprint=fp(old))])) == [True]
                assert new == (harness.now - at >= 100) or 100 <= harness.now - at < 125
                if new:
                    born[old] = harness.now
        await harness.advance(1000)
        assert (await a.queue.size()).seen == 0


async def test_call_numbers_must_grow() -> None:
    harness = MemoryHarness()
    await harness.start()
    a = await harness.worker("a")
    await a.push(entries(1))
    a.call = -1
    with pytest.raises(ValueError, match="must grow"):
        await a.push(entries(2))


async def test_an_answered_repeat_outlives_its_worker_for_an_hour_only() -> None:
    harness = MemoryHarness()
    await harness.start()
    a, b = await harness.worker("a"), await harness.worker("b")
    await a.push(entries(1))
    await harness.die()
    await b.exchange()
    (crawl,) = harness.backends[0]._store.values()  # type: ignore[attr-defined]
    assert list(crawl.dead_workers) == ["a"]
    await harness.advance(3601)
    await b.exchange()
    assert not crawl.dead_workers


def test_several_loops_may_use_one_crawl_one_after_another() -> None:
    backend = MemoryBackend()
    queue = backend.request_queue("c", QueueOptions())

    async def sleep_and_wake(call: int) -> list[str]:
        leases = (await queue.exchange("sleeper", call, want=1)).leases
        assert not leases
        waiting = asyncio.ensure_future(queue.wait("sleeper", 5))
        await asyncio.sleep(0)
        await queue.exchange("other", call, push=entries(call))
        assert await waiting
        leases = (await queue.exchange("sleeper", call + 1, want=1)).leases
        await queue.exchange("sleeper", call + 2, ack=leases)
        return bodies(leases)

    for call in (1, 10, 20):
        loop = asyncio.new_event_loop()
        try:
            assert loop.run_until_complete(sleep_and_wake(call)) == [str(call)]
        finally:
            loop.close()


async def test_a_turn_does_not_look_at_everything() -> None:
    """The cost of a lease with 30,000 slots is that of one with 300, give or take: nothing is
    searched.
    """

    class Counted(str):
        __slots__ = ()
        looks = 0

        def __hash__(self) -> int:
            Counted.looks += 1
            return str.__hash__(self)

        __eq__ = str.__eq__

    costs = []
    for slots in (300, 30_000):
        harness = MemoryHarness()
        await harness.start()
        a = await harness.worker("a")
        await a.push([Entry(b"", Counted(i)) for i in range(slots)])
        Counted.looks = 0
        await a.release(await a.lease(20))
        costs.append(Counted.looks)
    assert costs[0] == costs[1]
    assert costs[1] < 1000
