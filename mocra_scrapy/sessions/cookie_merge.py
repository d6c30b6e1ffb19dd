"""What is known of one session, and how what several workers know of it becomes one. Pure.

A session is a map from a name to a value with a *stamp*; so each cookie is merged by itself, and so is
each field (headers, data, the proxy). Of two values of one name the greater stamp wins, whoever merges
what into what, in whatever order and however often: :func:`merged` is commutative, associative and
idempotent.

A stamp is ``(time, worker)``. The time is microseconds of the worker's clock, and always more than that
of everything the worker knew of the session before (a hybrid logical clock). So an answer to a request
that carried a cookie is newer than that cookie, however far apart the clocks are; of two answers to
requests that did not know of each other the later one wins, as far as the clocks agree::

    time: 0, worker-a and worker-b know c=1, stamp (0, "a").
    time: 1, worker-a is answered c=2: stamp (1, "a"). Its store is slow.
    time: 2, worker-b is answered c=3 and d=1, stamps (2, "b"), and stores them.
    time: 3, worker-a stores: c=3 stays, for it is newer, and d=1 is not lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

#: ``(microseconds, worker)``
Stamp = tuple[int, str]
#: ``(domain, path, name)`` of a cookie; ``("", "", field)`` of anything else.
Key = tuple[str, str, str]
#: Bit of ``StoredCookie.flags``.
SECURE, DOMAIN_GIVEN, DOT, PATH_GIVEN, HTTP_ONLY, NO_VALUE = (1 << bit for bit in range(6))
#: Seconds for which it is remembered that something was deleted: far longer than a write takes.
REMEMBERED = 3600.0
#: Cookies of one session at most, and bytes of all it holds; what is oldest goes first.
MOST_COOKIES, LARGEST = 1000, 262_144
#: Bytes of one value: a larger one goes alone, instead of all that is older.
LARGEST_VALUE = LARGEST // 4


class Value(NamedTuple):
    """A cookie or a field.

    Attributes:
        stamp: of the one who set it.
        value: the cookie's text; of a field any JSON; ``None``: it was deleted.
        expires: seconds since the epoch; ``None``: with the session.
        flags: of a cookie.
    """

    stamp: Stamp
    value: Any
    expires: float | None = None
    flags: int = 0

    def is_over(self, now: float) -> bool:
        if self.value is None:
            return self.stamp[0] / 1e6 + REMEMBERED <= now
        return self.expires is not None and self.expires <= now


State = Mapping[Key, Value]


def field(name: str) -> Key:
    """The key of what is no cookie."""
    return ("", "", name)


def newer(one: Value, other: Value) -> Value:
    """The one that wins. Equal stamps don't happen, but for the same write: then any rule will do that
    all follow.
    """
    mine, theirs = (json.dumps([*value.stamp, *value[1:]], sort_keys=True) for value in (one, other))
    return one if (one.stamp, mine) >= (other.stamp, theirs) else other


def merged(one: State, other: State) -> dict[Key, Value]:
    """What is known of a session where *one* and *other* are."""
    both = dict(one)
    for key, value in other.items():
        known = both.get(key)
        if known is None or (known != value and newer(value, known) is value):
            both[key] = value
    return both


def next_stamp(now: float, known: Iterable[Value], worker: str, last: int = 0) -> Stamp:
    """The stamp of what *worker* sets at *now* (seconds since the epoch), knowing *known* and having
    given *last* before.
    """
    return max([int(now * 1e6), last + 1, *(value.stamp[0] + 1 for value in known)]), worker


def tidied(state: State, now: float) -> dict[Key, Value]:
    """*state* without what is over, and of too many cookies the ones that were set last."""
    kept = {key: value for key, value in state.items() if not value.is_over(now)}
    cookies = [key for key in kept if key[0]]
    if len(cookies) > MOST_COOKIES:
        for key in sorted(cookies, key=lambda key: kept[key].stamp)[: len(cookies) - MOST_COOKIES]:
            del kept[key]
    return kept


def pack(state: State, now: float) -> bytes:
    """As it is stored, within :data:`LARGEST` bytes."""
    return packed(state, now)[0]


def packed(state: State, now: float) -> tuple[bytes, int]:
    """The same, and how many values found no room: those that are too large, then the older half of the
    cookies, and of the rest only what there is no other way for.
    """
    all_rows = rows = _rows(tidied(state, now))
    raw = _dumped(rows)
    if len(raw) > LARGEST:
        rows = [row for row in rows if len(_dumped([row])) <= LARGEST_VALUE]
        raw = _dumped(rows)
    while len(raw) > LARGEST and rows:
        # Half of them at once: whoever needs so much would otherwise be cut at each write.
        some = [row for row in rows if row[0]] or rows
        gone = {tuple(row[:3]) for row in sorted(some, key=lambda row: row[3:5])[: len(some) // 2 + 1]}
        rows = [row for row in rows if tuple(row[:3]) not in gone]
        raw = _dumped(rows)
    return raw, len(all_rows) - len(rows)


def _rows(state: State) -> list[list[Any]]:
    return [[*key, *one.stamp, one.value, one.expires, one.flags] for key, one in state.items()]


def _dumped(rows: list[list[Any]]) -> bytes:
    return json.dumps({"v": 1, "values": rows}, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def unpack(raw: bytes) -> dict[Key, Value]:
    """Raises ValueError: none of us wrote that."""
    try:
        document = json.loads(raw.decode("utf-8", "surrogatepass"))
        if document["v"] != 1:
            raise ValueError(f"version {document['v']!r} of a session is not known here")
        return dict(_read(row) for row in document["values"])
    except (KeyError, TypeError, RecursionError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _read(row: list[Any]) -> tuple[Key, Value]:
    domain, path, name, time, worker, value, expires, flags = row
    texts = (domain, path, name, worker)
    if not all(isinstance(text, str) for text in texts) or type(time) is not int or type(flags) is not int:
        raise ValueError("a value of a session has the wrong types")
    if domain and not isinstance(value, str) and value is not None:
        raise ValueError("a cookie is no text")
    return (domain, path, name), Value((time, worker), value, None if expires is None else float(expires), flags)
