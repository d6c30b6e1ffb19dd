"""What becomes of a request when the engine has let go of it: done, back into the queue, or a dead
letter with its reason.

==================================  ==========================  ================================================
what happened                       reason                      the request
==================================  ==========================  ================================================
nothing                             –                           is done
an exception left its callback      ``callback``                ``MOCRA_ON_ERROR``
a pipeline failed on its items      ``item``                    done, with a record for each (:data:`RECORDS`)
its retries were used up            ``retry``                   dead
its download failed, not retried    ``download``                dead
offsite for this worker only        ``offsite``                 dead
a child was lost                    ``child_lost``              dead
its callback did not return         ``callback_timeout``        dead
the worker could not wait for it    –                           back into the queue, as it was
==================================  ==========================  ================================================
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scrapy import signals as scrapy_signals
from scrapy.exceptions import IgnoreRequest

from mocra_scrapy import signals
from mocra_scrapy.engine.offsite import is_offsite
from mocra_scrapy.engine.other_retries import on_given_up
from mocra_scrapy.exceptions import CodecError, MocraError
from mocra_scrapy.models import Burial, Entry, Lease
from mocra_scrapy.models.backoff import backoff
from mocra_scrapy.models.redaction import redact
from mocra_scrapy.models.wording import counted
from mocra_scrapy.worker.deliveries import CURRENT, RECORDS, Delivery
from mocra_scrapy.worker.failing_responses import FailingResponses, kind_of

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.codec.requests import IRequestCodec
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.settings.failures import FailureOptions
    from mocra_scrapy.worker.duplicates import Filter
    from mocra_scrapy.worker.outbox import Outbox
    from mocra_scrapy.worker.transactions import Transactions

logger = logging.getLogger(__name__)

#: Bytes of a letter's detail, of an item in it, and of its URL.
DETAIL_BYTES, ITEM_CHARACTERS, URL_CHARACTERS = 16 * 1024, 2000, 2000

STATS = {
    "callback": "mocra/dead/callback",
    "callback_timeout": "mocra/dead/callback_timeout",
    "child_lost": "mocra/dead/child_lost",
    "download": "mocra/dead/download",
    "item": "mocra/dead/item",
    "offsite": "mocra/dead/offsite",
    "retry": "mocra/dead/retry",
}


def bounded(text: str) -> str:
    """*text* without the passwords of URLs in it; of more than :data:`DETAIL_BYTES` the beginning
    and the end, which says what it was.
    """
    data = redact(text).encode("utf-8", "backslashreplace")
    if len(data) > DETAIL_BYTES:
        gap = b"\n... %d bytes left out ...\n"
        head, tail = DETAIL_BYTES // 4, DETAIL_BYTES - DETAIL_BYTES // 4 - len(gap) - 16
        data = data[:head] + gap % (len(data) - head - tail) + data[-tail:]
    return data.decode("utf-8", "ignore")


def trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


class Settlement:
    """Hears what goes wrong and settles deliveries accordingly.

    Args:
        filter: knows the fingerprints of requests.
        transactions: whose children are stored with their acknowledgement only.
    """

    def __init__(
        self,
        parts: WorkerParts,
        options: FailureOptions,
        outbox: Outbox,
        codec: IRequestCodec,
        stats: StatsCollector,
        *,
        filter: Filter,
        transactions: Transactions,
    ) -> None:
        self._options = options
        self._outbox = outbox
        self._codec = codec
        self._stats = stats
        self._responses = FailingResponses(parts, options, stats)
        self._fingerprint = filter.fingerprint
        self._transactions = transactions
        # In a command like `scrapy shell` nothing is put back because of an error.
        self._crawler: Crawler | None = None
        self._retries = options.on_error == "retry" and not parts.one_off

    # ------------------------------------------------------------------ what goes wrong

    def hook_in(self, crawler: Crawler, engine: EngineHooks) -> None:
        """Hear of it from now on, and tell of what is given up."""
        self._crawler = crawler
        engine.on_download_failed(self.download_failed)
        on_given_up(crawler, self.retries_used_up)
        crawler.signals.connect(self.spider_error, scrapy_signals.spider_error)
        crawler.signals.connect(self.item_error, scrapy_signals.item_error)

    def spider_error(self, failure: Any) -> None:
        """An exception left a callback, an errback or a spider middleware."""
        if (delivery := _current()) is not None:
            delivery.undone = True
            delivery.fail(
                "callback", failure.getTraceback(), kind_of("callback", failure.value, failure.getTracebackObject())
            )

    def item_error(self, item: Any, failure: Any) -> None:
        """An exception left an item pipeline."""
        self._stats.inc_value("mocra/item/failed")
        if (delivery := _current()) is not None:
            try:
                shown = repr(item)[:ITEM_CHARACTERS]
            except Exception as error:
                shown = f"an item whose repr() fails: {error!r}"
            kind = kind_of("item", failure.value, failure.getTracebackObject())
            delivery.record(f"{shown}\n{failure.getTraceback()}", kind)

    def download_failed(self, failure: Any) -> None:
        """A download failed for good and no errback took it. A request that was ignored on purpose
        is none of these; but what was on site for whoever stored it is no business of this worker's
        offsite filter.
        """
        delivery = _current()
        if delivery is None:
            return
        if not isinstance(failure.value, IgnoreRequest):
            delivery.fail("download", failure.getTraceback())
        elif delivery.lease is not None and is_offsite(failure.value):
            self._offsite(delivery)

    def _offsite(self, delivery: Delivery) -> None:
        told = f"{delivery.request} was on site for the worker that stored it, and is not for this one"
        if not self._stats.get_value(STATS["offsite"]):
            logger.error(
                "%s: a dead letter now, as all further ones (mocra/dead/offsite). Start all workers with the same"
                " allowed_domains, then scrapy mocra dead replay SPIDER --reason offsite",
                told,
            )
        delivery.fail("offsite", f"{told}: allowed_domains differ")

    def retries_used_up(self, request: Request, reason: Any) -> None:
        """The project's own retry middleware gave *request* up."""
        delivery = _current()
        if delivery is None or delivery.request is not request or not self._options.dead_retries:
            return
        told = trace(reason) if isinstance(reason, BaseException) else str(reason)
        delivery.fail("retry", f"Given up after {counted(request.meta.get('retry_times', 0), 'retry')}: {told}")

    def child_failed(self, request: Request, error: Exception) -> None:
        """*request*, just yielded, can neither be stored nor kept."""
        logger.error("Request %s can't be kept: %s", request, error, exc_info=not isinstance(error, MocraError))
        self._stats.inc_value("mocra/scheduler/enqueue_failed")
        if (delivery := _current()) is not None:
            delivery.undone = delivery.undone or (delivery.held is not None and delivery.held.leaving is request)
            delivery.fail("child_lost", f"{request}\n{trace(error)}", kind_of("child_lost", error))

    # ------------------------------------------------------------------ what becomes of it

    def settle(self, delivery: Delivery) -> None:
        """Put into the outbox what is to happen with *delivery*'s entry."""
        lease, fault, records = delivery.lease, delivery.fault, delivery.records
        if delivery.undone or delivery.returned:
            self._transactions.roll_back(delivery)
        if lease is None:
            if delivery.parent is None and (fault or records):
                self._nowhere(delivery)
        elif delivery.returned:
            self._outbox.release([lease])
        elif fault is None and not records:
            self._end(delivery, lease)
        elif fault is not None and fault[0] == "callback" and self._retries and self._put_back(delivery, lease):
            self._transactions.roll_back(delivery)  # it comes again, and yields all of it
            self._end(delivery, lease)
        else:
            self._bury(delivery, lease)

    def _end(self, delivery: Delivery, end: Lease | tuple[Burial, ...]) -> None:
        """Into the outbox, with what it was to take along."""
        held, delivery.held = delivery.held, None
        if held is not None and held.pushes:
            self._outbox.together(held.pushes, end)
        elif isinstance(end, Lease):
            self._outbox.ack(end)
        else:
            self._outbox.bury(*end)

    def _put_back(self, delivery: Delivery, lease: Lease) -> bool:
        """Once more, later, as it was stored. ``False``: it was tried often enough, or can't be
        read.

        A new entry before the acknowledgement of the old one: whatever is lost between, one of the
        two is there.
        """
        errors = delivery.failures.errors + 1
        if errors >= self._options.max_deliveries:
            return False
        try:
            request = self._codec.decode(lease.body)
            request.meta["mocra_failures"] = delivery.failures.one_more(error=True)
            body = self._codec.encode(request)
        except CodecError as error:
            logger.error("%s can't be put back after an error in its callback: %s", delivery.request, error)
            return False
        delay = backoff(errors, self._options.retry_base, self._options.retry_cap)
        again = Entry(
            body, lease.slot, lease.priority, None, lease.start, delay, lease.scopes, lease.budgets, again=True
        )
        self._outbox.push(again, request)
        self._stats.inc_value("mocra/retry/errors")
        return True

    def _bury(self, delivery: Delivery, lease: Lease) -> None:
        request, fault, records = delivery.request, delivery.fault, delivery.records
        assert request is not None
        retries = request.meta.get("retry_times", 0)
        more: dict[str, Any] = {
            "url": redact(request.url)[:URL_CHARACTERS],
            "fingerprint": self._fingerprint_of(request),
            "retries": max(delivery.failures.times, retries if isinstance(retries, int) else 0),
            "first_failed_at": delivery.failures.first_at,
        }
        burials = []
        body = self._fresh(delivery, lease)
        if fault is not None:
            done = fault[0] == "callback" and self._options.on_error == "ack"
            # Of a transactional one nothing is kept then; but what failed may be a child that stays here.
            done = done and not (delivery.undone and self._transactions.is_meant(request))
            burials.append(Burial(lease, fault[0], bounded(fault[1]), done, body, kind=delivery.kind, **more))
        for at, record in enumerate(records):
            left = delivery.failed_items - RECORDS if at == RECORDS - 1 else 0
            said = f"{counted(left, 'more item')} of this request failed; this one:\n{record}" if left > 0 else record
            more["kind"], done = delivery.record_kinds[at], fault is None or burials[0].done
            burials.append(Burial(lease, "item", bounded(said), done, body, **more))
        for burial in burials:
            self._stats.inc_value(STATS[burial.reason])
            self._tell(request, burial)
        self._end(delivery, tuple(self._with_response(delivery, burials)))

    def _tell(self, request: Request, burial: Burial) -> None:
        if self._crawler is not None:
            self._crawler.signals.send_catch_log(
                signals.request_buried,
                spider=self._crawler.spider,
                request=request,
                reason=burial.reason,
                kind=burial.kind,
                record=burial.done,
                detail=burial.detail,
            )

    def _with_response(self, delivery: Delivery, burials: list[Burial]) -> Iterator[Burial]:
        """The same, with what the site answered at the first one of each kind: the others are of the same page."""
        kinds = set()
        for burial in burials:
            yield burial if burial.kind in kinds else self._responses.offered_with(burial, delivery)
            kinds.add(burial.kind)

    def _fingerprint_of(self, request: Request) -> bytes | None:
        try:
            return None if self._fingerprint is None else self._fingerprint(request)
        except Exception:
            return None  # a project's own fingerprinter may refuse; the letter is worth more than it

    def _fresh(self, delivery: Delivery, lease: Lease) -> bytes | None:
        """What a replay puts back: the request without its count of retries, or it would give up at
        once. ``None``: as it was stored.
        """
        request = delivery.request
        if request is None or not (delivery.failures.times or "retry_times" in request.meta):
            return None
        try:
            stored = self._codec.decode(lease.body)
            stored.meta.pop("retry_times", None)
            stored.meta.pop("mocra_failures", None)
            return self._codec.encode(stored)
        except CodecError:
            return None

    def _nowhere(self, delivery: Delivery) -> None:
        """Only this process knew the request, and nothing that is stored would make it again: all
        that is left is to say so.
        """
        self._stats.inc_value("mocra/dead/unkept")
        reason, detail = delivery.fault or ("item", delivery.records[0])
        logger.error(
            "%s failed (%s) and can't be kept as a dead letter, because it can't be stored: %s",
            delivery.request or "A request of start()",
            reason,
            bounded(detail),
        )


def _current() -> Delivery | None:
    delivery = CURRENT.get()
    return None if delivery is None or delivery.settled else delivery
