"""A name for each stored entry, carried in its request's ``meta``: what tells it from every other one of the same request.

A fingerprint is the same for each copy with ``dont_filter`` and in each run. The name is not; and it stays
with the entry when that is handed out again, because its worker died or from a dead letter, in whatever run.
What a retry or a callback yields is another entry. Costs about 20 bytes, so entries have names only where
somebody asked for them (``WorkerState.names_entries``).
"""

from __future__ import annotations

import os
from copy import copy
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy import Request

META_ENTRY, BYTES = "mocra_entry", 8


def twin_of(request: Request) -> Request:
    """Another object that stands for the same request. A class whose arguments ``copy()`` doesn't
    know gets one that shares its ``meta``.
    """
    try:
        return request.copy()
    except Exception:
        return copy(request)


def unnamed(request: Request) -> Request:
    """*request* without a name; a copy, if it waits in the queue under one."""
    if META_ENTRY in request.meta:
        request = twin_of(request)
        del request.meta[META_ENTRY]
    return request


def named(request: Request, seed: bytes | None = None) -> Request:
    """*request*, which has none, with a name for its next entry.

    Args:
        seed: what names a seed, which may be stored twice where its worker died while it was seeding.
    """
    request.meta[META_ENTRY] = os.urandom(BYTES) if seed is None else blake2b(seed, digest_size=BYTES).digest()
    return request


def take_name(request: Request) -> bytes:
    """What *request* carries, empty: nothing; callbacks don't see it. Foreign values count for nothing."""
    name = request.meta.pop(META_ENTRY, b"")
    return name if type(name) is bytes else b""
