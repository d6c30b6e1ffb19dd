"""What the state machine works on: what is asked, what was answered, what is stored, and the rules
that apply. Pure data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from mocra_scrapy.cache.httpcache.fields import Directives, Fields, directives

#: RFC 9110 §9.2.1. All others, also those that nobody knows, may change something.
SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))


@dataclass(frozen=True)
class Rules:
    """How one cache behaves.

    Attributes:
        shared: whether several users have one cache: then ``private``, ``s-maxage``,
            ``proxy-revalidate`` and ``Authorization`` count (RFC 9111 §1, §3.5, §5.2.2).
        heuristic: the part of the time since ``Last-Modified`` for which a response is fresh that
            says nothing itself (§4.2.2); 0: it never is. *heuristic_max*: seconds at most.
        negative: status -> seconds for which such a response is fresh, if it says nothing itself.
        stale_if_error: seconds for which a stale response answers where the site does not, if it says
            nothing itself (§4.2.4).
        always_store: store also what says nothing of its freshness and can't be validated.
        ignored: directives of responses that don't count. *ignored_statuses*: are not stored.
        keeps: seconds after which an entry is not used any more in any way; 0: no limit.
    """

    shared: bool = False
    heuristic: float = 0.1
    heuristic_max: float = 86_400.0
    negative: Mapping[int, float] = field(default_factory=dict)
    stale_if_error: float = 86_400.0
    always_store: bool = False
    ignored: frozenset[bytes] = frozenset()
    ignored_statuses: frozenset[int] = frozenset()
    keeps: float = 0.0


@dataclass(frozen=True)
class Ask:
    """A request, as it would leave for the site.

    Attributes:
        user: who of several users of a private cache asks; ``""``: the only one.
    """

    method: bytes
    url: str
    fields: Fields
    user: str = ""

    @cached_property
    def directives(self) -> Directives:
        found = Directives(self.fields.get(b"cache-control", ()))
        # §5.4: deprecated, and still what old clients send.
        if b"cache-control" not in self.fields and b"no-cache" in self.fields.get(b"pragma", ()):
            found[b"no-cache"] = None
        return found


@dataclass(frozen=True)
class Answer:
    """A response.

    Attributes:
        url: of what was asked, where the site may have named another one.
        extra: what the shell keeps beside the stored one that this is made of.
    """

    status: int
    fields: Fields
    body: bytes = b""
    url: str = ""
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """A response that was stored, with what is needed to choose and to judge it.

    Attributes:
        selecting: fields of the request that its ``Vary`` names, normalised; ``None``: it had none.
        requested: when its request left, seconds since 1970. *received*: when the response came.
        took: seconds that the site took for it, what a hit saves.
        extra: what the shell keeps beside it, untouched.
    """

    answer: Answer
    selecting: Mapping[bytes, bytes | None]
    requested: float
    received: float
    took: float = 0.0
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def fields(self) -> Fields:
        return self.answer.fields

    def directives(self, rules: Rules) -> Directives:
        return directives(self.answer.fields, rules.ignored)
