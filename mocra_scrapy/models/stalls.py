"""What crosses the contract about stalled slots: attempts that ended, how a slot stands."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class StallRules:
    """When a slot is given up: both numbers must be reached.

    Attributes:
        longest: seconds in which attempts were allowed and none succeeded; 0: no slot is given up.
        attempts: failed attempts, one after the other: those that were under way together are one.
            Beside it, how many waits that the site asked for are believed, see
            :meth:`~mocra_scrapy.interfaces.IStalls.report`.
    """

    longest: float = 900.0
    attempts: int = 10


@dataclass(frozen=True, slots=True)
class Attempts:
    """Attempts at *slot* that ended: a success (of several the last one), or failures only.

    Attributes:
        slot: which one.
        failed: whether none of them succeeded.
        age: seconds since the youngest of them departed.
        hold: seconds from now for which the site asked to be left alone; 0: it did not.
        working: seconds for which the worker that tells could have tried: since it began, since its
            last pause, since the backend was last away.
        why: of the failures, for a person.
    """

    slot: str
    failed: bool = True
    age: float = 0.0
    hold: float = 0.0
    working: float = inf
    why: str = ""


@dataclass(frozen=True, slots=True)
class StallState:
    """How a slot stands.

    Attributes:
        slot: which one.
        attempts: failed ones since the last success, one after the other.
        seconds: what its clock shows.
        given_up: why it was given up; empty: it was not.
    """

    slot: str
    attempts: int = 0
    seconds: float = 0.0
    given_up: str = ""


def why_stalled(attempts: int, seconds: float, why: str) -> str:
    """Why a slot was given up by its clock; ``stall_report.lua`` says it in the same words."""
    return f"{attempts} attempts in a row failed, {seconds:.0f} s in which some were allowed, the last one: {why}"


def why_opened(openings: int) -> str:
    """Why a slot was given up by its circuit; ``breaker_report.lua`` says it in the same words."""
    return f"its circuit opened {openings} times in a row, the last probe failed"
