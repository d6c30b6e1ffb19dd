"""What a queue can add that needs no waiting."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mocra_scrapy.interfaces.queue import IRequestQueue
from mocra_scrapy.models import NOWHERE, UNBOUNDED

if TYPE_CHECKING:
    from mocra_scrapy.models import Bounds, Burial, Entry, Exchange, Lease


class IImmediateQueue(IRequestQueue):
    """A queue in this very process. Whoever has one need not lease ahead: what is asked for is
    chosen when it is asked for, so nothing that comes meanwhile is overtaken.
    """

    def exchange_now(
        worker: str,
        call: int,
        *,
        push: Sequence[Entry] = (),
        ack: Sequence[Lease] = (),
        release: Sequence[Lease] = (),
        bury: Sequence[Burial] = (),
        want: int = 0,
        bounds: Bounds = UNBOUNDED,
        positions: Mapping[str, bytes] = NOWHERE,
    ) -> Exchange:
        """:meth:`IRequestQueue.exchange` at once: the same step, and the same numbers of calls. It
        never raises BackendUnavailable.
        """
