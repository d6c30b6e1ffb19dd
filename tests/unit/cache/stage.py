"""A namespace for tests: on memory, with a clock that is moved and a backend that can be away."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.cache.options import cache_options
from mocra_scrapy.cache.shared_cache import SharedCache
from mocra_scrapy.exceptions import BackendUnavailable


class Away:
    """Passes calls on to *tool*, or fails them; ``calls`` has the names of what was called."""

    def __init__(self, tool: Any) -> None:
        self.tool, self.away = tool, False
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.tool, name)
        if name == "close" or not inspect.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if self.away:
                raise BackendUnavailable("theirs://: it is away")
            return await found(*args, **kwargs)

        return call


class Stage:
    """A store, and what several processes would have of it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.url = f"memory://{secrets.token_hex(8)}"
        self.backend = MemoryBackend(self.url, clock=lambda: self.now)
        self.stats: Counter[str] = Counter()
        self.made: list[SharedCache] = []

    def cache(self, namespace: str = "prices", wrapped: Any = None, **arguments: Any) -> SharedCache:
        options = cache_options(namespace, arguments)
        made = SharedCache(
            namespace,
            wrapped or self.backend.cache(namespace, options.bounds),
            self.backend.shared_values(f"cache:{namespace}"),
            self.backend.locks(),
            options,
            count=lambda stat, by: self.stats.update({stat.removeprefix("mocra/cache/"): by}),
        )
        self.made.append(made)
        return made

    def away(self, namespace: str = "prices") -> Away:
        return Away(self.backend.cache(namespace))

    async def close(self) -> None:
        for cache in self.made:
            await cache.close()


async def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Let the loop run until *condition* holds."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), seconds)
