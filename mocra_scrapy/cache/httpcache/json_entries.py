"""The members of a list in a JSON file, one by one: a HAR may have more than fits into memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, TextIO

#: Characters that are read at once.
PIECE: Final = 262_144
_DECODER: Final = json.JSONDecoder()
_BLANKS: Final = " \t\r\n"
#: Characters before the end of what was read in which a value may look wrong only because it goes on: an escape,
#: a literal.
_CUT: Final = 16


class EntriesOfJson:
    """The members of the list at *path*: names of objects within each other, from the outermost one.

    Each is parsed when it is asked for. In memory there are one of them and its text, twice at most.

    Raises (when it is iterated):
        ValueError, RecursionError: it is no JSON, there is no such list, or the file ends within it.
    """

    def __init__(self, file: TextIO, *path: str) -> None:
        self._file, self._path = file, path
        self._text, self._at = "", 0

    def __iter__(self) -> Iterator[Any]:
        for name in self._path:
            self._find(name)
        self._take("[")
        if self._next() == "]":
            return
        while True:
            yield self._value()
            if self._next() == "]":
                return
            self._take(",")

    def _find(self, name: str) -> None:
        """Go to the value of *name* of the object that begins here, past those before it."""
        self._take("{")
        while self._next() != "}":
            found = self._value()
            self._take(":")
            if found == name:
                return
            self._value()
            if self._next() != "}":
                self._take(",")
        raise ValueError(f"there is no {name!r}")

    def _take(self, mark: str) -> None:
        if (found := self._next()) != mark:
            raise ValueError(f"{mark!r} is missing" if found else "the file ends within it")
        self._at += 1

    def _next(self) -> str:
        """The character that comes next, blanks apart; ``""``: none."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANKS:
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def _more(self) -> bool:
        """Read on; ``False``: the file is at its end. As much again as there is, so that what is parsed once
        more each time is little altogether.
        """
        piece = self._file.read(max(PIECE, len(self._text) - self._at))
        if piece:
            self._text, self._at = self._text[self._at :] + piece, 0
        return bool(piece)

    def _value(self) -> Any:
        if not self._next():
            raise ValueError("the file ends within it")
        while True:
            try:
                found, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                may_go_on = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _CUT
                if may_go_on and self._more():
                    continue
                raise ValueError("the file ends within it" if may_go_on else str(error)) from error
            if type(found) in (int, float) and end > len(self._text) - _CUT:  # it may go on
                if self._more():
                    continue
                if end == len(self._text):
                    raise ValueError("the file ends within it")
            self._at = end
            return found
