"""Numbers with their nouns, for messages."""

from __future__ import annotations


def plural(number: float, noun: str) -> str:
    """*noun* as it stands behind *number*: ``retry`` behind 1, ``retries`` behind all others."""
    if number == 1:
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def counted(number: int, noun: str) -> str:
    """``1 delivery``, ``2 deliveries``, ``1,234 requests``."""
    return f"{number:,} {plural(number, noun)}"
