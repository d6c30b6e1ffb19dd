"""Budgets of domains and seeds, where a crawl has several shards: their names count for slots that are
on several of them. Each shard stores within blocks that it has from the name's home, which is one of
the shards; ``lua/lib/blocks.lua`` has the rules. Here is what passes between them. It may be told
twice, late or never: a shard then has less than its home has noted for it, never more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from mocra_scrapy.backends.redis.budgets_wire import BlockAnswer, ShardBudgeting, limits_argument
from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.rules_wire import packed
from mocra_scrapy.backends.redis.shards import Shards, gather_all
from mocra_scrapy.exceptions import BackendCorrupted
from mocra_scrapy.models import Budgeting, BudgetLimits, Entry, Exchange
from mocra_scrapy.models.budgets import kind_of_budget

DRAW, RECALL = load_script("budgets_draw"), load_script("budgets_recall")
#: Seconds for which it is believed that nobody has pages of a name left; then its home is asked again.
BELIEVED = 1.0
#: Seconds after which all shards are told once more that something is used up: they may have lost it.
TOLD = 30.0
#: Names that are remembered, of those that are used up.
MOST = 10_000
#: Times that the others are asked what they have, for one answer of a home.
TURNS = 4
#: More than any shard ever gave back: no look at it.
EVER = 2**53
#: What a home says where there is nothing to say of blocks.
NOTHING = {"share": [0, 0, 0, 0], "spent": [0, 0, 0, 0]}


@dataclass(slots=True)
class _Ask:
    """A shard needs a block of a name."""

    name: bytes
    shard: int
    need: int
    reports: list[tuple[int, Any]]
    is_all: bool = False
    answer: dict[bytes, Any] = field(default_factory=dict)

    @property
    def lacks(self) -> list[int]:
        """1 where it is known that there is not enough: of pages, of queued."""
        return [0, 0] if b"has_to_ask" in self.answer else list(self.answer[b"lacks"])

    def argument(self, shards: int) -> dict[str, Any]:
        return {
            "name": self.name,
            "shard": self.shard,
            "need": self.need,
            "shards": shards,
            "reports": self.reports,
            "is_all": int(self.is_all),
        }


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def is_wide(name: str) -> bool:
    """Whether the slots of *name* may be on several shards."""
    return kind_of_budget(name)[0] != "slot"


class BudgetBlocks:
    """Of one crawl, as one process sees it."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._no_pages: dict[tuple[str, float], float] = {}  # name, told -> until when it is believed
        self._spread: dict[
            tuple[str, float], float
        ] = {}  # until when all shards are believed to know that it is used up

    def home(self, name: str) -> int:
        """The shard that knows what *name* has had: that of its slot, or any one."""
        kind, of = kind_of_budget(name)
        return self._shards.of(of if kind == "slot" else name)

    def may_wait(self, entries: Iterable[Entry]) -> bool:
        """Whether any of *entries* needs a block."""
        return any(is_wide(name) for entry in entries for name in entry.budgets)

    def part(self, said: Budgeting, shard: int, entries: Sequence[Entry]) -> ShardBudgeting:
        """What of *said* concerns *shard*, which is to store *entries*."""
        here = {name for entry in entries for name in entry.budgets}
        here.update(
            name for name in said.limits if self.home(name) == shard and (name in said.spent or not is_wide(name))
        )
        now = time.monotonic()
        none = {name for name in here if self._no_pages.get((name, said.told), 0.0) > now}
        return ShardBudgeting(
            said.told,
            {name: limits for name, limits in said.limits.items() if name in here},
            {name: spent for name, spent in said.spent.items() if self.home(name) == shard},
            dry={name: [1, 0, EVER, EVER] for name in none},
        )

    # ------------------------------------------------------------------ blocks

    async def drawn(
        self,
        needed: Mapping[int, Sequence[Any]],
        waiting: Mapping[int, Sequence[Entry]],
        said: Budgeting,
        *,
        is_last: bool,
    ) -> dict[int, ShardBudgeting]:
        """What each shard is told with what it could not store.

        Args:
            needed: shard -> what it says of names of which it needs blocks.
            waiting: shard -> what it could not store.
            said: by the worker that pushes.
            is_last: whether what finds no room now is refused, whatever happens meanwhile.
        """
        asks = [
            _Ask(name, shard, int(n), [(shard, report)]) for shard, names in needed.items() for name, n, report in names
        ]
        todo = asks
        for _ in range(TURNS):
            await self._draw(todo)
            missing = {ask.name: ask.answer for ask in todo if b"all" in ask.answer and not self._is_over(ask)}
            if not missing:
                break
            told = await self.recall(missing)
            todo = [ask for ask in asks if ask.name in missing]
            for ask in todo:
                ask.reports, ask.is_all = told[ask.name], True
        return {
            shard: self._told([ask for ask in asks if ask.shard == shard], waiting[shard], said, is_last=is_last)
            for shard in needed
        }

    @staticmethod
    def _is_over(ask: _Ask) -> bool:
        """Whether it is known of all shards that they have no more."""
        return ask.is_all and b"has_to_ask" not in ask.answer

    async def _draw(self, asks: Sequence[_Ask]) -> None:
        homes: dict[int, list[_Ask]] = {}
        for ask in asks:
            homes.setdefault(self.home(_text(ask.name)), []).append(ask)

        async def one(home: int, some: list[_Ask]) -> None:
            asked = packed([ask.argument(self._shards.count) for ask in some])
            for ask, answer in zip(some, _opened(await self._shards.run(DRAW, home, asked)), strict=True):
                ask.answer = answer

        await gather_all([one(home, some) for home, some in homes.items()])

    async def recall(self, told: Mapping[bytes, Mapping[bytes, Any]]) -> dict[bytes, list[tuple[int, Any]]]:
        """Tell all shards how names stand; they give back what they don't use, and report."""

        async def one(shard: int) -> list[Any]:
            asked = []
            for name, answer in told.items():
                share = next((has for at, has in answer.get(b"all", ()) if at == shard), NOTHING["share"])
                kept = (b"told", b"limits", b"spent", b"is_home")
                asked.append([name, {**{key: answer[key] for key in kept if key in answer}, b"share": share}])
            reports: list[Any] = _opened(await self._shards.run(RECALL, shard, packed(asked)))
            return reports

        every = await self._shards.everywhere(one)
        return {name: [(s, reports[i]) for s, reports in enumerate(every)] for i, name in enumerate(told)}

    def _told(
        self, asks: Sequence[_Ask], entries: Sequence[Entry], said: Budgeting, *, is_last: bool
    ) -> ShardBudgeting:
        names = {name for entry in entries for name in entry.budgets}  # also those that lack nothing: a slot's
        dry: dict[str, Sequence[int]] = {name: [2, 2, EVER, EVER] for name in names if is_last and is_wide(name)}
        for ask in asks:
            name, back = _text(ask.name), ask.answer[b"share"][1::2]
            if any(ask.lacks) and not is_last:
                dry[name] = [*ask.lacks, *back]
            if ask.lacks[0]:
                self._remember(self._no_pages, (name, said.told), time.monotonic() + BELIEVED)
        return ShardBudgeting(
            said.told,
            {name: limits for name in names if (limits := said.limits.get(name)) is not None},
            shares={_text(ask.name): ask.answer for ask in asks},
            dry=dry,
        )

    @staticmethod
    def _remember(where: dict[Any, Any], key: Any, value: Any) -> None:
        if len(where) >= MOST:
            where.clear()
        where[key] = value

    # ------------------------------------------------------------------ what all have to know

    async def tell_changes(self, said: Budgeting) -> None:
        """Limits were changed while the crawl runs: all shards are told, also of what waits there."""
        changed = {
            name.encode("utf-8", "surrogateescape"): {
                b"told": round(said.told * 1000),
                b"limits": limits_argument(said.limits.get(name, BudgetLimits())),
                b"spent": NOTHING["spent"],
            }
            for name in said.changed
            if is_wide(name)
        }
        if changed:
            await self.recall(changed)

    async def spread(self, answers: Iterable[Exchange]) -> None:
        """Names that were found to be used up at home are so everywhere: what waits is withdrawn."""
        news: dict[bytes, Mapping[bytes, Any]] = {}
        now = time.monotonic()
        for answer in answers:
            if answer.withdrawn:
                self._no_pages.clear()
            if isinstance(answer, BlockAnswer):
                news.update(
                    {
                        n: one
                        for n, one in answer.used_up.items()
                        if self._spread.get((_text(n), one[b"told"]), 0.0) < now
                    }
                )
        if news:
            await self.recall(news)
            for name, one in news.items():
                self._remember(self._spread, (_text(name), one[b"told"]), now + TOLD)


def _opened(raw: Any) -> Any:
    try:
        return msgpack.unpackb(raw, raw=True, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise BackendCorrupted(f"what a shard says of budgets can't be read: {error}") from error
