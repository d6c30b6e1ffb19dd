"""Values <-> payloads: what crawls of any project can read.

A whole number of 64 bits is decimal text, so that it can be counted with. Anything else is packed as
``meta`` of requests is (:mod:`mocra_scrapy.codec.values`), but for what only one project knows: its
items, methods and classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgpack

from mocra_scrapy.cache.compression import LARGE
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

#: Parts of a value from which on it counts as large, whatever its bytes.
MANY = 2000


def as_number(value: Any) -> bytes | None:
    """What to store of a whole number of 64 bits; ``None``: *value* is something else."""
    return b"%d" % value if type(value) is int and -(2**63) <= value < 2**63 else None


def pack_value(name: str, value: Any, packer: ValuePacker = _packer) -> bytes:
    """The payload.

    Raises:
        ConfigurationError: it can't be stored; the text says which part of it, and what to do.
    """
    try:
        return packer.pack(value)
    except (UnserializableRequest, TypeError, ValueError, OverflowError, RecursionError):
        subject, _, reason = culprit(value, f"cache value {name!r}", packer).partition(": ")
        problem, _, fix = reason.rstrip(".").partition(". ")
        raise ConfigurationError(
            subject, problem, fix if fix and fix != OWN else "Store plain data, an item as ItemAdapter(item).asdict()"
        ) from None


def seems_large(value: Any) -> bool:
    """Whether packing *value* takes long, by a look at :data:`MANY` of its parts at most."""
    left, size, seen = [value], 0, 0
    while left:
        part = left.pop()
        kind, seen, size = type(part), seen + 1, size + 8
        if kind is str or kind is bytes or kind is bytearray:
            size += len(part)
        elif kind is dict or kind is list or kind is tuple or kind is set:
            if seen + len(part) > MANY:
                return True
            left.extend(part)
            if kind is dict:
                left.extend(part.values())
        if size > LARGE or seen > MANY:
            return True
    return False


def pack_large(name: str, value: Any) -> bytes:
    """What :func:`pack_value` gives, for another thread: a list or a dict is packed member by member, or
    the interpreter would be held for as long as it takes.
    """
    packer = ValuePacker(_Nobodys())
    kind, parts = type(value), b""
    members: Iterable[Any] = ()
    if kind is list:
        parts, members = msgpack.Packer().pack_array_header(len(value)), list(value)
    elif kind is dict:
        parts, members = (
            msgpack.Packer().pack_map_header(len(value)),
            [part for pair in list(value.items()) for part in pair],
        )
    else:
        return pack_value(name, value, packer)
    try:
        return b"".join([parts, *(packer.pack(member) for member in members)])
    except (UnserializableRequest, TypeError, ValueError, OverflowError, RecursionError):
        return pack_value(name, value, ValuePacker(_Nobodys()))  # says what is wrong


def read_large(payload: bytes) -> Any:
    """What :func:`read_value` gives, for another thread, the other way round than :func:`pack_large`.

    Raises:
        UnreadablePayload: damaged or foreign bytes.
    """
    reader = ValueReader(_Nobodys())
    try:
        return reader.unpack_in_parts(payload)
    except Exception as error:
        raise UnreadablePayload(f"damaged or foreign bytes: {error}") from error


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
