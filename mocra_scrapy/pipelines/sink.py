"""What a sink is: where batches of items go.

::

    class PrintSink:
        name = "the terminal"

        async def open(self): ...

        async def write(self, batch):
            print("\\n".join(item.text.decode() for item in batch))

        async def close(self): ...
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

#: `json.dumps` with separators makes one for each item.
_ENCODER = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class StoredItem:
    """What is stored of an item.

    Attributes:
        fields: by name; values as the project gave them.
        text: the same as one JSON object in UTF-8, without a line's end.
        origin: of which page it is, see :mod:`mocra_scrapy.pipelines.items`. Not part of *fields*
            and *text*: each sink knows whether and where it goes.
    """

    fields: Mapping[str, Any]
    text: bytes
    origin: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes that count for a batch."""
        return len(self.text)

    def with_origin(self, field: str) -> bytes:
        """:attr:`text` with :attr:`origin` in *field*, unless that is empty or the item has it."""
        if not field or not self.origin or field in self.fields:
            return self.text
        more = _ENCODER.encode({field: self.origin}).encode()
        return more if self.text == b"{}" else b"%b,%b" % (self.text[:-1], more[1:])


class Sink(Protocol):
    """Where batches go. One call at a time, in one task; nothing may block the event loop.

    Attributes:
        name: for messages: what it is and where, without passwords.
    """

    name: str

    async def open(self) -> None:
        """Connect, and look whether it can be written.

        Raises:
            ConfigurationError: it never will as things are: wrong table, no rights. The crawl does
                not start.
            SinkUnavailable: not now. Called again.
        """

    async def write(self, batch: Sequence[StoredItem]) -> None:
        """Store *batch*, whole or not at all; it survives a crash of this process and, where the
        sink can promise that, of the sink's machine, when this returns. May be cancelled: then, as
        after SinkUnavailable, the same items are written again. Connects again by itself.

        Raises:
            ItemRefused: one item or more can't be stored. Others are written again without it.
            SinkUnavailable, OSError, TimeoutError: not now. The same is written again, later.
            ConfigurationError: somebody has changed the sink under us. Written again, later.
            Exception: any other counts as ItemRefused.
        """

    async def close(self) -> None:
        """Let go of it. Called once, after the last write; not after a failed :meth:`open`, which
        cleans up by itself.
        """
