"""The types of JSON data."""

from __future__ import annotations


def json_type(value: object) -> str:
    """The name of *value*'s JSON type; empty: it has none."""
    if value is None:
        return "null"
    for name, types in (
        ("boolean", bool),
        ("number", (int, float)),
        ("string", str),
        ("array", list),
        ("object", dict),
    ):
        if isinstance(value, types):
            return name
    return ""
