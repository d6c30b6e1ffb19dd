"""What a callback yields, held until it is exhausted: all of it is taken in, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy.exceptions import CloseSpider

if TYPE_CHECKING:
    from typing import Protocol

    class Page(Protocol):
        """The part of a page that is used here."""

        items: set[asyncio.Task[None]]
        late: bool


#: Outputs of a callback between two looks at the event loop.
AT_A_TIME = 50


class Held:
    """The output of one callback.

    Args:
        most: requests and items that may be held.
        too_many: told once when there are more; then nothing is taken in.
        undone: told how many were yielded in vain, where some were.
        most_bytes: of bodies and URLs of requests that may be held.
        too_large: told once when there are more; then nothing is taken in.
        leaving: told of each request that is about to be taken in, and with ``None`` that it was.
    """

    def __init__(
        self,
        most: int,
        too_many: Callable[[], None],
        undone: Callable[[int], None],
        *,
        most_bytes: int,
        too_large: Callable[[], None],
        leaving: Callable[[Request | None], None],
    ) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._too_large = too_large
        self._leaving = leaving
        self._too_many = too_many
        self._undone = undone
        self._failed = False

    def failing(self, handle: Callable[..., Any]) -> Callable[..., Any]:
        """*handle*, Scrapy's for an exception that leaves a callback; noticed on its way. A
        ``CloseSpider`` is the end of a callback that went well.
        """

        def handle_spider_error(failure: Any, *args: Any, **kwargs: Any) -> Any:
            self._failed = self._failed or not isinstance(failure.value, CloseSpider)
            return handle(failure, *args, **kwargs)

        return handle_spider_error

    async def whole(
        self, outputs: AsyncIterator[Any], page: Page, dropped: Callable[[Any], None]
    ) -> AsyncIterator[Any]:
        """The items of *outputs*, and when they have left the pipelines its requests; nothing, where
        the callback failed. What comes late is *dropped*.
        """
        items, requests = await self._all_of(outputs, page, dropped)
        if self._failed or page.late:
            if requests or items:
                self._undone(len(requests) + len(items))
            return
        for item in items:
            yield item
        if page.items:  # what is stored together with the acknowledgement comes last
            await asyncio.wait(page.items)
        if page.late:
            self._undone(len(requests))
            return
        for request in requests:
            self._leaving(request)
            try:
                yield request
            finally:
                self._leaving(None)

    async def _all_of(
        self, outputs: AsyncIterator[Any], page: Page, dropped: Callable[[Any], None]
    ) -> tuple[list[Any], list[Request]]:
        """The items and requests among *outputs*, until these are too many or too large."""
        items: list[Any] = []
        requests: list[Request] = []
        taken = size = 0
        async for output in outputs:
            taken += 1
            if not taken % AT_A_TIME:
                await asyncio.sleep(0)
            if page.late:
                dropped(output)
            elif output is not None:
                if isinstance(output, Request):
                    requests.append(output)
                    size += len(output.body) + len(output.url)
                else:
                    items.append(output)
                if len(requests) + len(items) > self._most or size > self._most_bytes:
                    self._failed = True
                    (self._too_large if size > self._most_bytes else self._too_many)()
                    await _end(outputs)
                    break
        return items, requests


async def _end(outputs: AsyncIterator[Any]) -> None:
    close = getattr(outputs, "aclose", None)
    if close is not None:
        await close()
