"""The columns of Parquet files: which there are, of which type, and how a value of JSON becomes theirs.

=====================  =======================================================================
``bool``               true, false
``int64`` ``int32``    whole numbers; a fraction of nothing as well: 3.0
``double`` ``float``   numbers
``string``             texts
``json``               anything, as a text
``date``               ISO 8601 texts: 2026-11-29
``timestamp``          ISO 8601 texts; in UTC, which is also what those without a zone are in
``decimal(P, S)``      numbers and texts of numbers
``list<TYPE>``         lists of one of these
=====================  =======================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from mocra_scrapy.exceptions import ConfigurationError, ItemRefused

#: What Arrow calls them.
PLAIN = {
    "bool": "bool",
    "int64": "int64",
    "int32": "int32",
    "double": "double",
    "float": "float",
    "string": "string",
    "json": "string",
    "date": "date32",
}
_DECIMAL = re.compile(r"^decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)$")
_LIST = re.compile(r"^list\s*<(.+)>$")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
#: Whole numbers that a double has without loss.
EXACT = 2**53
#: The column of an item's origin.
ORIGIN = "origin"


@dataclass(slots=True)
class Columns:
    """What is known of them: *named* by a setting, the others as the items had it.

    Attributes:
        kinds: of each column. Only grows, but for whole numbers that become ``double``.
        origin: the one for an item's origin; empty: none.
    """

    named: Mapping[str, str]
    origin: str
    kinds: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in self.named.items():
            check_kind(name, kind)
        self.kinds = {**self.named, **self.kinds}

    def take(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Any, bool]:
        """*rows* as a record batch of Arrow, and whether a column has changed its type: then no
        earlier batch goes into the same file.

        Raises:
            ItemRefused: rows that don't fit; with their positions. Nothing was learnt of any.
        """
        kinds, values, refused = dict(self.kinds), _Values(len(rows)), {}
        for at, row in enumerate(rows):
            try:
                for name, value in row.items():
                    if value is not None:
                        values.put(at, name, self._fitting(kinds, name, value))
            except ValueError as error:
                refused[at] = str(error)
        if not refused:
            batch, refused = values.batch(kinds)
        if refused:
            raise ItemRefused(next(iter(refused.values())), refused)
        changed = any(kinds[name] != kind for name, kind in self.kinds.items())
        self.kinds = kinds
        return batch, changed

    def _fitting(self, kinds: dict[str, str], name: str, value: Any) -> Any:
        """*value* for its column, of which *kinds* learns."""
        kind = kinds.get(name)
        if kind is None:
            kind = kinds[name] = ORIGIN if name == self.origin and isinstance(value, dict) else kind_of(value)
        elif kind == "int64" and type(value) is float and name not in self.named:
            kind = kinds[name] = "double"
        try:
            return fitting(kind, value)
        except ValueError as error:
            since = "as MOCRA_PARQUET_SCHEMA says" if name in self.named else "as in the first items"
            raise ValueError(
                f"field {name!r} is {kind} {since}, and does not take {repr(value)[:100]}: {error}."
                f" Name its type in MOCRA_PARQUET_SCHEMA"
            ) from None


class _Values:
    """Column -> value of each row."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._columns: dict[str, list[Any]] = {}

    def put(self, at: int, name: str, value: Any) -> None:
        if name not in self._columns:
            self._columns[name] = [None] * self._rows
        self._columns[name][at] = value

    def batch(self, kinds: Mapping[str, str]) -> tuple[Any, dict[int, str]]:
        """A record batch; or which rows don't fit, and why."""
        import pyarrow as pa

        arrays, fields, refused = [], [], {}
        for name, values in self._columns.items():
            type_ = arrow_type(kinds[name])
            try:
                arrays.append(pa.array(values, type_))
                fields.append(pa.field(name, type_))
            except (pa.ArrowException, OverflowError, ValueError, TypeError):
                refused.update(_which(name, kinds[name], values))
        # A batch without columns has no rows either.
        names = fields or [pa.field(" ", pa.null())]
        return pa.record_batch(arrays or [pa.nulls(self._rows)], schema=pa.schema(names)), refused


