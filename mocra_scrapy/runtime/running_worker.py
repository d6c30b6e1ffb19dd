"""The inside of an open worker, as far as anybody outside may touch it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.models import CrawlState, QueueSize
    from mocra_scrapy.runtime.feeding import Feeder
    from mocra_scrapy.settings.budgets import BudgetRules


class RunningWorker(Protocol):
    """The inside of an open worker, as far as anybody outside may touch it."""

    @property
    def held(self) -> dict[str, int]:
        """What it has, by where: in flight in the engine, leased ahead, not confirmed by the queue,
        in the downloader.
        """

    @property
    def away(self) -> bool:
        """Whether the backend does not answer."""

    @property
    def run(self) -> int:
        """The crawl's run that it works on."""

    @property
    def state(self) -> CrawlState:
        """Where the crawl stands, as the last answer of the queue said."""

    @property
    def size(self) -> QueueSize:
        """What the queue holds, as the last answer said; over all workers."""

    def take_work(self) -> None:
        """Lease what can be fetched."""

    def give_back(self) -> None:
        """Lease no more, and give back what was leased ahead."""

    def take_no_more(self) -> None:
        """Lease no more, seed no more; what is held is finished."""

    def look_again(self) -> None:
        """Something changed: it may want more, or the engine may start more."""

    @property
    def feeder(self) -> Feeder:
        """Takes in what sources give."""

    def close_spider(self, reason: str) -> None:
        """Close its spider with *reason*, in a task of its own."""

    def set_concurrency(self, number: int) -> None:
        """``CONCURRENT_REQUESTS`` from now on."""

    def leaves(self, request: Request) -> Coroutine[Any, Any, Request | None] | None:
        """*request* is about to leave; ``None``: it may. The coroutine waits until it may, and
        answers with *request* where it is to go back into the queue instead.
        """

    def not_sent(self, request: Request) -> None:
        """*request* was answered or refused without having left."""

    def waited(self, request: Request) -> bool:
        """*request* waited for something that may have given its slot an interval. Whether that is
        looked at where it leaves.
        """

    def has_interval(self, slot: str, *, longer: bool) -> None:
        """*slot* has an interval from now on, which what was leased before does not know. *longer*: than
        what was booked before knows: that is booked anew where it leaves.
        """

    def send_back(self, request: Request) -> bool:
        """Whether *request* goes back into the queue as it was, when who asks returns it: it was handed
        out by the queue, and not sent.
        """


class Budgets(Protocol):
    """What a worker counts for ``MOCRA_BUDGETS``. *is_on*: whether there are any."""

    rules: BudgetRules
    is_on: bool  #: whether there are any

    def change(self, rules: BudgetRules) -> None:
        """*rules* hold from now on."""

    def spent(self, request: Request, slot: str, size: int, *, failed: bool) -> None:
        """An attempt of *slot* ended with *size* bytes."""
