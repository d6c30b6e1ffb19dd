"""``LeaderElection``: the roles for which this worker stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mocra_scrapy import signals
from mocra_scrapy.coordination.leadership import Candidate
from mocra_scrapy.runtime import Mocra

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self

    from mocra_scrapy.models import Term


class LeaderElection:
    """Stands for the roles in ``MOCRA_LEADER_ROLES``, and for those that
    ``Mocra.from_crawler(crawler).leader(role)`` asks for.

    Roles belong to the backend and the key prefix, not to a crawl: put the crawl's name into the
    role if each crawl is to have one.
    """

    def __init__(self, mocra: Mocra) -> None:
        self._mocra = mocra
        self._candidates: dict[str, Candidate] = {}
        self._opened = False
        for role in mocra.coordination.leader_roles:
            self.leader(role)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return Mocra.from_crawler(crawler).component(cls)

    def leader(self, role: str) -> Candidate:
        """This worker as a candidate for *role*; it contends from the opening of the spider on, or
        from now.
        """
        known = self._candidates.get(role)
        if known is None:
            options = self._mocra.coordination
            known = self._candidates[role] = Candidate(
                self._mocra.backend.election(role),
                self._mocra.worker,
                lease=options.leader_lease,
                renew=options.leader_renew,
                deadline=options.leader_deadline,
                retry=options.leader_retry,
                elected=lambda term: self._tell(signals.leader_elected, "mocra/leader/elected", term),
                lost=lambda term: self._tell(signals.leader_lost, "mocra/leader/lost", term),
            )
            if self._opened:
                known.start()
        return known

    def _tell(self, signal: object, stat: str, term: Term) -> None:
        crawler = self._mocra.crawler
        if crawler.stats is not None:
            crawler.stats.inc_value(stat)
        crawler.signals.send_catch_log(signal, spider=crawler.spider, role=term.role, term=term)

    async def open(self) -> None:
        self._opened = True
        for candidate in self._candidates.values():
            candidate.start()

    async def close(self) -> None:
        """End the tasks, resign."""
        for candidate in self._candidates.values():
            await candidate.close()
