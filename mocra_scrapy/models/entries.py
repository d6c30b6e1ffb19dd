"""How an entry is stored, the same on every backend: the number of its fingerprint, its rank, the
list in which it waits.
"""

from __future__ import annotations

from hashlib import blake2b

from mocra_scrapy.models.queue import MAX_PRIORITY, MIN_PRIORITY, Entry

#: Separates a slot from its scopes in the name of a list.
BETWEEN = "\x1f"


def fingerprint_number(fingerprint: bytes) -> int:
    """The 63-bit number that stands for a fingerprint in the filter: the same everywhere, so that
    backends agree on collisions.

    A hash of all its bytes: a project's own fingerprinter may give any, the URL itself or digits in
    hexadecimal, and what tells two of them apart may come last.
    """
    return int.from_bytes(blake2b(fingerprint, digest_size=8).digest(), "big") >> 1


def rank_of(entry: Entry) -> int:
    """Where an entry stands within its list, a greater rank goes first: ``2 * priority + 1``, or
    ``2 * priority`` for an entry of ``start()``, so that these come last within a priority.
    """
    return 2 * min(max(entry.priority, MIN_PRIORITY), MAX_PRIORITY) + (0 if entry.start else 1)


def list_of(entry: Entry) -> str:
    """The name of the list in which an entry waits: its slot and, behind it, its scopes."""
    return BETWEEN.join((entry.slot, *entry.scopes)) if entry.scopes else entry.slot


def names_of(list_name: str) -> list[str]:
    """The slot and the scopes whose limits count for a list, the slot first."""
    return list_name.split(BETWEEN)
