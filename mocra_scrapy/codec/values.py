"""Values of ``meta``, ``cb_kwargs``, ``flags`` and ``cookies`` <-> msgpack: what goes in comes out,
type and all, or is refused.

msgpack alone turns tuples into lists and refuses sets and dates; here these are extension types.
Those of this module are 1 to 10; :mod:`~mocra_scrapy.codec.library_types` has those of the
libraries, :mod:`~mocra_scrapy.codec.spider_objects` those of the project. They are part of the
stored format: never renumber one.

Where a subclass of str, bytes, int or float adds nothing to its value (the texts that lxml and
BeautifulSoup extract, numbers of numpy) the value is stored, and comes back as the plain type; so
do ``bytearray`` and ``memoryview``, as ``bytes``. Other subclasses come back as themselves or are
refused.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack

from mocra_scrapy.codec.advice import advice, name_of
from mocra_scrapy.codec.library_types import READERS, WRITERS
from mocra_scrapy.exceptions import UnserializableRequest

TUPLE, SET, FROZENSET, INT, DATETIME, DATE, TIME, TIMEDELTA, DECIMAL, UUID_ = range(1, 11)

#: Nesting of values; deeper ones are refused rather than trusted to every reader's stack: each level
#: of a reader takes 40 KiB of it.
DEEPEST = 64

#: The plain value of an instance of a subclass, whatever its class makes of ``str()`` or ``int()``.
PLAIN: list[tuple[type, Callable[[Any], Any]]] = [
    (str, str.__str__),
    (bytes, lambda value: bytes(memoryview(value))),
    (bytearray, lambda value: bytes(memoryview(value))),
    (int, int.__int__),
    (float, float.__float__),
]
#: Packages whose texts point back to the document they came from: that is not part of their value.
TEXTS_OF = {"lxml", "bs4", "parsel", "w3lib", "markupsafe", "numpy"}
#: Time zones of libraries that are one offset.
FIXED_ZONES = {
    "dateutil.tz.tz.tzutc",
    "dateutil.tz.tz.tzoffset",
    "pytz.UTC",
    "pytz._FixedOffset",
    "dateparser.timezone_parser.StaticTzInfo",
}


class IObjects(Protocol):
    """The values that only one process or one spider knows."""

    def dump(self, value: Any) -> tuple[int, Any] | None:
        """The extension type and what to pack; ``None``: *value* is none of these."""

    def load(self, code: int, plain: Any) -> Any:
        """The value, of what was packed."""


def _zone(zone: dt.tzinfo | None) -> list[Any] | None:
    """A time zone as ``[key]`` or ``[seconds, name]``."""
    if zone is None:
        return None
    if isinstance(zone, ZoneInfo) and zone.key:
        return [zone.key]
    if type(zone) is dt.timezone or name_of(type(zone)) in FIXED_ZONES:
        offset = zone.utcoffset(None)
        if offset is not None:
            return [offset.total_seconds(), zone.tzname(None)]
    raise UnserializableRequest(
        f"a time zone of {name_of(type(zone))} can't be stored. Use zoneinfo, or value.astimezone(datetime.timezone.utc)"
    )


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

    def __init__(self, objects: IObjects) -> None:
        self._objects = objects
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

    def _extension(self, value: Any) -> Any:  # noqa: PLR0911 - a table of types
        """What msgpack is to pack in place of *value*, which it doesn't know."""
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
        if kind in WRITERS:
            code, dump = WRITERS[kind]
            return msgpack.ExtType(code, self._nested(dump(value)))
        found = self._objects.dump(value)
        if found is not None:
            return msgpack.ExtType(found[0], self._nested(found[1]))
        return self._plain(value)

    def _plain(self, value: Any) -> Any:
        """The value of an instance of a subclass that adds nothing to it."""
        kind = type(value)
        for base, take in PLAIN:
            if isinstance(value, base):
                if getattr(value, "__dict__", None) and kind.__module__.partition(".")[0] not in TEXTS_OF:
                    raise UnserializableRequest(f"{name_of(kind)} is more than a {base.__name__}. {advice(value)}")
                plain = take(value)
                # msgpack asks once; what it can't pack itself must be an extension type by then.
                return plain if base is not int or -(2**63) <= plain < 2**64 else self._extension(plain)
        if any(name_of(base) == "numpy.generic" for base in kind.__mro__):
            plain = value.item()
            if type(plain) in (int, float, bool):
                return plain
            if type(plain) is complex:
                return self._extension(plain)
        raise UnserializableRequest(f"{name_of(kind)} can't be stored. {advice(value)}")

    @staticmethod
    def _too_big() -> bytes:
        raise UnserializableRequest("an int of more than 4096 bits")


