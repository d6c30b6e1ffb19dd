"""Rule sets as the scripts know them, see ``lua/lib/rules.lua``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgpack

from mocra_scrapy.exceptions import BackendCorrupted
from mocra_scrapy.models import APART, Quota, RuleSet, RulesInForce, SlotLimit

#: The answer of a script to who has to bring its rules.
UNKNOWN_RULES = b"RULES"
#: Patterns of Lua, which knows bytes only: one character of UTF-8; nothing at all.
_ANY, _NONE = b"[^\x80-\xbf][\x80-\xbf]*", b"[^%z\x01-\xff]"
_ASCII = [chr(n) for n in range(128)]


def pack_limit(limit: SlotLimit) -> list[Any]:
    """Interval in us, burst, concurrency, jitter, floor in us, quotas if there are any."""
    interval, floor = round(limit.interval * 1e6), round(limit.floor * 1e6)
    packed = [interval, limit.burst, limit.concurrency, limit.jitter, floor]
    return [*packed, pack_quotas(limit.quotas)] if limit.quotas else packed


def pack_quotas(quotas: Iterable[Quota]) -> list[list[int]]:
    """Counts, and windows in us."""
    return [[count, round(window * 1e6)] for count, window in quotas]


def pack_own(rules: RuleSet | None) -> Mapping[str, Any]:
    """A rule set as it is handed over."""
    if rules is None:
        return {}
    own: dict[str, Any] = {"limit": pack_limit(rules.default), "text": rules.to_text()}
    if rules.has_quotas:
        own["quotas"] = 1
    if rules.names:
        own["named"] = [x for name, limit in rules.names.items() for x in (name, msgpack.packb(pack_limit(limit)))]
    if rules.patterns:
        own["patterns"] = [[pack_pattern(pattern), pack_limit(limit)] for pattern, limit in rules.patterns]
    return own


def packed(asked: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """The argument of a script."""
    data: bytes = msgpack.packb(
        asked,
        use_bin_type=False,  # cmsgpack is older than the bin types
        unicode_errors="surrogateescape",
    )
    return data


def pack_pattern(pattern: str) -> list[bytes]:
    """What is between the stars of an :mod:`fnmatch` pattern, as patterns of Lua: the first and the
    last are anchored. Found one behind the other in a name they match it, without ever going back:
    Lua's own ``*`` would take as many steps as somebody's long host names like.

    Raises:
        ValueError: brackets with other than ASCII characters, which Lua doesn't know.
    """
    parts, at = [b"^"], 0
    while at < len(pattern):
        character, end = pattern[at], at + 1
        if character == "*":
            if len(parts) == 1 or parts[-1]:
                parts.append(b"")
        elif character == "?":
            parts[-1] += _ANY
        elif character == "[" and (closed := _end_of_set(pattern, end)):
            end = closed
            parts[-1] += _set(pattern[at:end])
        else:
            parts[-1] += _literal(character)
        at = end
    parts[-1] += b"$"
    return parts


def _end_of_set(pattern: str, start: int) -> int:
    """Behind the bracket that closes; 0: none does, and the first one stands for itself."""
    if pattern[start : start + 1] == "!":
        start += 1
    return pattern.find("]", start + 1) + 1  # one that comes first is of the set


def _set(text: str) -> bytes:
    if not text.isascii():
        raise ValueError(f"{text} has other than ASCII characters")
    members = [c for c in _ASCII if fnmatchcase(c, text)]
    if text[1] == "!":
        others = b"".join(_literal(c) for c in _ASCII if c not in members)
        return b"[^" + others + _ANY[2:]
    return b"[" + b"".join(map(_literal, members)) + b"]" if members else _NONE


def _literal(character: str) -> bytes:
    raw = character.encode("utf-8", "surrogateescape")
    if raw == b"\0":
        return b"%z"
    return b"%" + raw if len(raw) == 1 and raw < b"\x80" and not raw.isalnum() else raw


def open_rules(raw: Sequence[Any]) -> RulesInForce:
    """What ``rules_look.lua`` answered."""
    version, sets, workers = raw
    try:
        texts = {name.decode(): text.decode() for name, text in zip(sets[::2], sets[1::2], strict=True) if b":" in name}
        known: dict[str, RuleSet | None] = {
            name.partition(":")[0]: RuleSet.from_text(text) for name, text in texts.items()
        }
    except ValueError as error:
        raise BackendCorrupted(f"a rule set that is stored can't be read: {error}") from error
    names = [name.decode("utf-8", "surrogateescape") for name in workers[::2]]
    of = dict(zip(names, (digest.decode() for digest in workers[1::2]), strict=True))
    used = set(of.values())
    return RulesInForce(int(version), {d: s for d, s in {APART: None, **known}.items() if d in used}, of)