def _which(name: str, kind: str, values: Sequence[Any]) -> dict[int, str]:
    """Those of *values* that Arrow does not take."""
    import pyarrow as pa

    found = {}
    for at, value in enumerate(values):
        try:
            pa.array([value], arrow_type(kind))
        except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
            found[at] = f"field {name!r} is {kind}, and does not take {str(value)[:100]}: {error}"
    return found


def kind_of(value: Any) -> str:
    """Of a column whose first value is *value*, as JSON has it."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    if isinstance(value, float):
        return "double"
    return "string" if isinstance(value, str) else "json"


def fitting(kind: str, value: Any) -> Any:
    """*value*, which JSON has, as Arrow takes it for a column of *kind*.

    Raises:
        ValueError: it is none.
    """
    take = _TAKES.get(kind)
    if take is not None:
        return take(value)
    if (inside := _LIST.match(kind)) is not None:
        element = inside[1].strip()
        return [None if each is None else fitting(element, each) for each in _only(value, list)]
    return _decimal(value)


def _only(value: Any, *types: type) -> Any:
    """*value* if it is one of *types*; True and False are no numbers."""
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise ValueError("it is of another type")
    return value


def _json(value: Any) -> str:
    return _ENCODER.encode(value)


def _text(value: Any) -> str:
    text: str = _only(value, str)
    text.encode()  # half of a surrogate pair is a ValueError
    return text


def _whole(value: Any) -> int:
    number = _only(value, int, float)
    if number != int(number):
        raise ValueError("it is no whole number")
    return int(number)


def _number(value: Any) -> float:
    number = _only(value, int, float)
    if isinstance(number, int) and abs(number) > EXACT:
        raise ValueError("it would lose digits")
    return float(number)


def _date(value: Any) -> date:
    return date.fromisoformat(_only(value, str).partition("T")[0])


def _instant(value: Any) -> datetime:
    text = _only(value, str)
    found = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)


def _decimal(value: Any) -> Decimal:
    try:
        return Decimal(str(_only(value, str, int, float)).strip())
    except InvalidOperation:
        raise ValueError("it is no number") from None


def _origin(value: Any) -> dict[str, Any]:
    return {name: _only(value, dict).get(name) for name in ("page", "item", "delivery")}


_TAKES: dict[str, Callable[[Any], Any]] = {
    "bool": lambda value: _only(value, bool),
    "int64": _whole,
    "int32": _whole,
    "double": _number,
    "float": _number,
    "string": _text,
    "json": _json,
    "date": _date,
    "timestamp": _instant,
    ORIGIN: _origin,
}


def check_kind(name: str, kind: str) -> None:
    """Raises ConfigurationError: there is no such type."""
    inside = _LIST.match(kind)
    if inside is not None and not inside[1].strip().startswith("list"):
        check_kind(name, inside[1].strip())
        return
    decimal = _DECIMAL.match(kind)
    if decimal is not None and 1 <= int(decimal[1]) <= 38 and int(decimal[2]) <= int(decimal[1]):
        return
    if kind not in PLAIN and kind != "timestamp":
        raise ConfigurationError(
            f"MOCRA_PARQUET_SCHEMA[{name!r}]",
            f"{kind!r} is no type",
            f"Write one of {', '.join(PLAIN)}, timestamp, decimal(10, 2), list<string>",
        )


def arrow_type(kind: str) -> Any:
    import pyarrow as pa

    if kind == ORIGIN:
        return pa.struct([("page", pa.string()), ("item", pa.int64()), ("delivery", pa.int64())])
    if kind == "timestamp":
        return pa.timestamp("us", "UTC")
    inside, decimal = _LIST.match(kind), _DECIMAL.match(kind)
    if inside is not None:
        return pa.list_(arrow_type(inside[1].strip()))
    if decimal is not None:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    return pa.type_for_alias(PLAIN[kind])
