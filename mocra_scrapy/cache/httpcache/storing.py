"""What may be stored, and in what form. RFC 9111 §3. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import urldefrag, urljoin, urlsplit

from mocra_scrapy.cache.httpcache.fields import HOP_BY_HOP, Fields, first, members
from mocra_scrapy.cache.httpcache.freshness import (
    HEURISTICALLY_CACHEABLE,
    explicit_lifetime,
    lifetime,
    must_be_validated,
)
from mocra_scrapy.cache.httpcache.messages import SAFE, Answer, Ask, Rules, Stored
from mocra_scrapy.cache.httpcache.selecting import selecting_fields, varies_by

#: Status codes whose meaning we know: those of RFC 9110. §5.2.2.3
UNDERSTOOD: Final = frozenset(
    (200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308, *range(400, 418), 421, 422, 426, *range(500, 506))
)
#: What describes how the stored body is to be read: an update can't change it. §3.2
_OF_THE_BODY: Final = frozenset((b"content-encoding", b"content-length", b"content-md5", b"content-range", b"etag"))


def may_store(stored: Stored, ask: Ask, rules: Rules) -> bool:
    """§3, each of its conditions; and whether it could ever be used."""
    return (
        _method_allows(stored, ask, rules)
        and _status_allows(stored, rules)
        and _directives_allow(stored, ask, rules)
        and (not rules.shared or _sharing_allows(stored, ask, rules))
        and varies_by(stored.fields) is not None  # §4.1: no request would ever match
        and (rules.always_store or _says_so(stored, rules))
    )


def _status_allows(stored: Stored, rules: Rules) -> bool:
    status = stored.status
    if status in (206, 304) or (b"content-range" in stored.fields and status != 200):
        return False  # partial content passes by: see docs/guides/cache-pages
    return status >= 200 and status not in rules.ignored_statuses


def _directives_allow(stored: Stored, ask: Ask, rules: Rules) -> bool:
    said = stored.directives(rules)
    understands = b"must-understand" in said  # §5.2.2.3: then no-store is for those who don't
    if understands and stored.status not in UNDERSTOOD:
        return False
    return (understands or b"no-store" not in said) and b"no-store" not in ask.directives


def _method_allows(stored: Stored, ask: Ask, rules: Rules) -> bool:
    if ask.method == b"GET":
        return True
    # RFC 9110 §9.3.3: what a POST answers may stand for a later GET, if it says so twice.
    return ask.method == b"POST" and bool(explicit_lifetime(stored, rules)) and same_place(stored, ask)


def same_place(stored: Stored, ask: Ask) -> bool:
    """Whether ``Content-Location`` names the URL that was asked."""
    place = first(stored.fields, b"content-location")
    return place is not None and urljoin(ask.url, place.decode("latin-1")) == urldefrag(ask.url).url


def _sharing_allows(stored: Stored, ask: Ask, rules: Rules) -> bool:
    """What a shared cache may store. §3, §3.5, §7.3"""
    said = stored.directives(rules)
    if b"private" in said and not said.listed(b"private"):  # §5.2.2.7
        return False
    if b"authorization" in ask.fields:  # §3.5
        return any(name in said for name in (b"must-revalidate", b"public", b"s-maxage"))
    # Beyond the RFC: what was made for somebody who is logged in, or begins a session, is stored
    # only where the site itself says for how long.
    personal = b"cookie" in ask.fields or b"set-cookie" in stored.fields
    return not personal or rules.always_store or b"public" in said or bool(explicit_lifetime(stored, rules))


def _says_so(stored: Stored, rules: Rules) -> bool:
    """The last condition of §3, and whether the entry could be used: fresh, once it is validated, or where
    its site fails.
    """
    said, status = stored.directives(rules), stored.status
    cacheable = (
        any(name in said for name in (b"public", b"max-age"))
        or (b"private" in said and not rules.shared)
        or (b"s-maxage" in said and rules.shared)
        or b"expires" in stored.fields
        or status in rules.negative
        or status in HEURISTICALLY_CACHEABLE
    )
    if not cacheable or lifetime(stored, rules) > 0 or has_validator(stored.fields):
        return cacheable
    return explicit_lifetime(stored, rules) is not None and not must_be_validated(stored, rules)


def has_validator(fields: Fields) -> bool:
    return b"etag" in fields or b"last-modified" in fields


def kept(ask: Ask, answer: Answer, rules: Rules, *, requested: float, received: float) -> Stored:
    """*answer* as it is stored: without the fields of the connection, and those that may be used once
    only. §3.1, §5.2.2.4, §5.2.2.7
    """
    names = varies_by(answer.fields) or frozenset()
    stored = Stored(answer, selecting_fields(names, ask.fields), requested, received, max(0.0, received - requested))
    said = stored.directives(rules)
    dropped = {*HOP_BY_HOP, *(name.lower() for name in members(answer.fields.get(b"connection", ())))}
    dropped.update(said.listed(b"no-cache"))
    if rules.shared:
        dropped.update(said.listed(b"private"))
    fields = {name: lines for name, lines in answer.fields.items() if name not in dropped}
    return replace(stored, answer=replace(answer, fields=fields))


def updated(stored: Stored, ask: Ask, answer: Answer, rules: Rules, *, requested: float, received: float) -> Stored:
    """*stored*, freshened by a 304 or by a HEAD. §3.2, §4.3.4, §4.3.5"""
    new = kept(ask, answer, rules, requested=requested, received=received)
    fields = {name: lines for name, lines in stored.fields.items() if name != b"age"}  # of the old answer
    fields.update({name: lines for name, lines in new.fields.items() if name not in _OF_THE_BODY})
    names = varies_by(fields) or frozenset(stored.selecting)
    selecting = dict(selecting_fields(names, ask.fields)) if b"vary" in new.fields else stored.selecting
    return replace(
        stored,
        answer=replace(stored.answer, fields=fields),
        selecting=selecting,
        requested=requested,
        received=received,
    )


def invalidated_by(ask: Ask, answer: Answer) -> list[str]:
    """URLs whose stored responses are not to be used any more: an unsafe request went well. §4.4"""
    if ask.method in SAFE or not 200 <= answer.status < 400:
        return []
    here = urldefrag(ask.url).url
    urls = [here]
    for name in (b"location", b"content-location"):
        place = first(answer.fields, name)
        if place is not None:
            url = urldefrag(urljoin(ask.url, place.decode("latin-1").strip())).url
            if url not in urls and _origin(url) == _origin(here):  # §4.4: a site speaks for itself only
                urls.append(url)
    return urls


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
