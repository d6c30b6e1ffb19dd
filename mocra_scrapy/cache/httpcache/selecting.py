"""Which of the responses stored for one URL fits a request: ``Vary``. RFC 9111 §4.1. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from mocra_scrapy.cache.httpcache.fields import Fields, members
from mocra_scrapy.cache.httpcache.freshness import dated
from mocra_scrapy.cache.httpcache.messages import Ask, Stored

#: Lists without case, whose order says nothing (RFC 9110 §12.5).
_PREFERENCES: Final = frozenset((b"accept", b"accept-charset", b"accept-encoding", b"accept-language"))
#: Single values: a comma in them separates nothing.
_SINGLE: Final = frozenset((b"authorization", b"cookie", b"from", b"host", b"origin", b"referer", b"user-agent"))
#: Variants of one URL that are kept, the newest ones.
MOST_VARIANTS: Final = 4


def varies_by(fields: Fields) -> frozenset[bytes] | None:
    """The names in ``Vary``. ``None``: ``*`` is among them, so that no request matches."""
    names = {name.lower() for name in members(fields.get(b"vary", ()))}
    return None if b"*" in names else frozenset(names)


def normalised(name: bytes, lines: Sequence[bytes] | None) -> bytes | None:
    """One form for what means the same; ``None``: the request lacks the field."""
    if not lines:
        return None
    if name in _SINGLE:
        return b"\n".join(line.strip() for line in lines)
    values: Iterable[bytes] = members(lines)
    if name in _PREFERENCES:
        values = sorted(value.lower().replace(b" ", b"") for value in values)
    return b",".join(values)


def selecting_fields(names: Iterable[bytes], fields: Fields) -> Mapping[bytes, bytes | None]:
    """What is kept of a request beside the response that varies by *names*."""
    return {name: normalised(name, fields.get(name)) for name in sorted(names)}


def fits(stored: Stored, ask: Ask) -> bool:
    return all(normalised(name, ask.fields.get(name)) == value for name, value in stored.selecting.items())


def chosen(stored: Iterable[Stored], ask: Ask) -> Stored | None:
    """The newest one that fits. §4: "the most recent one"."""
    return max((one for one in stored if fits(one, ask)), key=lambda one: (dated(one), one.received), default=None)


def with_variant(stored: Sequence[Stored], new: Stored) -> list[Stored]:
    """*stored* and *new*, which takes the place of what was selected by the same fields: the newest
    :data:`MOST_VARIANTS`.
    """
    others = [one for one in stored if one.selecting != new.selecting]
    return [new, *sorted(others, key=lambda one: one.received, reverse=True)[: MOST_VARIANTS - 1]]
