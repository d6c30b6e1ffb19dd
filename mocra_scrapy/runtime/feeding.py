"""What feeds a crawl beside ``start()``, and what takes in what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from scrapy import Request


class Feeder(Protocol):
    """Takes in seeds, in the order in which they come."""

    @property
    def run(self) -> int:
        """The crawl's run."""

    @property
    def is_stopped(self) -> bool:
        """Whether this worker takes no more seeds in."""

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left to do anywhere, as the last answer of the queue said."""

    @property
    def misplaced(self) -> int:
        """How often the queue refused a position: another worker seeds."""

    async def room(self) -> bool:
        """Wait until more seeds are wanted (``MOCRA_SEEDS_AHEAD``); ``False``: none, ever."""

    async def pause(self, seconds: float) -> None:
        """So long, or until this worker takes no more seeds in."""

    def give(self, request: Request, name: bytes | None) -> None:
        """Take *request* in. *name*: what tells it, where its own fingerprint doesn't.

        Raises:
            Exception: it can't be stored, or somebody refuses it.
        """

    def give_as_it_is(self, body: bytes, name: bytes | None) -> None:
        """Store *body* as an entry."""

    def place(self, source: str, position: bytes) -> None:
        """All that was given before came from *source* up to *position*."""

    async def stored(self) -> bool:
        """Wait until all that was given is stored; ``False``: it was, in a crawl that is gone, or won't be."""


class Sources(Protocol):
    """What feeds a crawl beside ``start()``."""

    async def read(self, feeder: Feeder, positions: Mapping[str, bytes]) -> bool:
        """Read on from *positions* until nothing more is to come; ``False``: another worker does."""
