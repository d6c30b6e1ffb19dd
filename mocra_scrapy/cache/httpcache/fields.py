"""Header fields as a cache reads them: lists, directives, dates, seconds. Pure.

Names are lower case, values as they came. What can't be read is ``None`` here; what that means is
said where it is used.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterable, Mapping
from functools import lru_cache
from time import gmtime
from typing import Final

#: Field name in lower case -> its lines, in the order in which they came.
Fields = dict[bytes, list[bytes]]

#: RFC 9110 §5.6.2.
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: A member of a list: commas within quotes don't end it (§5.6.1, §5.6.4).
_MEMBER: Final = re.compile(rb'(?:"(?:[^"\\]|\\.)*"?|[^",])+')
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}
_TIME: Final = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
#: RFC 9110 §5.6.7: the one format that is written, and two that must be read.
_DATES: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rb"(?:mon|tue|wed|thu|fri|sat|sun), (?P<day>\d\d) (?P<month>[a-z]{3}) (?P<year>\d{4}) "
        + _TIME
        + rb" (?:GMT|[+-]0000)",  # the latter is how programs for mail write it
        rb"(?:mon|tues|wednes|thurs|fri|satur|sun)day, (?P<day>\d\d)-(?P<month>[a-z]{3})-(?P<year>\d\d) "
        + _TIME
        + rb" GMT",
        rb"(?:mon|tue|wed|thu|fri|sat|sun) (?P<month>[a-z]{3}) (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})",
    )
)
#: RFC 9110 §5.6.7: a year of two digits is at most fifty years ahead.
_PIVOT: Final = gmtime().tm_year + 50
#: RFC 9111 §1.2.2: what is greater counts as this.
LONG: Final = 2**31
#: Fields that belong to a connection, not to a response (RFC 9110 §7.6.1, RFC 9111 §3.1).
HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


def fields_of(headers: Mapping[bytes, Iterable[bytes]]) -> Fields:
    """*headers*, with names in lower case."""
    return {name.lower(): list(values) for name, values in headers.items()}


def members(lines: Iterable[bytes]) -> list[bytes]:
    """The members of a field that is a list, over all its lines; empty ones don't count."""
    return [stripped for line in lines for part in _MEMBER.findall(line) if (stripped := part.strip(b" \t"))]


def first(fields: Fields, name: bytes) -> bytes | None:
    """The first line of a field."""
    lines = fields.get(name)
    return lines[0] if lines else None


class Directives(dict[bytes, "bytes | None"]):
    """What ``Cache-Control`` says (RFC 9111 §5.2): name in lower case -> its argument, without quotes.

    Attributes:
        disputed: names that came twice with different arguments (§4.2.1: then a response is stale).
    """

    def __init__(self, lines: Iterable[bytes] = ()) -> None:
        super().__init__()
        self.disputed: set[bytes] = set()
        for member in members(lines):
            name, sign, argument = member.partition(b"=")
            name = name.lower()
            if not _TOKEN.fullmatch(name):
                continue
            value = _unquoted(argument) if sign else None
            if name in self and self[name] != value:
                self.disputed.add(name)
            self.setdefault(name, value)

    def seconds(self, name: bytes) -> int | None:
        """The argument of *name* as seconds; ``None``: it is not there, or none."""
        value = self.get(name)
        return None if value is None else delta_seconds(value)

    def listed(self, name: bytes) -> list[bytes]:
        """Field names in the argument of *name*: ``no-cache="set-cookie"``."""
        value = self.get(name)
        return [] if not value else [field.lower() for field in members([value])]


def directives(fields: Fields, ignored: frozenset[bytes] = frozenset()) -> Directives:
    """What ``Cache-Control`` in *fields* says, without those *ignored*."""
    found = Directives(fields.get(b"cache-control", ()))
    for name in ignored:
        found.pop(name, None)
    return found


def _unquoted(argument: bytes) -> bytes:
    if len(argument) >= 2 and argument[:1] == argument[-1:] == b'"':
        return re.sub(rb"\\(.)", rb"\1", argument[1:-1])
    return argument


def delta_seconds(value: bytes) -> int | None:
    """RFC 9111 §1.2.2. ``None``: not a number of whole seconds."""
    if not value.isdigit():
        return None
    return LONG if len(value.lstrip(b"0")) > 10 else min(int(value), LONG)


@lru_cache(maxsize=4096)
def http_date(value: bytes) -> int | None:
    """Seconds since 1970 (RFC 9110 §5.6.7). ``None``: not one of the three formats."""
    for pattern in _DATES:
        found = pattern.fullmatch(value.strip(b" \t"))
        if found is not None:
            break
    else:
        return None
    month = _MONTHS.get(found["month"].lower())
    year, day = int(found["year"]), int(found["day"])
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    if month is None or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 60:
        return None
    if len(found["year"]) == 2:
        year += 2000 if year + 2000 <= _PIVOT else 1900
    return timegm((year, month, day, hour, minute, second))


def date_of(fields: Fields, name: bytes) -> int | None:
    """The date in a field that must have one line; ``None``: it is not there, or not readable."""
    lines = fields.get(name)
    return http_date(lines[0]) if lines and len(lines) == 1 else None
