"""Which responses are kept beside dead letters: the first ones of each kind of failure, as far as this
worker knows. The queue counts exactly, over all workers; here is only seen to it that what would be
refused is neither packed nor sent each time.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from scrapy.http import Response

from mocra_scrapy.codec.responses import StoredResponse
from mocra_scrapy.models import Burial

if TYPE_CHECKING:
    from types import TracebackType

    from scrapy import Request
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.settings.failures import FailureOptions
    from mocra_scrapy.worker.deliveries import Delivery

logger = logging.getLogger(__name__)

#: Characters of a kind, and kinds that are remembered.
KIND_CHARACTERS, KINDS = 200, 1000
#: Seconds after a refusal before a kind is offered again: letters may have been replayed meanwhile.
FULL = 60.0
#: Bytes of bodies that wait for the backend, at most; those of more are packed in a thread.
WAITING_BYTES, LARGE = 16 * 2**20, 64 * 1024
#: Whose lines are not where an exception comes from, if a project's own are among the others; nor are those
#: of what is installed.
NOT_THE_PROJECT = frozenset(("scrapy", "mocra_scrapy", *sys.stdlib_module_names))
INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class AnsweredBurial(Burial):
    """A burial that brings a response.

    Attributes:
        answer: as long as it is not packed.
        owner: hears whether it was kept.
    """

    owner: FailingResponses = field(kw_only=True, repr=False, compare=False)
    answer: StoredResponse | None = field(default=None, repr=False)

    @property
    def response_bytes(self) -> int:
        return len(self.response or b"") if self.answer is None else len(self.answer.body)

    @classmethod
    def of(cls, burial: Burial, kind: str, answer: StoredResponse, owner: FailingResponses) -> AnsweredBurial:
        """*burial*, which brings *answer*."""
        more = {one.name: getattr(burial, one.name) for one in fields(Burial)}
        return cls(**{**more, "kind": kind}, answer=answer, owner=owner)

    async def packed(self) -> AnsweredBurial:
        """The same, ready to be sent. What is large is packed in a thread; what can't be packed is left
        out: the letter is worth more.
        """
        if self.answer is None:
            return self
        self.owner.let_go(len(self.answer.body))
        large = len(self.answer.body) > LARGE
        try:
            packed = await asyncio.to_thread(self.answer.pack) if large else self.answer.pack()
        except Exception as error:
            self.owner.left_out(self.url, error)
            packed = None
        return replace(self, response=packed, answer=None)


def kind_of(reason: str, error: BaseException, traceback: TracebackType | None = None) -> str:
    """What kind of failure it is that *error* left a callback or pipeline: its class, and the
    innermost line of the project that it came from.
    """
    place, innermost = "", ""
    at = traceback or error.__traceback__
    while at is not None:
        module, code = str(at.tb_frame.f_globals.get("__name__", "?")), at.tb_frame.f_code
        innermost = f"{module}:{at.tb_lineno} in {code.co_name}"
        if module.partition(".")[0] not in NOT_THE_PROJECT and not any(one in code.co_filename for one in INSTALLED):
            place = innermost
        at = at.tb_next
    return f"{reason} {type(error).__name__} {place or innermost}"[:KIND_CHARACTERS]


def response_of(result: Any) -> Response | None:
    """What a callback or errback was called with: the response itself, or that of its Failure, where
    one was the reason of it.
    """
    if not isinstance(result, Response):
        result = getattr(getattr(result, "value", None), "response", None)
    return result if isinstance(result, Response) else None


class FailingResponses:
    """Of one worker."""

    def __init__(self, parts: WorkerParts, options: FailureOptions, stats: StatsCollector) -> None:
        queue = parts.options.queue
        # What no other process can see nobody could look at.
        self._most = queue.dead_bodies if parts.shared and not parts.one_off else 0
        self._body_bytes = options.dead_body_max_bytes
        self._secrets = parts.options.secret_params
        self._stats = stats
        self._waiting: dict[str, int] = {}  # kind -> responses that no exchange has told of yet
        self._full: dict[str, float] = {}  # kind -> monotonic instant until which it is not offered
        self._bytes = 0

    def offered_with(self, burial: Burial, delivery: Delivery) -> Burial:
        """*burial*, which is of *delivery*, with the response of that if it is to be kept. A burial of
        no kind is of that of its reason and the status.
        """
        if not self._most:
            return burial
        response, request = response_of(delivery.result), delivery.request
        if response is None or request is None:
            return burial
        kind = burial.kind or f"{burial.reason} {response.status}"
        if not self._wants(kind):
            return burial
        if self._bytes >= WAITING_BYTES:
            self._stats.inc_value("mocra/dead/bodies_left_out")
            return burial
        stored = self._stored(response, request)
        if stored is None:
            return burial
        self._waiting[kind] = self._waiting.get(kind, 0) + 1
        self._bytes += len(stored.body)
        return AnsweredBurial.of(burial, kind, stored, self)

    def _wants(self, kind: str) -> bool:
        now = time.monotonic()
        if self._full.get(kind, 0.0) > now:
            return False
        if len(self._full) > KINDS:
            self._full = {kind: until for kind, until in self._full.items() if until > now}
        return self._waiting.get(kind, 0) < self._most and len(self._full) <= KINDS

    def _stored(self, response: Response, request: Request) -> StoredResponse | None:
        try:
            return StoredResponse.of(response, request, self._body_bytes, self._secrets)
        except Exception as error:
            self.left_out(str(request), error)
            return None

    def left_out(self, whose: str, error: Exception) -> None:
        """The response of *whose* is not kept: a project's own class of responses may be anything."""
        logger.error("The response of %s can't be kept beside its dead letter", whose, exc_info=error)
        self._stats.inc_value("mocra/dead/bodies_left_out")

    def let_go(self, number: int) -> None:
        """So many bytes of a body do not wait any more."""
        self._bytes -= number

    def answered(self, burial: Burial, is_buried: bool, is_kept: bool) -> None:
        """The queue answered for *burial*."""
        left = self._waiting.pop(burial.kind, 1) - 1
        if left > 0:
            self._waiting[burial.kind] = left
        if is_kept:
            self._stats.inc_value("mocra/dead/bodies")
        elif is_buried:
            self._full[burial.kind] = time.monotonic() + FULL
