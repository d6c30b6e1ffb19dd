"""Tables of rows: a row is never changed in place, it is stored anew."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TypeVar

T = TypeVar("T")


def put(table: MutableMapping[str, Mapping[str, T]], one: str, other: str, value: T) -> None:
    """``table[one][other] = value``, by storing the whole row."""
    table[one] = {**table.get(one, {}), other: value}


def take_out(table: MutableMapping[str, Mapping[str, T]], one: str, other: str) -> None:
    """``del table[one][other]``, and the row when it is empty."""
    row = {name: value for name, value in table.get(one, {}).items() if name != other}
    if row:
        table[one] = row
    else:
        table.pop(one, None)


def drop_over(table: MutableMapping[str, float], now: float) -> None:
    """Those whose instant has come."""
    for name in [name for name, instant in table.items() if instant <= now]:
        del table[name]
