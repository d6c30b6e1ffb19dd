"""From the engine to the outbox: what becomes of a request that was just yielded."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from mocra_scrapy.engine.slot_delay import assigned_slot_dropped
from mocra_scrapy.exceptions import MocraError, UnserializableRequest
from mocra_scrapy.models import Entry
from mocra_scrapy.worker.deliveries import CURRENT
from mocra_scrapy.worker.entry_names import named, take_name, unnamed
from mocra_scrapy.worker.inbox import Local

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

    from mocra_scrapy.codec.dictionaries import CompressingCodec
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.worker.budgets import BudgetBook
    from mocra_scrapy.worker.delays import RequestedDelays
    from mocra_scrapy.worker.duplicates import Filter
    from mocra_scrapy.worker.local_requests import LocalRequests
    from mocra_scrapy.worker.outbox import Outbox
    from mocra_scrapy.worker.queue_status import QueueStatus
    from mocra_scrapy.worker.request_cache import RequestCache
    from mocra_scrapy.worker.seeding import Seeder
    from mocra_scrapy.worker.settlement import Settlement
    from mocra_scrapy.worker.slot_policy import SlotPolicy
    from mocra_scrapy.worker.transactions import Transactions

logger = logging.getLogger(__name__)

#: Seconds after which a callback that waits for room looks whether the worker closes meanwhile:
#: closing is no answer of the queue.
LOOK = 0.5
#: Of budgets, where there are none.
NO_NAMES: tuple[str, ...] = ()


class Intake:
    """Takes requests in: filtered, encoded, put into the outbox; or kept, where they can't be
    stored.
    """

    def __init__(
        self,
        crawler: Crawler,
        parts: WorkerParts,
        status: QueueStatus,
        engine: EngineHooks,
        outbox: Outbox,
        *,
        filter: Filter,
        delays: RequestedDelays,
        codec: CompressingCodec,
        cache: RequestCache,
        policy: SlotPolicy,
        local: LocalRequests,
        seeder: Seeder,
        settlement: Settlement,
        budgets: BudgetBook,
        transactions: Transactions,
    ) -> None:
        self._crawler = crawler
        self._options, self._state = parts.options, parts.state
        self._status = status
        self._engine = engine
        self._outbox = outbox
        self._filter = filter
        self._delays = delays
        self._codec = codec
        self._cache = cache
        self._policy = policy
        self._local = local
        self._seeder = seeder
        self._settlement = settlement
        self.transactions, self.budgets = transactions, budgets
        self._refused: Request | None = None

    def take(self, request: Request) -> bool:
        """Take *request* in; ``False`` when it is a known duplicate. Never raises for what a
        callback yields: Scrapy would lose the request and could hang.

        One that can't be kept at all is logged and counted, and its parent becomes a dead letter
        instead of being acknowledged. One of ``start()`` has no parent: its error ends ``start()``,
        as in Scrapy, and the crawl is not seeded.
        """
        seed = self._seeder.is_seed(request)
        try:
            return self._take(request, seed)
        except Exception as error:
            if seed:
                if not self._seeder.fed:
                    self._tell(request, error)
                raise
            self._settlement.child_failed(request, error)
            return False
        finally:
            if seed:
                self._seeder.taken()

    def _tell(self, seed: Request, error: Exception) -> None:
        """Once for each: the seeder tries it, and the engine does, whose log begins with a
        traceback.
        """
        if seed is not self._refused and isinstance(error, MocraError):
            self._refused = seed
            logger.error("Request %s of start() can't be kept, the spider closes: %s", seed, error)

    def _take(self, request: Request, seed: bool) -> bool:
        seen, fingerprint = self._filter.look(request, self._crawler.spider)
        if seen:
            return False
        budgets, again = self.budgets, False
        if budgets.is_on:
            budgets.name_seed(request, is_seed=seed)
        assigned_slot_dropped(request)  # of a redirect or a copied meta: the host that is asked counts
        delay, slot, names = self._delays.take(request), self._engine.slot_of(request), NO_NAMES
        if budgets.is_on:
            names, again = budgets.names_of(request, slot), False
            again = budgets.comes_again(request, names)
            if not again and budgets.is_too_deep(request, names):
                return False
        if self._state.names_entries:
            request = unnamed(request) if seed else named(unnamed(request))
        if self._state.on_intake is not None and not seed:
            self._state.on_intake(request)
        try:
            payload = self._codec.encode(request)
        except UnserializableRequest as error:
            take_name(request)
            if seed and self._seeder.fed:
                raise  # what came from a source must not hang on this process
            parent = self._seeder.delivery if seed else CURRENT.get()
            self._local.add(Local(request, slot, parent), error, delay)
            self._filter.remember(fingerprint)
            return True
        name = self._seeder.fingerprint(fingerprint, payload) if seed else fingerprint
        if self._state.names_entries and seed:  # the filter knows it by what it is without
            request = named(request, None if name is None else b"%d %b" % (self._status.state.run, name))
            payload = self._codec.encode(request)
        body = self._codec.pack(payload, request)
        scopes = self._policy.scopes_of(slot, request)
        start = self._options.start_queue and bool(request.meta.get("is_start_request"))
        entry = Entry(body, slot, request.priority, name, start, delay, scopes, names, again)
        if not self.transactions.take(entry, request):
            self._outbox.push(entry, request)
        self._cache.add(body, request)
        self._filter.remember(name)
        self._status.kick()
        return True

    def is_known(self, request: Request) -> bool:
        """Whether this process knows *request* to be a duplicate; it is counted then."""
        return self._filter.is_known(request, self._crawler.spider)

    async def room(self) -> None:
        """Let the loop run, and have a callback wait while more than ``MOCRA_OUTBOX_MAX`` requests
        are not stored yet.
        """
        await asyncio.sleep(0)
        while not self._status.closing and self._outbox.is_full(self._options.outbox_max):
            self._status.kick()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._status.changed(), LOOK)
