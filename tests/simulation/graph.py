"""The site that is crawled: pages, links, and what comes of fetching each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from mocra_scrapy.models import Entry


def draw(*parts: object) -> float:
    """A number from 0 to 1 that depends on nothing but *parts*: the same when other events of a
    schedule are taken away.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / (1 << 56)


@dataclass(frozen=True)
class Page:
    """Attributes:
    links: pages that it yields.
    filtered: whether it has a fingerprint.
    manner: ``ok``; ``fails``: it is buried after its links were yielded; ``kills``: the worker
        that fetches it dies; ``returns``: it is given back the first time a worker has it.
    """

    number: int
    links: tuple[int, ...]
    slot: str
    priority: int
    delay: float
    filtered: bool
    manner: str
    scopes: tuple[str, ...] = ()

    @property
    def entry(self) -> Entry:
        name = b"%d" % self.number
        fingerprint = hashlib.sha1(name).digest() if self.filtered else None
        return Entry(name, self.slot, self.priority, fingerprint, delay=self.delay, scopes=self.scopes)


@dataclass(frozen=True)
class Graph:
    """*pages* of them in *slots* slots; the first *seeds* come from ``start()``."""

    seed: int
    pages: int
    seeds: int
    slots: int
    killers: int = 0
    failures: float = 0.0
    scope: str = ""

    @cached_property
    def all(self) -> list[Page]:
        links: list[list[int]] = [[] for _ in range(self.pages)]
        for page in range(self.seeds, self.pages):
            links[int(draw(self.seed, "parent", page) * page)].append(page)
        for page in range(self.pages):
            if draw(self.seed, "more", page) < 0.5:
                links[page].append(int(draw(self.seed, "to", page) * self.pages))
        return [self._page(number, tuple(to)) for number, to in enumerate(links)]

    def _page(self, number: int, links: tuple[int, ...]) -> Page:
        def chance(name: str) -> float:
            return draw(self.seed, name, number)

        manner = "ok"
        if number in {int(draw(self.seed, "killer", k) * self.pages) for k in range(self.killers)}:
            manner = "kills"
        elif chance("fails") < self.failures:
            manner = "fails"
        elif chance("returns") < 0.1:
            manner = "returns"
        return Page(
            number,
            links,
            f"s{int(chance('slot') * self.slots)}",
            int(chance("priority") * 3) - 1,
            round(2 + 20 * chance("delay"), 3) if chance("delayed") < 0.1 else 0.0,
            bool(links) or number < self.seeds or chance("filtered") < 0.9,
            manner,
            (self.scope,) if self.scope and chance("scope") < 0.5 else (),
        )

    @property
    def start(self) -> list[Page]:
        return self.all[: self.seeds]

    def reachable(self, silent: set[int]) -> set[int]:
        """Pages that must have been fetched, if nobody got the links of *silent*."""
        found, todo = set(range(self.seeds)), list(range(self.seeds))
        while todo:
            page = todo.pop()
            for link in () if page in silent else self.all[page].links:
                if link not in found:
                    found.add(link)
                    todo.append(link)
        return found
