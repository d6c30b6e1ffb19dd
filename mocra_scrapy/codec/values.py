"""Values of ``meta``, ``cb_kwargs``, ``flags`` and ``cookies`` <-> msgpack: what goes in comes out,
type and all, or is refused.

msgpack alone turns tuples into lists and refuses sets and dates; here these are extension types.
Subclasses (of dict, int, str, …) and instances of other classes are refused: stored as their base
they would come back as something else, and their class could only be found again by importing what
the store names. One exception, msgpack's own: ``bytearray`` and ``memoryview`` come back as
``bytes``.

Extension types are part of the stored format: never renumber one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack

from mocra_scrapy.exceptions import UnserializableRequest

TUPLE, SET, FROZENSET, INT, DATETIME, DATE, TIME, TIMEDELTA, DECIMAL, UUID_ = range(1, 11)

#: Nesting of values; deeper ones are refused rather than trusted to every reader's stack.
DEEPEST = 64


def _zone(zone: dt.tzinfo | None) -> list[Any] | None:
    """A time zone as ``[key]`` or ``[seconds, name]``."""
    if zone is None:
        return None
    if isinstance(zone, ZoneInfo) and zone.key:
        return [zone.key]
    if type(zone) is dt.timezone:
        return [zone.utcoffset(None).total_seconds(), zone.tzname(None)]
    raise UnserializableRequest(f"a time zone of {type(zone).__module__}.{type(zone).__qualname__}")


def _open_zone(stored: list[Any] | None) -> dt.tzinfo | None:
    if stored is None:
        return None
    if len(stored) == 1:
        return ZoneInfo(stored[0])
    offset = dt.timedelta(seconds=stored[0])
    plain = dt.timezone(offset)
    return plain if plain.tzname(None) == stored[1] else dt.timezone(offset, stored[1])


class ValuePacker:
    """Packs one value after the other. Not for several threads, nor for re-entry."""

    def __init__(self) -> None:
        self._depth = 0
        self._packer = self._make()
        self.pack: Callable[[Any], bytes] = self._packer.pack

    def _make(self) -> Any:
        return msgpack.Packer(
            default=self._extension, strict_types=True, use_bin_type=True, unicode_errors="surrogatepass"
        )

    def _nested(self, value: Any) -> bytes:
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise UnserializableRequest(f"nested more than {DEEPEST} levels deep, or in itself")
            packed: bytes = self._make().pack(value)
            return packed
        finally:
            self._depth -= 1

    def _extension(self, value: Any) -> msgpack.ExtType:  # noqa: PLR0911 - a table of types
        kind = type(value)
        if kind is tuple:
            return msgpack.ExtType(TUPLE, self._nested(list(value)))
        if kind is set or kind is frozenset:
            # Sorted by what is stored: the same set is the same bytes.
            members = sorted(self._nested(member) for member in value)
            return msgpack.ExtType(SET if kind is set else FROZENSET, b"".join(members))
        if kind is int:
            return msgpack.ExtType(INT, str(value).encode() if value.bit_length() < 4096 else self._too_big())
        if kind is dt.datetime:
            parts = [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone(value.tzinfo)]
            return msgpack.ExtType(DATETIME, self._nested(parts))
        if kind is dt.date:
            return msgpack.ExtType(DATE, value.isoformat().encode())
        if kind is dt.time:
            parts = [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone(value.tzinfo)]
            return msgpack.ExtType(TIME, self._nested(parts))
        if kind is dt.timedelta:
            return msgpack.ExtType(TIMEDELTA, self._nested([value.days, value.seconds, value.microseconds]))
        if kind is Decimal:
            return msgpack.ExtType(DECIMAL, str(value).encode())
        if kind is UUID:
            return msgpack.ExtType(UUID_, value.bytes)
        raise UnserializableRequest(f"{kind.__module__}.{kind.__qualname__} can't be stored")

    @staticmethod
    def _too_big() -> bytes:
        raise UnserializableRequest("an int of more than 4096 bits")


def unpack(payload: bytes | memoryview) -> Any:
    """The value that was packed.

    Raises:
        Exception: of any kind that msgpack, ``int``, ``datetime`` … raise for bytes that nobody of
            ours packed.
    """
    return msgpack.unpackb(
        payload,
        raw=False,
        strict_map_key=False,
        unicode_errors="surrogatepass",
        ext_hook=_open_extension,
    )


def _members(data: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(
        raw=False,
        strict_map_key=False,
        unicode_errors="surrogatepass",
        ext_hook=_open_extension,
        max_buffer_size=max(len(data), 1),
    )
    unpacker.feed(data)
    members = list(unpacker)
    if unpacker.tell() != len(data):
        raise ValueError("a set that is cut off")
    return members


def _open_extension(code: int, data: bytes) -> Any:  # noqa: PLR0911 - a table of types
    if code == TUPLE:
        return tuple(unpack(data))
    if code == SET:
        return set(_members(data))
    if code == FROZENSET:
        return frozenset(_members(data))
    if code == INT:
        return int(data[:1300])
    if code == DATETIME:
        text, fold, zone = unpack(data)
        return dt.datetime.fromisoformat(text).replace(fold=fold, tzinfo=_open_zone(zone))
    if code == DATE:
        return dt.date.fromisoformat(data.decode())
    if code == TIME:
        text, fold, zone = unpack(data)
        return dt.time.fromisoformat(text).replace(fold=fold, tzinfo=_open_zone(zone))
    if code == TIMEDELTA:
        return dt.timedelta(*unpack(data))
    if code == DECIMAL:
        return Decimal(data.decode())
    if code == UUID_:
        return UUID(bytes=data)
    raise ValueError(f"unknown extension type {code}")


def culprit(value: Any, path: str, packer: ValuePacker, depth: int = 0) -> str:
    """Which part of *value* can't be packed, for an error message: ``meta['page']['soup']: …``."""
    if depth < DEEPEST:
        if type(value) is dict:
            for key, member in value.items():
                if not _packs(key, packer):
                    return f"a key of {path}: {_reason(key, packer)}"
                if not _packs(member, packer):
                    return culprit(member, f"{path}[{key!r}]", packer, depth + 1)
        elif type(value) in (list, tuple):
            for i, member in enumerate(value):
                if not _packs(member, packer):
                    return culprit(member, f"{path}[{i}]", packer, depth + 1)
    return f"{path}: {_reason(value, packer)}"


def _reason(value: Any, packer: ValuePacker) -> str:
    try:
        packer.pack(value)
    except Exception as error:
        return str(error)
    return "fails only together with the rest"


def _packs(value: Any, packer: ValuePacker) -> bool:
    try:
        packer.pack(value)
    except Exception:
        return False
    return True
