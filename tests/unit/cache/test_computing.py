"""``get_or_compute``: one computes, the others wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mocra_scrapy.cache.shared_cache import SharedCache
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError, LockTimeout
from tests.unit.cache.stage import Stage, until


class Slow:
    """A computation that ends when the test says so."""

    def __init__(self) -> None:
        self.begun, self.goes_on = 0, asyncio.Event()

    async def __call__(self) -> str:
        self.begun += 1
        await self.goes_on.wait()
        return f"value {self.begun}"


async def test_one_computes_and_the_others_wait(stage: Stage) -> None:
    caches, slow = [stage.cache() for _ in range(4)], Slow()
    callers = [asyncio.ensure_future(cache.get_or_compute("a", slow)) for cache in caches for _ in range(5)]
    await until(lambda: slow.begun)
    for _ in range(20):
        await asyncio.sleep(0)
    slow.goes_on.set()
    assert await asyncio.gather(*callers) == ["value 1"] * 20
    assert await caches[3].get_or_compute("a", slow) == "value 1"
    assert stage.stats["computed"] == 1
    assert not [cache for cache in caches if cache._computing._turns]


async def test_nothing_is_a_value(stage: Stage) -> None:
    computed = 0

    async def compute() -> None:
        nonlocal computed
        computed += 1

    cache = stage.cache()
    for _ in range(3):
        assert await cache.get_or_compute("a", compute) is None
    assert computed == 1


async def test_a_failure_is_the_callers_and_the_next_one_tries(stage: Stage) -> None:
    caches, tries = [stage.cache(), stage.cache()], 0

    async def compute() -> int:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        if tries < 4:
            raise ValueError(f"try {tries}")
        return tries

    got = await asyncio.gather(
        *(cache.get_or_compute("a", compute) for cache in caches for _ in range(3)), return_exceptions=True
    )
    assert sorted(str(one) for one in got) == ["4", "4", "4", "try 1", "try 2", "try 3"]


async def test_a_cancelled_caller_makes_way(stage: Stage) -> None:
    cache, slow = stage.cache(), Slow()
    first, second = (asyncio.ensure_future(cache.get_or_compute("a", slow)) for _ in range(2))
    await until(lambda: slow.begun)
    first.cancel()
    await asyncio.wait([first])
    slow.goes_on.set()
    assert await second == "value 2"


@pytest.mark.parametrize("same", [True, False])
async def test_waiting_is_bounded(stage: Stage, same: bool) -> None:
    cache, slow = stage.cache(), Slow()
    other = cache if same else stage.cache()
    first = asyncio.ensure_future(cache.get_or_compute("a", slow))
    await until(lambda: slow.begun)
    with pytest.raises(LockTimeout, match=r"cache value 'a' was not computed by others within wait = 0\.05 s"):
        await other.get_or_compute("a", slow, wait=0.05)
    slow.goes_on.set()
    assert await first == "value 1"


async def test_a_timeout_within_is_the_callers(stage: Stage) -> None:
    async def compute() -> None:
        raise LockTimeout("another lock")

    with pytest.raises(LockTimeout, match="another lock"):
        await stage.cache().get_or_compute("a", compute)


async def test_who_lost_the_lock_stores_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    frozen, other, slow = stage.cache(), stage.cache(), Slow()
    first = asyncio.ensure_future(frozen.get_or_compute("a", slow, lease=0.3))
    await until(lambda: slow.begun)
    stage.now += 1  # by the store its lease is over: another one takes over
    assert await other.get_or_compute("a", _of("theirs")) == "theirs"
    await until(lambda: "is lost" in caplog.text)
    slow.goes_on.set()
    assert await first == "value 1"
    assert await other.get("a") == "theirs"


def _of(value: str) -> Callable[[], Awaitable[str]]:
    async def compute() -> str:
        return value

    return compute


async def test_without_a_backend_everybody_computes(stage: Stage) -> None:
    away = stage.away()
    cache: SharedCache = stage.cache(wrapped=away, on_outage="miss")
    away.away = True
    assert await cache.get_or_compute("a", _of("mine")) == "mine"
    assert await cache.get_or_compute("a", _of("again")) == "again"
    away.away = False
    assert await cache.get_or_compute("a", _of("stored")) == "stored"
    assert await cache.get_or_compute("a", _of("other")) == "stored"
    strict = stage.away()
    strict.away = True
    with pytest.raises(BackendUnavailable):
        await stage.cache(wrapped=strict).get_or_compute("a", _of("mine"))


async def test_what_can_not_be_stored_is_given(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    away = stage.away()
    cache = stage.cache(wrapped=away)

    async def compute() -> str:
        away.away = True
        return "mine"

    assert await cache.get_or_compute("a", compute) == "mine"
    assert "Cache 'prices': 'a' was computed and could not be stored" in caplog.text


@pytest.mark.parametrize("value", [b"x" * 2000, object()])
async def test_what_does_not_fit_is_given_with_one_warning(
    stage: Stage, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    cache = stage.cache(max_value_bytes=1000)

    async def compute() -> object:
        return value

    for _ in range(3):
        assert await cache.get_or_compute("a", compute) is value
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 1
    assert "Cache 'prices': 'a' was computed and can't be stored" in lines[0]
    assert "cache value 'a'" in lines[0]


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
async def test_a_wrong_ttl_is_refused_before_anything_is_computed(stage: Stage, ttl: float) -> None:
    async def compute() -> None:
        raise AssertionError

    with pytest.raises(ConfigurationError, match="is no time in seconds"):
        await stage.cache().get_or_compute("a", compute, ttl)


async def test_who_computes_a_value_can_not_wait_for_it(stage: Stage) -> None:
    cache = stage.cache()

    async def first() -> str:
        return await cache.get_or_compute("b", second, wait=600)

    async def second() -> str:
        return await cache.get_or_compute("a", first, wait=600)

    with pytest.raises(ConfigurationError, match="cache value 'a': what computes it asks get_or_compute for it"):
        await asyncio.wait_for(cache.get_or_compute("a", first, wait=600), 60)
    assert await cache.get_or_compute("a", _of("now")) == "now"
