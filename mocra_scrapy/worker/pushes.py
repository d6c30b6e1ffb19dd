"""A request on its way into the queue, and those that go there together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.models import Entry


@dataclass(frozen=True, slots=True)
class Push:
    entry: Entry
    request: Request | None  # for request_dropped, when the queue knows it already


@dataclass(slots=True)
class Children:
    """Pushes that wait for the end of their parent.

    Attributes:
        is_too_large: whether some were left out.
        leaving: the request that leaves the callback at this moment. What anything else gives to the
            engine meanwhile doesn't wait: the callback may wait for it.
    """

    pushes: list[Push] = field(default_factory=list)
    bytes: int = 0
    is_too_large: bool = False
    leaving: Request | None = None

    def leave(self, request: Request | None) -> None:
        self.leaving = request

    def add(self, push: Push) -> None:
        self.pushes.append(push)
        self.bytes += len(push.entry.body)
