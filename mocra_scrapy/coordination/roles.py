"""The roles that one worker is a candidate for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mocra_scrapy.coordination.leadership import Candidate

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IElection
    from mocra_scrapy.models import Term


class Roles:
    """Owns the candidates of one worker; a component of its runtime.

    Roles belong to the backend and the key prefix, not to a crawl: put the crawl's name into the
    role if each crawl is to have one.

    Args:
        election: makes the election of a role.
        worker: the candidate's name.
        lease, renew, deadline, retry: see
            :class:`~mocra_scrapy.coordination.leadership.Candidate`, seconds.
        elected, lost: called with each term that this worker wins and loses.
    """

    def __init__(
        self,
        election: Callable[[str], IElection],
        worker: str,
        *,
        lease: float,
        renew: float,
        deadline: float,
        retry: float,
        elected: Callable[[Term], None],
        lost: Callable[[Term], None],
    ) -> None:
        self._election = election
        self._worker = worker
        self._lease, self._renew, self._deadline, self._retry = lease, renew, deadline, retry
        self._elected, self._lost = elected, lost
        self._candidates: dict[str, Candidate] = {}
        self._opened = False

    def leader(self, role: str) -> Candidate:
        """This worker as a candidate for *role*; it contends from the opening of the spider on, or
        from now.

        Raises:
            NotSupported: the backend has no elections.
        """
        known = self._candidates.get(role)
        if known is None:
            known = self._candidates[role] = Candidate(
                self._election(role),
                self._worker,
                lease=self._lease,
                renew=self._renew,
                deadline=self._deadline,
                retry=self._retry,
                elected=self._elected,
                lost=self._lost,
            )
            if self._opened:
                known.start()
        return known

    async def open(self) -> None:
        self._opened = True
        for candidate in self._candidates.values():
            candidate.start()

    async def close(self) -> None:
        """End the tasks, resign."""
        for candidate in self._candidates.values():
            await candidate.close()