class ValueReader:
    """Unpacks one value after the other. Not for several threads, nor for re-entry."""

    def __init__(self, objects: IObjects) -> None:
        self._objects = objects
        self._depth = 0
        self._hook = self._open

    def unpack(self, payload: bytes | memoryview) -> Any:
        """The value that was packed.

        Raises:
            Exception: of any kind that msgpack, ``int``, ``datetime`` … raise for bytes that nobody
                of ours packed.
        """
        return msgpack.unpackb(
            payload,
            raw=False,
            strict_map_key=False,
            unicode_errors="surrogatepass",
            ext_hook=self._hook,
        )

    def unpack_in_parts(self, payload: bytes) -> Any:
        """The same, each member of a list or dict by itself: other threads run in between."""
        first, unpacker = payload[:1], self._unpacker(payload)
        value: Any
        if b"\x90" <= first <= b"\x9f" or first in (b"\xdc", b"\xdd"):
            value = [unpacker.unpack() for _ in range(unpacker.read_array_header())]
        elif b"\x80" <= first <= b"\x8f" or first in (b"\xde", b"\xdf"):
            value = {unpacker.unpack(): unpacker.unpack() for _ in range(unpacker.read_map_header())}
        else:
            return self.unpack(payload)
        if unpacker.tell() != len(payload):
            raise ValueError("more than one value")
        return value

    def _unpacker(self, data: bytes) -> msgpack.Unpacker:
        unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=False,
            unicode_errors="surrogatepass",
            ext_hook=self._hook,
            max_buffer_size=max(len(data), 1),
        )
        unpacker.feed(data)
        return unpacker

    def _members(self, data: bytes) -> list[Any]:
        unpacker = self._unpacker(data)
        members = list(unpacker)
        if unpacker.tell() != len(data):
            raise ValueError("a set that is cut off")
        return members

    def _open(self, code: int, data: bytes) -> Any:
        self._depth += 1
        try:
            if self._depth > DEEPEST + 1:  # the innermost one may be no container
                raise ValueError(f"nested more than {DEEPEST} levels deep")
            return self._opened(code, data)
        finally:
            self._depth -= 1

    def _opened(self, code: int, data: bytes) -> Any:  # noqa: PLR0911 - a table of types
        if code == TUPLE:
            return tuple(self.unpack(data))
        if code == SET:
            return set(self._members(data))
        if code == FROZENSET:
            return frozenset(self._members(data))
        if code == INT:
            return int(data[:1300])
        if code == DATETIME:
            text, fold, zone = self.unpack(data)
            return dt.datetime.fromisoformat(text).replace(fold=fold, tzinfo=_open_zone(zone))
        if code == DATE:
            return dt.date.fromisoformat(data.decode())
        if code == TIME:
            text, fold, zone = self.unpack(data)
            return dt.time.fromisoformat(text).replace(fold=fold, tzinfo=_open_zone(zone))
        if code == TIMEDELTA:
            return dt.timedelta(*self.unpack(data))
        if code == DECIMAL:
            return Decimal(data.decode())
        if code == UUID_:
            return UUID(bytes=data)
        load = READERS.get(code)
        plain = self.unpack(data)
        return load(plain) if load is not None else self._objects.load(code, plain)


def culprit(value: Any, path: str, packer: ValuePacker, depth: int = 0) -> str:
    """Which part of *value* can't be packed, for an error message: ``meta['page']['soup']: …``."""
    if depth < DEEPEST:
        for key, member in _parts(value):
            if not _packs(key, packer):
                return f"a key of {path}: {_reason(key, packer)}"
            if not _packs(member, packer):
                return culprit(member, f"{path}[{key!r}]", packer, depth + 1)
    return f"{path}: {_reason(value, packer)}"


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    """What *value* is made of, as far as it is worth a look."""
    if isinstance(value, dict):
        return list(dict.items(value))
    if isinstance(value, (list, tuple, deque)):
        return enumerate(value)
    # Here, not above: it imports pydantic and all of Scrapy's items, half of what a worker takes to
    # start; this is the way of a value that is refused.
    from itemadapter import ItemAdapter

    if ItemAdapter.is_item(value):
        return list(ItemAdapter(value).items())
    return ()


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
