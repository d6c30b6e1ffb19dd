"""``MOCRA_TRANSACTIONAL``: what a callback yields is stored with its acknowledgement, or not at all.

===============================  ============================================================================
what is between two steps        what a crash there leaves
===============================  ============================================================================
yielded, callback not exhausted  nothing: it is held in this process
items leave the pipelines        items; the page comes again, and yields them once more
children and acknowledgement     nothing or all: one call of the queue
===============================  ============================================================================

A callback that fails leaves nothing but its dead letter, which is no record of a page that is done:
a replay makes all of it. Any other fault of its page (retries that are used up, a child that stays in
this process and fails) undoes nothing: the dead letter and the children are stored together.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from mocra_scrapy.engine.held_output import Held
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.worker.deliveries import CURRENT
from mocra_scrapy.worker.outbox import MOST_BYTES
from mocra_scrapy.worker.pushes import Children, Push

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.engine.callback_output import Output
    from mocra_scrapy.models import Entry
    from mocra_scrapy.settings.failures import FailureOptions
    from mocra_scrapy.worker.deliveries import Delivery
    from mocra_scrapy.worker.duplicates import Filter

logger = logging.getLogger(__name__)

NOTHING = "Nothing of what"
FIX = 'or give the request meta={"mocra_transactional": False}'


class Transactions:
    """Of one worker. Where nothing is transactional a page costs it a look into its ``meta``."""

    def __init__(self, options: FailureOptions, filter: Filter, stats: StatsCollector) -> None:
        self._all, self._most = options.transactional, options.transactional_max
        self._filter = filter
        self._stats = stats
        self._any = self._told = False

    def check(self, output: Output | None, *, in_engine: bool) -> None:
        """*output* processes what callbacks give; ``None``: somebody else does, or there is no engine.

        Raises:
            ConfigurationError: nothing can be held.
        """
        if output is None and in_engine and self._all:
            raise ConfigurationError(
                "MOCRA_TRANSACTIONAL",
                "another component has replaced handle_spider_output_async of Scrapy's scraper: nothing can be held",
                "Take that component out, or set MOCRA_TRANSACTIONAL = False",
            )

    def is_meant(self, request: Request) -> bool:
        """Whether all of what the callback of *request* yields is to be stored, or nothing."""
        if "mocra_transactional" not in request.meta:
            return self._all
        value = request.meta["mocra_transactional"]
        if isinstance(value, bool):
            return value
        if not self._told:
            self._told = True
            logger.error(
                "Request %s, meta: mocra_transactional: %r is neither True nor False; MOCRA_TRANSACTIONAL = %r counts. No more"
                " such requests will be logged",
                request,
                value,
                self._all,
            )
        return self._all

    def hold(self, request: Request) -> Held | None:
        """The callback of *request* is about to yield; ``None``: its output is taken in as it comes."""
        if not self.is_meant(request):
            return None
        delivery = CURRENT.get()
        if delivery is None or delivery.lease is None or delivery.request is not request:
            return None  # nobody will be acknowledged
        self._any = True
        held = delivery.held = delivery.held or Children()
        return Held(
            self._most,
            lambda: self._too_many(delivery, request),
            self._undone,
            most_bytes=MOST_BYTES,
            too_large=lambda: self._too_large(delivery, request),
            leaving=held.leave,
        )

    def take(self, entry: Entry, request: Request) -> bool:
        """Whether *entry* is held until the delivery in whose course we are is acknowledged."""
        if not self._any:
            return False
        delivery = CURRENT.get()
        if delivery is None or delivery.settled or delivery.held is None or delivery.held.leaving is not request:
            return False
        held, push = delivery.held, Push(replace(entry, parent=delivery.lease), request)
        if held.bytes + len(entry.body) <= MOST_BYTES:
            held.add(push)
        elif not held.is_too_large:
            held.is_too_large = True
            self._too_large(delivery, delivery.request, what="None of the requests that")
        return True

    def _too_large(self, delivery: Delivery, request: Request | None, what: str = NOTHING) -> None:
        told = f"its requests take more than {MOST_BYTES} bytes, and are to be stored with one call"
        self._fail(delivery, request, f"{told}. Yield fewer or smaller ones, {FIX}", what)

    def _too_many(self, delivery: Delivery, request: Request) -> None:
        told = f"requests and items, which are held until it is exhausted, than MOCRA_TRANSACTIONAL_MAX = {self._most}"
        self._fail(delivery, request, f"it has more {told}. Raise that, {FIX}")

    def _fail(self, delivery: Delivery, request: Request | None, told: str, what: str = NOTHING) -> None:
        logger.error("%s the callback of %s yielded was kept: %s", what, request, told)
        delivery.undone = True
        delivery.fail("child_lost", f"{request}: {told}")

    def _undone(self, number: int) -> None:
        self._stats.inc_value("mocra/transaction/undone", number)

    def roll_back(self, delivery: Delivery) -> None:
        """*delivery* is not acknowledged: its children are forgotten, and welcome later."""
        if delivery.held is None:
            return
        self._stats.inc_value("mocra/transaction/rolled_back")
        if delivery.held.pushes:
            self._undone(len(delivery.held.pushes))
        for push in delivery.held.pushes:
            if push.entry.fingerprint is not None:
                self._filter.forget_one(push.entry.fingerprint)
        delivery.held = None
