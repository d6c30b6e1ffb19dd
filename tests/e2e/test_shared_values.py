"""Shared values between processes: no change is lost, every watcher sees the last one, one that was
cut off catches up.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.shared_values import SharedSpace
from mocra_scrapy.exceptions import BackendUnavailable
from tests.services import warm
from tests.services.faultproxy import FaultProxy
from tests.services.processes import Stopwatch, unmeasured
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

COUNT = """
import asyncio, sys
from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.shared_values import SharedSpace

async def count():
    backend = open_backend(sys.argv[1])
    counter = SharedSpace(backend.shared_values("place")).value("n", 0)
    for _ in range(1000):
        await counter.update(lambda n: n + 1)
    await backend.close()

asyncio.run(count())
"""


async def until(condition: Callable[[], object], seconds: float = 30.0) -> float:
    """Seconds that it took."""
    watch = Stopwatch()
    while not condition():
        assert time.monotonic() < watch.began + seconds, "it did not come true"
        await asyncio.sleep(0.005)
    return watch.seconds()


async def test_four_processes_count_to_four_thousand(redis_url: str) -> None:
    backend = open_backend(redis_url)
    watchers = [SharedSpace(backend.shared_values("place"), refresh=1000) for _ in range(3)]
    seen = [watcher.value("n", 0) for watcher in watchers]
    heard: list[int] = []
    seen[0].on_change(lambda new, old: heard.append(new))
    for watcher in watchers:
        await watcher.open()
    counting = [
        warm.start([sys.executable, "-c", COUNT, redis_url], cwd=Path.cwd(), env=unmeasured()) for _ in range(4)
    ]
    await until(lambda: all(process.poll() is not None for process in counting), 100)
    assert [process.returncode for process in counting] == [0] * 4
    late = await until(lambda: [one.value for one in seen] == [4000] * 3)
    assert late < 1.0 + 2.0, "a second, and what a slow machine adds"
    assert heard == sorted(set(heard)), "no watcher goes back"
    assert len(heard) > 10
    for watcher in watchers:
        await watcher.close()
    await backend.close()


async def test_a_watcher_that_was_cut_off_catches_up(own_redis: RedisServer) -> None:
    with FaultProxy(own_redis.port) as proxy:
        far = open_backend(f"redis://127.0.0.1:{proxy.port}/0", options={"socket_timeout": 0.5})
        near = open_backend(own_redis.url)
        space = SharedSpace(far.shared_values("place"), refresh=1000)  # so that only the reconnection can bring it
        theirs, ours = space.value("x", 0), SharedSpace(near.shared_values("place")).value("x", 0)
        await space.open()
        await ours.set(1)
        await until(lambda: theirs.value == 1)
        for number, break_it in ((2, lambda: setattr(proxy, "refuse", True)), (3, lambda: None)):
            break_it()
            proxy.reset()
            await ours.set(number)
            await asyncio.sleep(0)
            assert theirs.value == number - 1
            proxy.heal()
            await until(lambda number=number: theirs.value == number, 10)  # type: ignore[misc]
        own_redis.kill()
        own_redis.start()
        with pytest.raises(BackendUnavailable):
            await ours.set(4)  # on a connection to the server that was killed: told, not repeated in silence
        await ours.set(4)
        await until(lambda: theirs.value == 4, 10)
        await space.close()
        await far.close()
        await near.close()
