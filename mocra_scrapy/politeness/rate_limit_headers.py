"""What is left of a site's own limits, as its responses tell it. Pure: no clock, no settings, no Scrapy.

=================================================  ==========================================================
headers                                            from
=================================================  ==========================================================
``RateLimit: "daily";r=50;t=30``                   draft-ietf-httpapi-ratelimit-headers-08 and later; a list
``RateLimit-Policy: "daily";q=100;w=60``           the same; ``w`` counts where the first has no ``t``
``RateLimit: limit=100, remaining=50, reset=30``   draft 07
``RateLimit-Remaining``, ``RateLimit-Reset``       drafts 00 to 06: seconds
``X-RateLimit-Remaining``, ``X-RateLimit-Reset``   no standard: seconds, or an instant since 1970 in seconds or
(``X-Rate-Limit-…``)                               milliseconds
=================================================  ==========================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: A value that is longer is nobody's.
LONGEST = 1000
#: Larger numbers of seconds are instants: the first is in 2001, and nobody's window has thirty years.
#: So much larger ones are in milliseconds.
INSTANT, MILLISECONDS = 1e9, 1e11

_NUMBER = re.compile(r"\d+(?:\.\d*)?", re.ASCII)
_NAME = r'(?:"(?:[^"\\]|\\.)*"|[A-Za-z*][\w:/.*!#$%&\'+^`|~-]*)'
_PARAMETER = re.compile(r'\s*;\s*([a-z*][a-z0-9_.*-]*)(?:=("(?:[^"\\]|\\.)*"|:[^:]*:|[^\s;,"]*))?')
_ITEM = re.compile(rf"\s*({_NAME})")
_COMMA = re.compile(r"\s*(?:,|$)")
_OLD_MEMBER = re.compile(r"\s*(limit|remaining|reset)\s*=\s*(\d+)[^,]*(?:,|$)")
_PAIRS = (
    ("RateLimit-Remaining", "RateLimit-Reset"),
    ("X-RateLimit-Remaining", "X-RateLimit-Reset"),
    ("X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"),
)


class Left(NamedTuple):
    """*remaining* more requests, for *reset* seconds."""

    remaining: float
    reset: float

    @property
    def interval(self) -> float:
        """Seconds between two requests that use it up when it ends; without any left, until then."""
        return self.reset / max(1.0, self.remaining)


class Malformed(ValueError):
    """A header that is one of these, and can't be understood."""


def left_of_limits(header: Callable[[str], str | None], now: float) -> Left | None:
    """The tightest limit that a response tells of; ``None``: it tells of none, or not until when.

    Args:
        header: the value of a header by its name in any case; several of one name with commas.
        now: seconds since the epoch.

    Raises:
        Malformed: says which header.
    """
    found = list(_all(header, now))
    return max(found, key=lambda left: (left.remaining < 1, left.interval)) if found else None


def _all(header: Callable[[str], str | None], now: float) -> Iterator[Left]:
    value = _short("RateLimit", header)
    if value is not None and _OLD_MEMBER.match(value):
        yield from _draft_7(value)
    elif value is not None:
        yield from _items(value, _short("RateLimit-Policy", header))
    for remaining, reset in _PAIRS:
        left, until = _short(remaining, header), _short(reset, header)
        if left is not None and until is not None:
            yield Left(_number(remaining, left), _seconds(_number(reset, until), now))
            return  # the same limit, told once more for others


def _short(name: str, header: Callable[[str], str | None]) -> str | None:
    value = header(name)
    if value is not None and len(value) > LONGEST:
        raise Malformed(name)
    return value


def _number(name: str, text: str) -> float:
    text = text.split(",", maxsplit=1)[0].strip()  # a header that stands there twice
    if not _NUMBER.fullmatch(text) or len(text) > 20:
        raise Malformed(name)
    return float(text)


def _seconds(reset: float, now: float) -> float:
    if reset >= MILLISECONDS:
        reset /= 1000
    return max(0.0, reset - now) if reset >= INSTANT else reset


def _draft_7(value: str) -> Iterator[Left]:
    told = {name: float(number) for name, number in _OLD_MEMBER.findall(value)}
    if "remaining" in told and "reset" in told:
        yield Left(told["remaining"], told["reset"])


def _items(value: str, policy: str | None) -> Iterator[Left]:
    windows = {name: more["w"] for name, more in _listed("RateLimit-Policy", policy or "") if "w" in more}
    for name, more in _listed("RateLimit", value):
        until = more.get("t", windows.get(name))
        if "r" not in more:
            raise Malformed("RateLimit")
        if until is not None:
            yield Left(_number("RateLimit", more["r"]), _number("RateLimit", until))


def _listed(header: str, value: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The members of a list of structured fields (RFC 9651): names, and their parameters."""
    at = 0
    while value[at:].strip():
        item = _ITEM.match(value, at)
        if item is None:
            raise Malformed(header)
        at, more = item.end(), {}
        while parameter := _PARAMETER.match(value, at):
            more[parameter[1]] = parameter[2] or ""
            at = parameter.end()
        comma = _COMMA.match(value, at)
        if comma is None:
            raise Malformed(header)
        at = comma.end()
        yield item[1].strip('"'), more
