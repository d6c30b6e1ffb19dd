"""What a stored response answers to a request: with its age, its range, or only that nothing changed.
RFC 9111 §4, §4.3.2, RFC 9110 §13 and §14. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from mocra_scrapy.cache.httpcache.fields import Fields, first, http_date, members
from mocra_scrapy.cache.httpcache.freshness import current_age, modified_at
from mocra_scrapy.cache.httpcache.messages import Answer, Ask, Stored

_RANGE: Final = re.compile(rb"bytes=(\d*)-(\d*)", re.IGNORECASE)
#: What a 304 has of the stored fields. RFC 9110 §15.4.5
_OF_A_304: Final = frozenset((b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary", b"age"))
#: Conditions that only the site can judge. §4.3.2
_FOR_THE_SITE: Final = (b"if-match", b"if-unmodified-since")


def is_for_the_site(ask: Ask) -> bool:
    """Whether the request has conditions that a cache must not judge."""
    return any(name in ask.fields for name in _FOR_THE_SITE)


def reply(stored: Stored, ask: Ask, now: float) -> Answer | None:
    """*stored* as the answer to *ask*. ``None``: only the site can answer it (several ranges)."""
    fields = dict(stored.fields)
    fields[b"age"] = [b"%d" % current_age(stored, now)]  # §4: a stored response tells its age
    if stored.status == 200 and _is_unchanged(stored, ask):
        return Answer(
            304, {name: fields[name] for name in fields if name in _OF_A_304}, b"", stored.answer.url, stored.extra
        )
    body = b"" if ask.method == b"HEAD" else stored.answer.body
    if b"range" in ask.fields and ask.method == b"GET" and stored.status == 200 and _range_counts(stored, ask):
        return _part(stored, ask, fields)
    return Answer(stored.status, fields, body, stored.answer.url, stored.extra)


def _is_unchanged(stored: Stored, ask: Ask) -> bool:
    """Whether the conditions of the request itself say that it has this response. §4.3.2"""
    tags = ask.fields.get(b"if-none-match")
    if tags:  # takes precedence over the date
        etag = first(stored.fields, b"etag")
        wanted = members(tags)
        return b"*" in wanted or (etag is not None and _opaque(etag) in {_opaque(tag) for tag in wanted})
    since = ask.fields.get(b"if-modified-since")
    date = http_date(since[0]) if since else None
    return date is not None and modified_at(stored) <= date


def _opaque(tag: bytes) -> bytes:
    """What weak comparison compares. RFC 9110 §8.8.3.2"""
    tag = tag.strip()
    return tag[2:] if tag.startswith(b"W/") else tag


def _range_counts(stored: Stored, ask: Ask) -> bool:
    """``If-Range``: the part is wanted of this very response only, compared strongly. RFC 9110 §13.1.5"""
    condition = first(ask.fields, b"if-range")
    if condition is None:
        return True
    condition = condition.strip()
    if condition.startswith((b'"', b"W/")):
        return not condition.startswith(b"W/") and condition == first(stored.fields, b"etag")
    return condition == first(stored.fields, b"last-modified")


def _part(stored: Stored, ask: Ask, fields: Fields) -> Answer | None:
    """The range of the whole response that is asked for. RFC 9110 §14.2"""
    found = _RANGE.fullmatch(b"".join(members(ask.fields[b"range"])))
    whole = len(stored.answer.body)
    if found is None or not (found[1] or found[2]) or not whole or "coding" in stored.extra:
        return None  # "coding": it is not stored byte for byte
    if found[1]:
        begin, end = int(found[1]), min(int(found[2]) if found[2] else whole - 1, whole - 1)
    else:
        begin, end = max(0, whole - int(found[2])), whole - 1
    if begin > end:
        return None  # what can't be satisfied, the site says
    fields[b"content-range"] = [b"bytes %d-%d/%d" % (begin, end, whole)]
    fields[b"content-length"] = [b"%d" % (end + 1 - begin)]
    return Answer(206, fields, stored.answer.body[begin : end + 1], stored.answer.url, stored.extra)
