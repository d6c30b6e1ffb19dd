"""What a source of seeds is. There are two kinds: those that many workers take from at once, and those
with positions, which one worker reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Found(NamedTuple):
    """A seed as it came. *place*: where it stood, for people, and so that it is known again."""

    data: bytes
    place: str


class Pile(Protocol):
    """Workers take from it, and say what they have stored.

    Attributes:
        name: for people.
    """

    name: str

    @property
    def is_over(self) -> bool:
        """Whether all was given that will ever come."""

    async def take(self, want: int) -> tuple[list[tuple[int, bytes]], bool]:
        """Up to *want* seeds, each with a number, and whether others have some that are not stored yet."""

    async def stored(self, numbers: Sequence[int]) -> int:
        """These need not come again; how many of them were still this worker's."""

    async def live(self) -> None:
        """Tell others that this worker lives."""

    async def leave(self) -> int:
        """Take no more; how many go to others."""


class Ordered(Protocol):
    """Read by one worker, from a position on.

    Attributes:
        name: for people, and for its position.
        is_over: whether all was read that will ever come.
        is_endless: whether more may come, however long it gives nothing.
    """

    name: str
    is_over: bool
    is_endless: bool

    @property
    def position(self) -> bytes:
        """How far it was read."""

    async def begin(self, position: bytes | None, run: int) -> None:
        """Read on from *position*; ``None``: from the beginning. *run*: of the crawl."""

    async def read(self, want: int) -> list[Found]:
        """About *want* seeds; none: there are none now."""

    async def close(self) -> None:
        """Read no more. May be called twice."""
