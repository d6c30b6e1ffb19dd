"""The verbs of Kafka's queue that only its window is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mocra_scrapy.interfaces import ILoggedQueue
from mocra_scrapy.models import (
    Audit,
    BudgetState,
    CrawlRecord,
    CrawlState,
    DeadLetter,
    Entry,
    LetterFilter,
    RulesInForce,
    StoredDictionaries,
    WorkerInfo,
)


class Window:
    """The part of :class:`~mocra_scrapy.backends.composite.queue.KafkaRequestQueue` that hands on."""

    window: ILoggedQueue

    # ------------------------------------------------------------------ dead letters

    async def dead(
        self, limit: int = 100, *, after: str | None = None, where: LetterFilter | None = None
    ) -> Sequence[DeadLetter]:
        return await self.window.dead(limit, after=after, where=where)

    async def count_dead(self, where: LetterFilter | None = None) -> Mapping[str, int]:
        return await self.window.count_dead(where)

    async def find_dead(self, ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        return await self.window.find_dead(ids)

    async def find_response(self, identity: str) -> bytes | None:
        return await self.window.find_response(identity)

    async def response_sizes(self, ids: Sequence[str]) -> Sequence[int]:
        return await self.window.response_sizes(ids)

    async def replay(self, ids: Sequence[str], *, forget: bool = False) -> Sequence[bool]:
        return await self.window.replay(ids, forget=forget)

    async def purge(self, ids: Sequence[str]) -> Sequence[bool]:
        return await self.window.purge(ids)

    async def purge_where(self, where: LetterFilter, limit: int = 1000) -> int:
        return await self.window.purge_where(where, limit)

    # ------------------------------------------------------------------ records, dictionaries, limits

    async def record(self) -> CrawlRecord:
        return await self.window.record()

    async def state(self) -> CrawlState:
        return await self.window.state()

    async def dictionaries(self) -> StoredDictionaries:
        return await self.window.dictionaries()

    async def add_dictionary(self, identity: int, content: bytes, *, instead_of: int | None) -> int | None:
        return await self.window.add_dictionary(identity, content, instead_of=instead_of)

    async def rules_in_force(self) -> RulesInForce:
        return await self.window.rules_in_force()

    async def budgets(self, kind: str = "") -> Sequence[BudgetState]:
        return await self.window.budgets(kind)

    # ------------------------------------------------------------------ seeding, workers, people

    async def claim_seeding(self, worker: str) -> bool:
        return await self.window.claim_seeding(worker)

    async def complete_seeding(self, worker: str) -> bool:
        return await self.window.complete_seeding(worker)

    async def positions(self) -> Mapping[str, bytes]:
        return await self.window.positions()

    async def declare_dead(self, worker: str) -> int | None:
        return await self.window.declare_dead(worker)

    async def wait(self, worker: str, timeout: float) -> bool:
        return await self.window.wait(worker, timeout)

    async def workers(self) -> Sequence[WorkerInfo]:
        return await self.window.workers()

    async def audit(self, fix: bool = False) -> Audit:
        return await self.window.audit(fix)

    async def peek(self, limit: int = 10) -> Sequence[Entry]:
        return await self.window.peek(limit)

    async def forget(self, fingerprints: Sequence[bytes]) -> Sequence[bool]:
        return await self.window.forget(fingerprints)
