"""Which budgets a request counts for, and what this worker has to say of them (``MOCRA_BUDGETS``)."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mocra_scrapy.codec.secrets import Secrets
from mocra_scrapy.engine.hooks import slot_of
from mocra_scrapy.exceptions import CodecError
from mocra_scrapy.models import NO_LIMITS, Budgeting, Spent
from mocra_scrapy.models.budgets import budget_name
from mocra_scrapy.settings.budgets import BudgetRules
from mocra_scrapy.settings.domains import registrable_domain
from mocra_scrapy.worker.deliveries import CURRENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scrapy import Request
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.codec.requests import IRequestCodec
    from mocra_scrapy.models import Bounds, Exchange, Withdrawn
    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.worker.deliveries import Delivery
    from mocra_scrapy.worker.duplicates import Filter
    from mocra_scrapy.worker.outbox import Batch

logger = logging.getLogger(__name__)

#: ``meta["mocra_seed"]``: the seed that a request comes from.
META_SEED = "mocra_seed"
#: Characters of a seed's name, and of any name: what is longer is cut, and told apart by its hash.
LENGTH = 200
#: Names whose limits are told anew in one call, after these changed.
MOST_TOLD = 500
#: Budgets of names of which it is logged that they are used up.
LOGGED = 20

STATS = {
    "pages": "mocra/budget/refused/pages",
    "queued": "mocra/budget/refused/queued",
    "bytes": "mocra/budget/refused/bytes",
    "errors": "mocra/budget/refused/errors",
    "time": "mocra/budget/refused/time",
    "depth": "mocra/budget/refused/depth",
}


class BudgetBook:
    """Of one worker. Where no budgets are set (:attr:`is_on`) nobody asks it anything.

    Args:
        in_flight: ``id()`` of a request -> its delivery, of those that the queue handed out.

    Attributes:
        rules: as they are now, with what was changed while the crawl runs.
        is_on: whether there are any: asked several times for each page.
    """

    def __init__(
        self,
        parts: WorkerParts,
        in_flight: Mapping[int, Delivery],
        filter: Filter,
        *,
        codec: IRequestCodec,
        stats: StatsCollector,
    ) -> None:
        self.rules: BudgetRules = parts.live_options().budgets
        self.is_on = bool(self.rules)
        self._shown = Secrets(parts.options.secret_params).url
        self._state, self._crawl = parts.state, parts.crawl
        self._in_flight, self._filter, self._codec, self._stats = in_flight, filter, codec, stats
        self._told_at = time.time()
        self._untold: list[str] = []
        self._spent: dict[str, Spent] = {}
        self._logged: Counter[tuple[str, str]] = Counter()

    def change(self, rules: BudgetRules) -> None:
        """*rules* hold from now on, also for what other workers have stored."""
        self._filter.forget()  # what was withdrawn here or elsewhere may come in again
        self._untold = list(dict.fromkeys([*self._untold, *rules.known, *self.rules.known]))
        self.rules, self.is_on, self._told_at = rules, bool(rules), time.time()

    # ------------------------------------------------------------------ what counts for what

    def names_of(self, request: Request, slot: str) -> tuple[str, ...]:
        """The names that *request* counts for, of those that have limits."""
        rules, names = self.rules, []
        if rules.has("slot"):
            names.append(budget_name("slot", _bounded(slot)))
        if rules.has("domain"):
            names.append(budget_name("domain", _bounded(registrable_domain(urlsplit(request.url).hostname or ""))))
        if rules.has("seed") and (seed := request.meta.get(META_SEED)) is not None:
            names.append(budget_name("seed", _bounded(str(seed))))
        return tuple(name for name in names if rules.of(name) is not None)

    def name_seed(self, request: Request, *, is_seed: bool) -> None:
        """Write into *request* what seed it comes from: itself, or that of the request that made it."""
        if not self.rules.has("seed") or META_SEED in request.meta:
            return
        if is_seed:
            request.meta[META_SEED] = self._seed_of(request.url)
        elif (parent := CURRENT.get()) is not None and parent.request is not None:
            seed = parent.request.meta.get(META_SEED)
            if seed is not None:
                request.meta[META_SEED] = seed

    def _seed_of(self, url: str) -> str:
        shown = self._shown(url)
        return _bounded(shown) if shown == url else f"{_bounded(shown)}#{_digest(url)}"

    def comes_again(self, request: Request, names: Sequence[str]) -> bool:
        """Whether *request* was accepted before: it is a retry, was put off, or is a redirect of what
        was counted for all of *names*.
        """
        meta, current = request.meta, CURRENT.get()
        before = None if current is None else current.request
        if before is None or current is None:
            return False
        if "redirect_urls" in meta and [*before.meta.get("redirect_urls", ()), before.url] == meta["redirect_urls"]:
            return current.lease is not None and set(names) <= set(current.lease.budgets)
        is_retry = request.dont_filter and ("mocra_failures" in meta or "retry_times" in meta)
        return is_retry and (before.url, before.method) == (request.url, request.method)

    def is_too_deep(self, request: Request, names: Sequence[str]) -> bool:
        """Whether *request* is deeper than a budget allows; it is counted then."""
        depth = request.meta.get("depth", 0)
        for name in names:
            limits = self.rules.of(name)
            if limits is not None and limits.depth is not None and depth > limits.depth:
                self._count("depth", 1, name)
                self._state.skipped("budget/depth", slot_of(request), request.url, 1)
                return True
        return False

    # ------------------------------------------------------------------ what was spent

    def spent(self, request: Request, slot: str, size: int, *, failed: bool) -> None:
        """An attempt ended with *size* bytes. What the queue did not hand out (robots.txt, files) counts
        with its bytes only.
        """
        errors = int(failed and id(request) in self._in_flight)
        for name in self.names_of(request, slot):
            before = self._spent.get(name, Spent())
            self._spent[name] = Spent(before.bytes + size, before.errors + errors)

    def say(self, bounds: Bounds, batch: Batch) -> Bounds:
        """*bounds* with what the store has to know for *batch*; what was spent is told with it."""
        spent, self._spent = self._spent, {}
        changed = self._untold[:MOST_TOLD]
        del self._untold[:MOST_TOLD]
        names = {*spent, *changed}
        for push in batch.pushes:
            names.update(push.entry.budgets)
        limits = {name: found.counted for name in names if (found := self.rules.of(name)) is not None}
        limits.update({name: NO_LIMITS for name in changed if name not in limits})  # a budget was taken out
        return replace(bounds, budgets=Budgeting(self._told_at, limits, spent, changed))

    # ------------------------------------------------------------------ what was refused

    def answered(self, batch: Batch, exchange: Exchange) -> None:
        """Count what the store refused of *batch*, and what it withdrew."""
        for place, which in exchange.refused.items():
            push = batch.pushes[place]
            if push.entry.fingerprint is not None:
                self._filter.forget_one(push.entry.fingerprint)
            self._count(which, 1, ", ".join(self._limited_in(which, push.entry.budgets)))
            self._state.skipped(f"budget/{which}", push.entry.slot, push.request.url if push.request else "", 1)
        for told in exchange.withdrawn:
            self._withdrawn(told)

    def _limited_in(self, which: str, names: Sequence[str]) -> list[str]:
        found = ((name, self.rules.of(name)) for name in names)
        return [name for name, limits in found if limits and getattr(limits.counted, which) is not None]

    def _withdrawn(self, told: Withdrawn) -> None:
        """What waited is gone."""
        self._count(told.which, told.number, f"slot {told.slot}")
        urls = [""]
        for body in told.bodies:
            try:
                urls.append(self._codec.decode(body).url)
            except CodecError as error:
                logger.debug("A withdrawn request of slot %s can't be read: %s", told.slot, error)
        left = told.number - len(urls) + 1
        for url in urls:
            self._state.skipped(f"budget/{told.which}", told.slot, url, 1 if url else left)

    def _count(self, which: str, number: int, of: str) -> None:
        self._stats.inc_value("mocra/budget/refused", number)
        self._stats.inc_value(STATS[which], number)
        if (which, of) not in self._logged and len(self._logged) < LOGGED:
            self._logged[which, of] = 1
            logger.info(
                "Over the budget of %s (%s): not crawled. No more of these will be logged (stats are collected as %s; all"
                " counts: scrapy mocra budgets look --crawl %s)",
                which,
                of,
                STATS[which],
                self._crawl,
            )


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()


def _bounded(name: str) -> str:
    return name if len(name) <= LENGTH else f"{name[:LENGTH]}…{_digest(name)}"
