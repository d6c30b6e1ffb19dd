"""The cache's decisions, RFC 9111, as a state machine without I/O and without a clock.

=================  =======================================================================
``begin``          says one of
=================  =======================================================================
:class:`Serve`     answer with what is stored; perhaps validate it behind the scenes
:class:`Validate`  ask the site, with these conditions
:class:`Fetch`     ask the site: nothing stored helps; the answer may be stored
:class:`PassBy`    ask the site: no cache may help. The answer may still invalidate what is stored
:class:`Missing`   the request wants no other answer than a stored one, and there is none
=================  =======================================================================

After *Validate*, *Fetch* and *PassBy* the site's answer goes to ``answered``, and a failure to
``failed``. What is to be stored, replaced and removed comes back as an :class:`Outcome`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from mocra_scrapy.cache.httpcache.fields import first, members
from mocra_scrapy.cache.httpcache.freshness import (
    is_fresh,
    may_be_stale,
    may_be_stale_while_validated,
    may_replace_an_error,
)
from mocra_scrapy.cache.httpcache.messages import Answer, Ask, Rules, Stored
from mocra_scrapy.cache.httpcache.replies import is_for_the_site, reply
from mocra_scrapy.cache.httpcache.selecting import chosen
from mocra_scrapy.cache.httpcache.storing import has_validator, invalidated_by, kept, may_store, updated

#: RFC 5861 §4: the site is in trouble, and a stale response may stand for it.
TROUBLE: Final = frozenset((500, 502, 503, 504))


@dataclass(frozen=True)
class Serve:
    """*answer* is the whole answer. *stale*: it is not fresh. *validate*: do so behind the scenes."""

    stored: Stored
    answer: Answer
    stale: bool = False
    validate: bool = False


@dataclass(frozen=True)
class Validate:
    """Ask the site whether *stored* still holds. *conditions*: field -> line, in place of the request's
    own.
    """

    stored: Stored
    conditions: Mapping[bytes, bytes]


@dataclass(frozen=True)
class Fetch:
    """*stored*: what fits and can't be validated; it may stand for the site that does not answer."""

    stored: Stored | None = None


@dataclass(frozen=True)
class PassBy:
    """No cache may help."""


@dataclass(frozen=True)
class Missing:
    """``only-if-cached``: a 504 is what the client asked for. §5.2.1.7"""


Decision: TypeAlias = "Serve | Validate | Fetch | PassBy | Missing"


@dataclass(frozen=True)
class Outcome:
    """What follows from a site's answer.

    Attributes:
        answer: what to answer with in its place; ``None``: with the site's.
        store: what is to be stored.
        drop: whether what is stored for the URL is not to be used any more.
        invalidate: URLs of which that is true, too.
        validated: whether a stored response was found to hold. *stale*: it stands for a site in
            trouble.
    """

    answer: Answer | None = None
    store: Stored | None = None
    drop: bool = False
    invalidate: list[str] = field(default_factory=list)
    validated: bool = False
    stale: bool = False


class Machine:
    """The decisions under one set of *rules*."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def begin(self, ask: Ask, stored: Iterable[Stored], now: float) -> Decision:
        """What to do with *ask*, where *stored* is what is stored for its URL. §4"""
        if ask.method not in (b"GET", b"HEAD") or is_for_the_site(ask):
            return PassBy()
        one = chosen(stored, ask)
        if one is None:
            return Missing() if b"only-if-cached" in ask.directives else Fetch()
        answer = reply(one, ask, now)
        if answer is None:
            return PassBy()
        return self._served(one, ask, answer, now) or self._asked(one, ask)

    def _served(self, one: Stored, ask: Ask, answer: Answer, now: float) -> Serve | None:
        """What is stored as the answer, where that is allowed without asking. §4.2"""
        rules = self.rules
        if is_fresh(one, ask, rules, now):
            return Serve(one, answer)
        if may_be_stale(one, ask, rules, now):
            return Serve(one, answer, stale=True)
        if may_be_stale_while_validated(one, ask, rules, now):
            return Serve(one, answer, stale=True, validate=True)
        return None

    @staticmethod
    def _asked(one: Stored, ask: Ask) -> Decision:
        """How to ask, where something is stored. §4.3.1"""
        if b"only-if-cached" in ask.directives:
            return Missing()
        if ask.method == b"HEAD" or b"range" in ask.fields:
            return PassBy()  # its answer says too little to put the stored one in its place
        return Validate(one, conditions) if (conditions := conditions_for(one)) else Fetch(one)

    def offline(self, ask: Ask, stored: Iterable[Stored], now: float) -> Answer | None:
        """What is stored, however old, for who asks no site at all."""
        one = chosen(stored, ask) if ask.method in (b"GET", b"HEAD") else None
        return None if one is None else reply(one, ask, now)

    def answered(self, ask: Ask, decision: Decision, answer: Answer, *, requested: float, received: float) -> Outcome:
        """What follows from the site's *answer*. §3, §4.3.3, §4.3.4, §4.4"""
        times = {"requested": requested, "received": received}
        rules = self.rules
        if answer.status == 304:
            if isinstance(decision, Validate) and same_validators(decision.stored, answer):
                fresh = updated(decision.stored, ask, answer, rules, **times)
                return Outcome(reply(fresh, ask, received), store=fresh, validated=True)
            return Outcome(drop=isinstance(decision, Validate))
        one = decision.stored if isinstance(decision, (Validate, Fetch)) else None
        if one is not None and answer.status in TROUBLE and may_replace_an_error(one, ask, rules, received):
            return Outcome(reply(one, ask, received), stale=True)  # §4.3.3: as if it had not answered
        new = kept(ask, answer, rules, **times)
        invalid = invalidated_by(ask, answer)
        if may_store(new, ask, rules):
            return Outcome(store=new, invalidate=invalid)
        # §4: what is stored must not be used where a newer answer can't be.
        return Outcome(drop=one is not None and answer.status < 500, invalidate=invalid)

    def failed(self, ask: Ask, decision: Decision, now: float) -> Answer | None:
        """What stands for a site that can't be reached; ``None``: nothing does. §4.2.4"""
        one = decision.stored if isinstance(decision, (Validate, Fetch)) else None
        if one is None or not may_replace_an_error(one, ask, self.rules, now):
            return None
        return reply(one, ask, now)

    def headed(self, ask: Ask, stored: Iterable[Stored], answer: Answer, *, now: float) -> Outcome:
        """What the answer to a HEAD says of the stored answer to a GET. §4.3.5"""
        one = chosen(stored, ask)
        if one is None or answer.status != 200:
            return Outcome()
        lengths = {first(fields, b"content-length") for fields in (one.fields, answer.fields)} - {None}
        if not same_validators(one, answer) or len(lengths) > 1:
            return Outcome(drop=True)
        return Outcome(store=updated(one, ask, answer, self.rules, requested=now, received=now))


def conditions_for(stored: Stored) -> dict[bytes, bytes]:
    """Both validators, so that a site that knows only dates understands as well. §4.3.1"""
    if not has_validator(stored.fields):
        return {}
    found = {
        b"if-none-match": first(stored.fields, b"etag"),
        b"if-modified-since": first(stored.fields, b"last-modified"),
    }
    return {name: value for name, value in found.items() if value}


def same_validators(stored: Stored, answer: Answer) -> bool:
    """Whether *answer* is about the stored response: what it says is what was stored. §4.3.4"""
    for name in (b"etag", b"last-modified"):
        said = answer.fields.get(name)
        if said and members(said) != members(stored.fields.get(name, ())):
            return False
        if said and name == b"etag":
            return True  # a strong validator says enough
    return True
