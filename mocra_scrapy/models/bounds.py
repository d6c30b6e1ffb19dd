"""What a worker says in an exchange beside what it stores and settles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mocra_scrapy.models.budgets import Budgeting
from mocra_scrapy.models.throttle import Departure


@dataclass(frozen=True, slots=True)
class Bounds:
    """What bounds the leases of an exchange, beside how many are wanted. *per_slot* is for
    queues without limits (``options.rules`` is ``None``), *full* for both, the others for those with limits.

    Attributes:
        full: slots of which nothing is leased.
        per_slot: leases of one slot at most; 0: any number.
        loads: slot or scope -> requests of it that the worker has, in flight and waiting.
        keep_permits: slot or scope -> permits that the worker keeps; it gives back the rest.
        unused: departures that were booked for this worker and did not happen.
        wanted: slot or scope of which the worker wants a permit for what the queue does not hand
            out; *loads* has it.
        budgets: what the worker says of budgets; ``None``: it has none.
    """

    full: Sequence[str] = ()
    per_slot: int = 0
    loads: Mapping[str, int] = field(default_factory=dict)
    keep_permits: Mapping[str, int] = field(default_factory=dict)
    unused: Sequence[Departure] = ()
    wanted: Sequence[str] = ()
    budgets: Budgeting | None = None


#: An exchange that leases whatever there is.
UNBOUNDED = Bounds()
#: The positions of an exchange that moves none.
NOWHERE: Mapping[str, bytes] = {}
