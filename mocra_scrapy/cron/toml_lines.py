"""Which line of a TOML file says what: the parser of the standard library doesn't tell. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = rf"{_WORD}(?:\s*\.\s*{_WORD})*"
_TABLE = re.compile(rf"\s*\[\[?\s*({_KEY})\s*\]\]?\s*(?:#.*)?$")
_ASSIGN = re.compile(rf"\s*({_KEY})\s*=")
_PART = re.compile(_WORD)
_LONG = re.compile(r'"""|\'\'\'')


def _split(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(key))


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The line (from 1) on which the value at *path* is set, or as much of the path as is set
    anywhere; ``None``: nothing of it.
    """
    wanted, table, inside = tuple(path), (), ""  # type: tuple[str, ...], tuple[str, ...], str
    best, best_line = 0, None
    for number, line in enumerate(text.splitlines(), start=1):
        for quotes in _LONG.findall(line) if inside else ():
            if quotes == inside:
                inside = ""
                break
        else:
            if inside:
                continue
            header = _TABLE.match(line)
            assign = None if header else _ASSIGN.match(line)
            if header:
                table = found = _split(header[1])
            elif assign:
                found = table + _split(assign[1])
                marks = _LONG.findall(line)
                inside = marks[0] if len(marks) % 2 else ""
            else:
                continue
            # What holds the value counts, and what is part of it; what stands beside it doesn't.
            shared = min(len(found), len(wanted))
            if wanted[:shared] == found[:shared] and shared > best:
                best, best_line = shared, number
    return best_line
