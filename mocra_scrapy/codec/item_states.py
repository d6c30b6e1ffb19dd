"""Instances of the project's classes <-> what they are made of.

Neither ``__init__`` nor a validator runs when one is made again: what was valid is what it was, a
field that ``__init__`` derives included. A field that is new since has its default.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from enum import Enum, Flag
from functools import cached_property
from typing import Any

from scrapy import Item

from mocra_scrapy.codec.advice import name_of
from mocra_scrapy.exceptions import UnreadablePayload, UnserializableRequest
from mocra_scrapy.models.wording import counted

#: Has no default.
REQUIRED = object()
#: What a pydantic model is made of; a RootModel has only the first two.
PYDANTIC = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


def dump(value: Any) -> Any:  # noqa: PLR0911 - a table of shapes
    """What *value*, of an item class, is made of.

    Raises:
        UnserializableRequest: it has more to it than its fields.
    """
    kind = type(value)
    if isinstance(value, Flag):
        return value._value_
    if isinstance(value, Enum):
        return value._name_
    if isinstance(value, Item):
        _no_more(value, {"_values"})
        return dict(value._values)
    if hasattr(kind, "__pydantic_core_schema__") and not dataclasses.is_dataclass(kind):
        state = value.__getstate__()
        if not _pydantic(state):
            raise UnserializableRequest(f"{name_of(kind)} has a __getstate__ of its own")
        return {**state, "__dict__": {k: v for k, v in state["__dict__"].items() if not _cached(kind, k)}}
    names = _fields(kind)
    if names is not None and not isinstance(value, (dict, list, set, tuple)):
        _no_more(value, names)
        return {name: getattr(value, name) for name in names if hasattr(value, name)}
    _no_more(value, ())
    if isinstance(value, tuple):
        return list(tuple.__iter__(value))
    return _base(kind)(value)


def load(kind: type, state: Any) -> Any:  # noqa: PLR0911 - a table of shapes
    """An instance of *kind*, equal to the one that was dumped.

    Raises:
        UnreadablePayload: the class has changed since.
        Exception: of any kind, for bytes that nobody of ours wrote.
    """
    if issubclass(kind, Flag):
        return kind(_of(int, state))
    if issubclass(kind, Enum):
        if state not in kind.__members__:
            raise UnreadablePayload(f"enum {name_of(kind)} has no member {state!r} any more")
        return kind[state]
    if issubclass(kind, Item):
        item = kind.__new__(kind)
        Item.__init__(item)
        _check(kind, _of(dict, state), dict.fromkeys(kind.fields, None))
        item._values.update(state)
        return item
    if hasattr(kind, "__pydantic_core_schema__") and not dataclasses.is_dataclass(kind):
        return _load_pydantic(kind, _of(dict, state))
    fields = _fields(kind)
    if fields is not None and not issubclass(kind, (dict, list, set, tuple)):
        values = {**_check(kind, _of(dict, state), fields), **state}
        made: Any = object.__new__(kind)
        for name, value in values.items():
            object.__setattr__(made, name, value)
        return made
    if issubclass(kind, tuple):
        wanted = len(kind._fields)  # type: ignore[attr-defined]
        if len(_of(list, state)) != wanted:
            raise UnreadablePayload(f"{name_of(kind)} has {counted(wanted, 'field')} now, and had {len(state)}")
        return tuple.__new__(kind, state)
    base = _base(kind)
    made = kind.__new__(kind)
    fill: Callable[..., Any] = list.extend if base is list else base.update
    fill(made, _of(base, state))
    return made


def _of(kind: type, state: Any) -> Any:
    if type(state) is not kind:
        raise TypeError(f"a {kind.__name__} is missing")
    return state


def _base(kind: type) -> Any:
    base = next(base for base in (dict, list, set) if issubclass(kind, base))
    # Those that C made of dict have an order or a factory beside its members.
    if kind.__new__ is not base.__new__ or issubclass(kind, (OrderedDict, defaultdict)):
        raise UnserializableRequest(f"{name_of(kind)} is more than a {base.__name__}")
    return base


def _fields(kind: Any) -> dict[str, Callable[[], Any] | None] | None:
    """Fields of a dataclass or an attrs class, each with what makes its default."""
    if dataclasses.is_dataclass(kind):
        return {f.name: _default(f.default, f.default_factory) for f in dataclasses.fields(kind)}
    if "__attrs_attrs__" in kind.__dict__:
        return {a.name: _default(a.default, getattr(a.default, "factory", None)) for a in kind.__attrs_attrs__}
    return None


def _default(value: Any, factory: Any) -> Callable[[], Any] | None:
    if callable(factory):
        made: Callable[[], Any] = factory
        return made
    nothing = value is dataclasses.MISSING or getattr(value, "name", None) == "NOTHING"
    return None if nothing else lambda: value


def _check(kind: type, state: dict[Any, Any], fields: dict[str, Callable[[], Any] | None]) -> dict[str, Any]:
    """Defaults of the fields that *state* lacks."""
    gone = state.keys() - fields.keys()
    if gone:
        raise UnreadablePayload(f"{name_of(kind)} has no field {min(gone, key=str)!r} any more")
    return {name: make() for name, make in fields.items() if name not in state and make is not None}


def _pydantic(state: dict[Any, Any]) -> bool:
    return set(PYDANTIC[:2]) <= state.keys() <= set(PYDANTIC)


def _load_pydantic(kind: Any, state: dict[Any, Any]) -> Any:
    if not _pydantic(state):
        raise TypeError("no state of a pydantic model")
    values, fields = _of(dict, state["__dict__"]), kind.model_fields
    defaults = {name: None if f.is_required() else _maker(f) for name, f in fields.items()}
    values = {**_check(kind, values, defaults), **values}
    missing = fields.keys() - values.keys()
    if missing:
        raise UnreadablePayload(f"{name_of(kind)} has a new field {min(missing)!r}")
    _of(set, state["__pydantic_fields_set__"])
    for part in PYDANTIC[2:]:
        if state.get(part) is not None:
            _of(dict, state[part])
    made = kind.__new__(kind)
    made.__setstate__({**state, "__dict__": values})
    return made


def _maker(field: Any) -> Callable[[], Any]:
    return lambda: field.get_default(call_default_factory=True)


def _cached(kind: type, name: str) -> bool:
    return isinstance(getattr(kind, name, None), cached_property) or name.startswith("_attrs_cached")


def _no_more(value: Any, names: Any) -> None:
    """Refuse attributes that would not come back; what is only cached is made again."""
    kind = type(value)
    for name in getattr(value, "__dict__", ()):
        if name not in names and not _cached(kind, name):
            raise UnserializableRequest(f"{name_of(kind)} has an attribute {name!r} that is not one of its fields")
