"""Values <-> payloads: what crawls of any project can read.

A whole number of 64 bits is decimal text, so that it can be counted with. Anything else is packed as
``meta`` of requests is (:mod:`mocra_scrapy.codec.values`), but for what only one project knows: its
items, methods and classes.
"""

from __future__ import annotations

from typing import Any

from mocra_scrapy.codec.advice import OWN
from mocra_scrapy.codec.values import ValuePacker, ValueReader, culprit
from mocra_scrapy.exceptions import ConfigurationError, UnreadablePayload, UnserializableRequest

#: What text of a number begins with; no payload of :mod:`mocra_scrapy.cache.compression` does.
DIGITS = tuple(b"%c" % one for one in b"-0123456789")


class _Nobodys:
    """In place of the objects of a spider: there are none."""

    def dump(self, value: Any) -> tuple[int, Any] | None:
        return None

    def load(self, code: int, plain: Any) -> Any:
        raise ValueError(f"unknown extension type {code}")


_packer, _reader = ValuePacker(_Nobodys()), ValueReader(_Nobodys())


def as_number(value: Any) -> bytes | None:
    """What to store of a whole number of 64 bits; ``None``: *value* is something else."""
    return b"%d" % value if type(value) is int and -(2**63) <= value < 2**63 else None


def pack_value(name: str, value: Any) -> bytes:
    """The payload.

    Raises:
        ConfigurationError: it can't be stored; the text says which part of it, and what to do.
    """
    try:
        return _packer.pack(value)
    except (UnserializableRequest, TypeError, ValueError, OverflowError, RecursionError):
        subject, _, reason = culprit(value, f"cache value {name!r}", _packer).partition(": ")
        problem, _, fix = reason.rstrip(".").partition(". ")
        raise ConfigurationError(
            subject, problem, fix if fix and fix != OWN else "Store plain data, an item as ItemAdapter(item).asdict()"
        ) from None


def is_number(stored: bytes) -> bool:
    """Whether that is what :func:`as_number` gave, or is meant to be."""
    return stored[:1] in DIGITS


def read_number(stored: bytes) -> int:
    """The number.

    Raises:
        UnreadablePayload: it only begins like one.
    """
    try:
        return int(stored[:21])
    except ValueError as error:
        raise UnreadablePayload(f"foreign bytes: {error}") from error


def read_value(payload: bytes) -> Any:
    """The value.

    Raises:
        UnreadablePayload: damaged or foreign bytes.
    """
    try:
        return _reader.unpack(payload)
    except Exception as error:
        raise UnreadablePayload(f"damaged or foreign bytes: {error}") from error
