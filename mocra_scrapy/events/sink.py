"""What a sink of events is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mocra_scrapy.exceptions import MocraError

if TYPE_CHECKING:
    from mocra_scrapy.events.envelope import Record


class Refused(MocraError):
    """The sink will not take these records, however often they are sent."""


class Sink(Protocol):
    """One place that records go to.

    Attributes:
        linger: seconds that a record waits for company.
        timeout: seconds for one :meth:`send`.
    """

    linger: float
    timeout: float

    async def send(self, records: Sequence[Record]) -> None:
        """Have *records* stored, in their order. May be cancelled.

        Raises:
            Refused: a repetition makes no sense.
            Exception: anything else may pass; what was stored may be stored once more by the
                repetition, with the same ids.
        """

    async def close(self) -> None:
        """Let go of connections. May be called twice."""
