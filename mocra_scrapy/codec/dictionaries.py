"""The dictionaries that one worker packs and unpacks its payloads with: trained, shared, loaded
before they are needed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.codec.compression import Dictionary, train, wanted
from mocra_scrapy.codec.requests import load_codec
from mocra_scrapy.exceptions import MocraError, NotReadableYet, UnreadablePayload

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.interfaces import IRequestQueue
    from mocra_scrapy.models import Lease, StoredDictionaries
    from mocra_scrapy.settings.crawl import Options

logger = logging.getLogger(__name__)

#: Payloads after which a first dictionary is trained; the next looks come after four times as many
#: each.
FIRST, NEXT = 300, 4
#: What is trained with: the last payloads, those of moderate size.
SAMPLES, LONGEST = 1200, 4096
#: Looks for a dictionary that others say they stored, and how long one that nobody has is not
#: looked for again, s.
PAUSES, MISSING = (0.0, 0.1, 0.5, 1.0), 4.0
#: Each worker looks so often whether what it knows is still stored, s: somebody may have deleted it.
CHECK = 10.0
#: How long a request waits for a dictionary that nobody has stored, before it is given up, and how
#: long until it is looked at again, s.
PATIENCE, PUT_OFF = 60.0, 5.0


#: The first byte of a seed as it came, see :mod:`mocra_scrapy.codec.seeds_json`.
SEED = b"\x03"

#: Repeats a call until the backend answers: :meth:`mocra_scrapy.worker.outages.Outages.insist`.
Insist = Callable[[Callable[[bool], Awaitable[Any]]], Awaitable[Any]]


class CompressingCodec:
    """The codec that ``MOCRA_CODEC`` names, and compression of what it gives.

    A dictionary is stored before anything is written with it. A lease is seen by nobody before its
    dictionary was fetched (:meth:`arrived`), so reading never waits. What others compressed is read
    whatever ``MOCRA_COMPRESSION`` says here. A codec of the user's own is left alone: its bytes may
    begin as ours do.

    Args:
        shared: whether other processes can see the queue; only then it pays to compress.

    Raises:
        ConfigurationError: see :func:`mocra_scrapy.codec.requests.load_codec`.
    """

    def __init__(
        self, options: Options, queue: IRequestQueue, spider: Spider, stats: StatsCollector, *, shared: bool
    ) -> None:
        self._codec = load_codec(options.codec, spider, options.entry_max_bytes)
        self._queue, self._spider = queue, spider
        self._reads = options.codec in ("msgpack", "pickle")
        wish = options.compression
        self._writes = self._reads and (wish == "on" or (wish == "auto" and shared))
        self._most = options.entry_max_bytes
        self._stats = stats
        self._known: dict[int, Dictionary] = {}
        self._missing: dict[int, float] = {}
        self._missing_since: dict[int, float] = {}
        self._checked = time.monotonic()
        self._current: Dictionary | None = None
        self._samples: deque[bytes] = deque(maxlen=SAMPLES)
        self._due = FIRST
        self._task: asyncio.Task[None] | None = None
        self._doubt = True
        self._packed = self._payload_bytes = self._stored_bytes = 0

    # ------------------------------------------------------------------ what the scheduler asks, at
    # once

    def encode(self, request: Request) -> bytes:
        """The payload: the same request gives the same bytes in every worker."""
        return self._codec.encode(request)

    def pack(self, payload: bytes, request: Request) -> bytes:
        """What to store of *payload*: the same payload gives the same bytes as long as the
        dictionary is the same.
        """
        if not self._writes:
            return payload
        stored = payload if self._current is None else self._current.compress(payload)
        self._packed += 1
        self._payload_bytes += len(payload)
        self._stored_bytes += len(stored)
        # A dictionary stays when the request is done: a user's credentials must not become part of
        # one.
        if (
            len(payload) <= LONGEST
            and not request.cookies
            and b"Cookie" not in payload
            and b"Authorization" not in payload
        ):
            self._samples.append(payload)
        return stored

    def decode(self, stored: bytes) -> Request:
        """The request.

        Raises:
            NotReadableYet: its dictionary is missing; a worker that knows it may store it again.
            UnreadablePayload: damaged, too large, or its dictionary was missing for too long.
        """
        identity = wanted(stored) if self._reads else None
        if identity is None:
            return self._codec.decode(stored) if stored[:1] != SEED else self._seed(stored)
        if len(stored) > self._most:
            raise UnreadablePayload(f"{len(stored)} bytes, more than MOCRA_ENTRY_MAX_BYTES = {self._most}")
        dictionary = self._known.get(identity)
        if dictionary is None:
            what = f"compressed with dictionary {identity:04x}, which is not stored beside the queue"
            since = self._missing_since.setdefault(identity, time.monotonic())
            raise (NotReadableYet if time.monotonic() - since < PATIENCE else UnreadablePayload)(what)
        return self._codec.decode(dictionary.decompress(stored, self._most))

    def _seed(self, stored: bytes) -> Request:
        """A seed that could not be stored as a request, or another codec's bytes."""
        from mocra_scrapy.codec.seeds_json import ENVELOPE, request_in

        return request_in(self._spider, stored) if stored.startswith(ENVELOPE) else self._codec.decode(stored)

    # ------------------------------------------------------------------ what the loop asks between
    # two exchanges

    async def arrived(self, leases: Iterable[Lease], insist: Insist) -> None:
        """Fetch what *leases* need to be read, and train a dictionary when it is time (in a task of
        its own).
        """
        if not self._reads:
            return
        if self._doubt or (self._known and time.monotonic() - self._checked > CHECK):
            self._doubt, self._checked = False, time.monotonic()
            await insist(self._keep_stored)
        needs = {wanted(lease.body) for lease in leases} - self._known.keys() - {None}
        if needs:
            await self._fetch(needs, insist)
        if self._packed >= self._due and len(self._samples) >= FIRST and (self._task is None or self._task.done()):
            self._due = NEXT * self._packed
            self._task = asyncio.create_task(self._train(list(self._samples)), name="mocra dictionary")

    def is_ready(self, leases: Iterable[Lease]) -> bool:
        """Whether *leases* can be read, and :meth:`arrived` would have nothing else to do either."""
        if not self._reads:
            return True
        needs = {wanted(lease.body) for lease in leases} - {None}
        return not (self._writes or self._known or needs)

    def doubt(self) -> None:
        """What was stored may be gone (a fail-over, a crawl that was cleared): look, and store
        again what we write with.
        """
        self._doubt = True

    async def _fetch(self, needs: set[int | None], insist: Insist) -> None:
        """Those of *needs* that are stored. What is not there at once may be on its way: a worker
        restores it after a fail-over.
        """
        now = time.monotonic()
        self._missing = {n: since for n, since in self._missing.items() if now - since < MISSING}
        needs = needs - self._missing.keys()
        for pause in PAUSES:
            if needs <= self._known.keys():
                return
            await asyncio.sleep(pause)
            self._learn(await insist(lambda _: self._queue.dictionaries()))
        for identity in needs - self._known.keys():
            assert identity is not None
            self._missing[identity] = now
            if identity not in self._missing_since:
                self._missing_since[identity] = now
                logger.error("Compression dictionary %04x is not stored beside the queue", identity)

    def _learn(self, stored: StoredDictionaries) -> None:
        for identity, content in stored.contents.items():
            if identity not in self._known:
                try:
                    dictionary = Dictionary(content)
                except UnreadablePayload as error:
                    logger.error("Compression dictionary %04x: %s", identity, error)
                    continue
                if dictionary.identity == identity:
                    self._known[identity] = dictionary
                    self._missing_since.pop(identity, None)
        if stored.current in self._known:
            self._current = self._known[stored.current]

    async def _keep_stored(self, repeat: bool) -> None:
        """Learn what is there. All that we know must be among it: others may hold what was written
        with it.
        """
        mine = self._current
        stored = await self._queue.dictionaries()
        for old in [one for n, one in self._known.items() if one is not mine and n not in stored.contents]:
            logger.warning(
                "Compression dictionary %04x was missing beside the queue and has been stored again", old.identity
            )
            await self._queue.add_dictionary(old.identity, old.content, instead_of=stored.current)
            stored = await self._queue.dictionaries()
        if mine is not None and mine.identity not in stored.contents:
            logger.warning(
                "Compression dictionary %04x was missing beside the queue and has been stored again", mine.identity
            )
        while mine is not None and mine.identity not in stored.contents:
            before = stored.current
            current = await self._queue.add_dictionary(mine.identity, mine.content, instead_of=before)
            stored = await self._queue.dictionaries()
            if current == before == stored.current:
                break  # nothing changed: it was refused, there are too many
        if mine is not None and stored.contents.get(mine.identity) != mine.content:
            self._known.pop(mine.identity, None)
            self._current = None
        self._learn(stored)

    # ------------------------------------------------------------------ training

    async def _train(self, samples: list[bytes]) -> None:
        """Nothing hangs on it: when the backend is away the next look tries again."""
        before = self._current
        made = await asyncio.to_thread(train, samples, before)
        if made is None:
            return
        try:
            current = await self._queue.add_dictionary(
                made.identity, made.content, instead_of=None if before is None else before.identity
            )
            if current == made.identity:
                self._known[made.identity] = self._current = made
                self._stats.inc_value("mocra/codec/dictionaries")
                logger.info("Requests are stored with compression dictionary %04x from now on", made.identity)
            elif current not in self._known:
                self._learn(await self._queue.dictionaries())
            else:
                self._current = self._known[current]
        except MocraError as error:
            self._due = self._packed + FIRST
            logger.debug("Storing a compression dictionary: %s", error)

    async def close(self) -> None:
        """End the training, tell what it came to."""
        if self._task is not None:
            await end_tasks([self._task])
        if self._packed:
            self._stats.set_value("mocra/codec/payload_bytes", self._payload_bytes)
            self._stats.set_value("mocra/codec/stored_bytes", self._stored_bytes)
