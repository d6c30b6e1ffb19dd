"""How long a stored response is fresh, and how old it is. RFC 9111 §4.2. Pure."""

from __future__ import annotations

from typing import Final

from mocra_scrapy.cache.httpcache.fields import LONG, Fields, date_of, delta_seconds, http_date, members
from mocra_scrapy.cache.httpcache.messages import Ask, Rules, Stored

#: RFC 9110 §15.1, but 206: these may be fresh although they don't say so.
HEURISTICALLY_CACHEABLE: Final = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))


def explicit_lifetime(stored: Stored, rules: Rules) -> float | None:
    """§4.2.1, the first three. ``None``: the response says nothing. What can't be read says: stale."""
    said = stored.directives(rules)
    for name in (b"s-maxage", b"max-age") if rules.shared else (b"max-age",):
        if name in said:
            return 0 if name in said.disputed else said.seconds(name) or 0
    if b"expires" not in stored.fields:
        return None
    expires = date_of(stored.fields, b"expires")  # §5.3: "0" and all that is no date is in the past
    return 0 if expires is None else max(0, expires - dated(stored))


def lifetime(stored: Stored, rules: Rules) -> float:
    """Seconds for which the response is fresh. §4.2.1"""
    said = explicit_lifetime(stored, rules)
    if said is not None:
        return said
    if stored.status in rules.negative:
        return rules.negative[stored.status]
    return heuristic_lifetime(stored, rules)


def heuristic_lifetime(stored: Stored, rules: Rules) -> float:
    """§4.2.2: what did not change for long will not change soon."""
    if stored.status not in HEURISTICALLY_CACHEABLE and b"public" not in stored.directives(rules):
        return 0
    modified = date_of(stored.fields, b"last-modified")
    if modified is None or not rules.heuristic:
        return 0
    return min(max(0.0, (dated(stored) - modified) * rules.heuristic), rules.heuristic_max)


def dated(stored: Stored) -> float:
    """When the site made the response; without a readable ``Date``: when it came (RFC 9110 §6.6.1)."""
    date = date_of(stored.fields, b"date")
    return stored.received if date is None else date


def age_of(fields: Fields) -> int:
    """What ``Age`` says: its first member. §5.1: what can't be read is ignored."""
    values = members(fields.get(b"age", ())[:1])
    return (delta_seconds(values[0]) or 0) if values else 0


def current_age(stored: Stored, now: float) -> float:
    """§4.2.3, by its names."""
    apparent_age = max(0.0, stored.received - dated(stored))
    response_delay = max(0.0, stored.received - stored.requested)
    corrected_age_value = age_of(stored.fields) + response_delay
    corrected_initial_age = max(apparent_age, corrected_age_value)
    resident_time = max(0.0, now - stored.received)
    return min(corrected_initial_age + resident_time, LONG)


def is_fresh(stored: Stored, ask: Ask, rules: Rules, now: float) -> bool:
    """Whether *stored* may answer *ask* without being validated. §4.2, and what the request wishes
    (§5.2.1): ``max-age``, ``min-fresh``, ``no-cache``. What must always be validated is not fresh.
    """
    said, asked = stored.directives(rules), ask.directives
    if b"no-cache" in said and not said.listed(b"no-cache"):  # §5.2.2.4
        return False
    fresh_for, age = lifetime(stored, rules), current_age(stored, now)
    if age >= fresh_for:
        return False
    if b"immutable" in said and (asked.seconds(b"max-age") == 0 or b"no-cache" in asked):
        return True  # RFC 8246 §2: reloading it is not worth asking for
    if b"no-cache" in asked:  # §5.2.1.4
        return False
    most = asked.seconds(b"max-age")  # §5.2.1.1
    if most is not None and (most == 0 or age > most):
        return False
    return fresh_for - age >= (asked.seconds(b"min-fresh") or 0)  # §5.2.1.3


def must_be_validated(stored: Stored, rules: Rules) -> bool:
    """Whether a stale *stored* may answer in no case. §4.2.4"""
    said = stored.directives(rules)
    if b"must-revalidate" in said or (b"no-cache" in said and not said.listed(b"no-cache")):
        return True
    return rules.shared and (b"proxy-revalidate" in said or b"s-maxage" in said)  # §5.2.2.8, §5.2.2.10


def may_be_stale(stored: Stored, ask: Ask, rules: Rules, now: float) -> bool:
    """Whether the request takes it stale as it is: ``max-stale``. §5.2.1.2"""
    asked = ask.directives
    if b"max-stale" not in asked or b"no-cache" in asked or must_be_validated(stored, rules):
        return False
    most = asked.get(b"max-stale")
    stale_for = current_age(stored, now) - lifetime(stored, rules)
    return most is None or stale_for <= (asked.seconds(b"max-stale") or 0)


def may_be_stale_while_validated(stored: Stored, ask: Ask, rules: Rules, now: float) -> bool:
    """RFC 5861 §3: it answers, and is validated behind the scenes."""
    said, asked = stored.directives(rules), ask.directives
    most = said.seconds(b"stale-while-revalidate")
    if most is None or b"no-cache" in asked or b"max-age" in asked or b"min-fresh" in asked:
        return False
    return not must_be_validated(stored, rules) and current_age(stored, now) - lifetime(stored, rules) <= most


def may_replace_an_error(stored: Stored, ask: Ask, rules: Rules, now: float) -> bool:
    """Whether it answers although it is stale, as the site can't be asked. §4.2.4, RFC 5861 §4"""
    if must_be_validated(stored, rules):
        return False
    said, asked = stored.directives(rules), ask.directives
    limits = [value for one in (said, asked) if (value := one.seconds(b"stale-if-error")) is not None]
    most = max(limits) if limits else rules.stale_if_error
    return current_age(stored, now) - lifetime(stored, rules) <= most


def modified_at(stored: Stored) -> float:
    """What ``If-Modified-Since`` is compared with. §4.3.2: ``Last-Modified``, else ``Date``, else when
    it came.
    """
    lines = stored.fields.get(b"last-modified")
    modified = http_date(lines[0]) if lines else None
    return dated(stored) if modified is None else modified
