"""What a worker does when the crawl's record is gone: somebody deleted it, or the server came back
empty.

Everything that this process knows of the crawl is about a state that no longer exists, so it is
forgotten, and the crawl is begun anew: the first worker that notices joins and seeds, the others
join it. What was in flight is finished; its acknowledgements are refused, its links are stored.

A ``DUPEFILTER_CLASS`` of the project's own can't be told to forget: it would drop as known what only
the lost state had. A worker with such a filter closes, and its next start crawls everything.

A worker that is left from a run that ended seeds the next one as well, should it come to that:
whoever began it may die before it has seeded.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import ConfigurationError, MocraError
from mocra_scrapy.models import Seeding
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.codec.dictionaries import CompressingCodec, Insist
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.models import CrawlState
    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.worker.duplicates import Filter
    from mocra_scrapy.worker.inbox import Inbox
    from mocra_scrapy.worker.queue_status import QueueStatus
    from mocra_scrapy.worker.seeding import Seeder
    from mocra_scrapy.worker.slot_policy import SlotPolicy

logger = logging.getLogger(__name__)

#: The reason with which a spider closes that can't begin anew.
STATE_LOST = "mocra_state_lost"


class LostState:
    """Notices that the record is gone, and begins anew.

    Args:
        insist: repeats a call until the backend answers.
    """

    def __init__(
        self,
        parts: WorkerParts,
        status: QueueStatus,
        engine: EngineHooks,
        *,
        inbox: Inbox,
        filter: Filter,
        policy: SlotPolicy,
        codec: CompressingCodec,
        seeder: Seeder,
        stats: StatsCollector,
        insist: Insist,
    ) -> None:
        self._session = parts.session
        self._crawl = parts.crawl
        self._worker_state = parts.state
        self._status = status
        self._engine = engine
        self._inbox = inbox
        self._filter = filter
        self._policy = policy
        self._codec = codec
        self._seeder = seeder
        self._stats = stats
        self._insist = insist
        self._known = status.state
        self._seeding: asyncio.Task[None] | None = None

    def is_news(self, state: CrawlState) -> bool:
        """Whether :meth:`look` would have anything to do."""
        same = state.born == self._known.born and state.run == self._known.run
        return not same and not self._status.closing

    async def look(self, state: CrawlState) -> CrawlState:
        """*state* as an answer said it, or, when it is of another record than the one that was
        joined, that of the record that this worker has joined now.

        Raises:
            OtherJob: meanwhile another job was begun under this name.
        """
        same = state.born == self._known.born and state.run >= self._known.run
        if same or self._status.closing:
            if state.run > self._known.run and not self._status.closing:
                await self._insist(lambda _: self._session.stay(self._crawl))
                self._known = state
                if not state.finished and state.seeding is not Seeding.DONE:
                    await self._seed()
            return state
        logger.error(
            "The backend has lost crawl %r: %s. This worker forgets what it knows of it, joins again and seeds again;"
            " pages may be fetched a second time",
            self._crawl,
            "another worker began it anew" if state.run else "its record is gone",
        )
        self._stats.inc_value("mocra/worker/state_lost")
        self._stats.inc_value("mocra/worker/state_lost_requests", self._inbox.leased)
        joined: CrawlState = await self._insist(lambda _: self._session.join())
        self._known = self._status.state = joined
        self._worker_state.rejoined(joined)
        self._status.finished = False
        forgets = self._filter.forget()
        self._codec.doubt()
        self._inbox.give_back()  # refused, but for what the queue still has
        self._policy.on_lost()
        if forgets:
            await self._seed()
        else:
            knows = ConfigurationError(
                "DUPEFILTER_CLASS",
                "it is a filter of the project's own, which would drop the links to what only the lost crawl had",
                "Start this worker again, or delete that setting to filter over the whole cluster",
            )
            self._give_up(knows)
        return joined

    async def _seed(self) -> None:
        """Become one of those that may seed."""
        await self.close()
        self._seeding = asyncio.create_task(self._seed_again(), name="mocra seeding again")

    async def _seed_again(self) -> None:
        """Nobody's ``start()`` counts any more; one of the workers runs its own again."""
        try:
            if not await self._engine.start_again(self._seeder.run):
                await self._insist(lambda _: self._seeder.nothing_to_seed())
        except MocraError as error:
            self._give_up(error)
        except Exception as error:
            logger.debug("start() can't be run again", exc_info=True)
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        logger.error("Crawl %r can't be seeded again in this worker, which closes: %s", self._crawl, error)
        self._engine.close_spider(STATE_LOST)

    async def close(self) -> None:
        """Nothing is seeded again any more. May be called twice."""
        task, self._seeding = self._seeding, None
        if task is not None:
            await end_tasks([task])


def tell_what_is_gone(crawl: str, requests: int) -> None:
    """The process ends, and with it the only place where so many requests of *crawl* are."""
    if requests:
        logger.warning(
            "Not done, and gone with this process: %s of crawl %r. memory:// keeps nothing; with a Redis URL in"
            " MOCRA_BACKEND the next start would resume",
            counted(requests, "request"),
            crawl,
        )
