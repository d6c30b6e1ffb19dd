"""Requests and responses, written as short as tests read them."""

from __future__ import annotations

from email.utils import formatdate

from mocra_scrapy.cache.httpcache.machine import Machine, Outcome, Serve, Validate
from mocra_scrapy.cache.httpcache.messages import Answer, Ask, Rules, Stored
from mocra_scrapy.cache.httpcache.selecting import with_variant
from mocra_scrapy.cache.httpcache.storing import kept

URL = "http://a.test/page"
#: 2030-01-01. Tests move the clock by adding to it.
NOW = 1_893_456_000.0


def date(seconds: float = 0.0) -> str:
    """An HTTP date so many seconds from :data:`NOW`."""
    return formatdate(NOW + seconds, usegmt=True)


def fields(**lines: str | list[str]) -> dict[bytes, list[bytes]]:
    """``cache_control="max-age=1"``; several lines as a list."""
    return {
        name.replace("_", "-").encode(): [
            line.encode("latin-1") for line in ([value] if isinstance(value, str) else value)
        ]
        for name, value in lines.items()
    }


def ask(method: str = "GET", url: str = URL, **lines: str | list[str]) -> Ask:
    return Ask(method.encode(), url, fields(**lines))


def answer(status: int = 200, body: bytes = b"page", **lines: str | list[str]) -> Answer:
    """With a ``Date`` of :data:`NOW`, unless it has its own."""
    return Answer(status, fields(**{"date": date(), **lines}), body, URL)


def stored(status: int = 200, body: bytes = b"page", asked: Ask | None = None, **lines: str | list[str]) -> Stored:
    """What came at :data:`NOW`, half a second after it was asked for, as a private cache keeps it."""
    return kept(asked or ask(), answer(status, body, **lines), Rules(), requested=NOW - 0.5, received=NOW)


class Cache:
    """A cache of one URL, whose clock the test moves."""

    def __init__(self, **rules: object) -> None:
        self.machine = Machine(Rules(**rules))  # type: ignore[arg-type]
        self.stored: list[Stored] = []
        self.now = NOW

    def get(self, said: Answer | None, asked: Ask | None = None) -> Answer:
        """What the client gets, where the site would say *said*; ``None``: it can't be reached."""
        asked = asked or ask()
        decision = self.machine.begin(asked, self.stored, self.now)
        self.decision = decision
        if isinstance(decision, Serve):
            return decision.answer
        self.outcome = Outcome()
        if said is None:
            found = self.machine.failed(asked, decision, self.now)
            assert found is not None, "an error reaches the client"
            return found
        if asked.method == b"HEAD":
            self.outcome = self.machine.headed(asked, self.stored, said, now=self.now)
        else:
            self.outcome = self.machine.answered(asked, decision, said, requested=self.now, received=self.now)
        if self.outcome.drop or self.outcome.invalidate:
            self.stored = []
        if self.outcome.store is not None:
            self.stored = with_variant(self.stored, self.outcome.store)
        return self.outcome.answer or said

    def hits(self, asked: Ask | None = None) -> bool:
        """Whether *asked* is answered without asking the site."""
        return isinstance(self.machine.begin(asked or ask(), self.stored, self.now), Serve)

    def validates(self, asked: Ask | None = None) -> bool:
        return isinstance(self.machine.begin(asked or ask(), self.stored, self.now), Validate)


def after(seconds: float, *, said: object = None, **rules: object) -> Cache:
    """A cache with one page, so many seconds later."""
    cache = Cache(**rules)
    cache.get(said or answer(cache_control="max-age=10", etag='"1"'))  # type: ignore[arg-type]
    cache.now += seconds
    return cache
