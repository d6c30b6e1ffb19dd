"""robots.txt files that the workers of a crawl share: one of them fetches, all of them read."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import ParseResult, SplitResult

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models.coordination import robots_namespace
from mocra_scrapy.models.failure_kinds import DOWNLOAD, kind_of_exception
from mocra_scrapy.models.redaction import redact_error
from mocra_scrapy.politeness.retry_after import retry_after
from mocra_scrapy.settings.failures import read_failure_options
from mocra_scrapy.settings.reader import SettingsReader
from mocra_scrapy.settings.robots import LONGEST_AGE, read_max_age, warn_of_quotas

if TYPE_CHECKING:
    from mocra_scrapy.models import SharedValue
    from mocra_scrapy.runtime import Mocra

logger = logging.getLogger(__name__)

#: Bytes of a file that are read; what is behind is not (RFC 9309, 2.5).
LARGEST = 500 * 1024
#: Seconds after which a file is no longer used, also while its host gives no newer one.
STALE = LONGEST_AGE
#: Seconds before the next attempt to fetch a file, at least.
SOONEST = 0.5
#: Seconds that the number of failed attempts is remembered after the next one is due.
REMEMBERED = 3600.0
#: Exceptions of the network of which no kind is known.
NETWORK = frozenset({"DownloadFailedError", "ResponseFailed", "ResponseNeverReceived", "RequestTransmissionFailed"})
#: Seconds after which the place of who fetches is free when nothing is heard of it.
LOCK = 10.0


class Answer(NamedTuple):
    """What a site said when it was asked for its file. *wait*: its ``Retry-After``."""

    status: int
    body: bytes = b""
    wait: bytes | None = None

    @property
    def not_now(self) -> bool:
        """Whether it can't say what it allows. What it doesn't have (4xx) allows everything."""
        return self.status >= 500 or self.status == 429


class Postponed(Exception):
    """It could not be asked: that is not its fault."""


class Unreadable(Exception):
    """The site answered, and there is no file in what it said."""


Fetch = Callable[[], Awaitable[Answer]]


class RobotsFile(NamedTuple):
    """What is known of the file of one origin. Instants are seconds since the epoch.

    Attributes:
        body: what counts; ``None``: nothing is known of it, so nothing is allowed.
        fetched: when that was.
        not_now: until when it is not asked for again, because the site did not give it; 0: it did.
        tries: how often it did not, one after the other.
        why: it did not.
        error: what the attempt raised, where it was this process's.
    """

    body: bytes | None = None
    fetched: float = 0.0
    not_now: float = 0.0
    tries: int = 0
    why: str = ""
    error: Exception | None = None

    def counts(self, now: float, max_age: float) -> float:
        """For how many seconds it need not be asked for."""
        fresh = self.fetched + max_age - now if self.body is not None else 0.0
        return max(0.0, self.not_now - now, min(fresh, max_age))

    def pack(self) -> bytes:
        head = [self.fetched, self.not_now, self.tries, self.why, self.body is not None]
        return json.dumps(head).encode() + b"\n" + zlib.compress(self.body or b"")

    @classmethod
    def unpack(cls, data: bytes) -> RobotsFile | None:
        """``None``: none of us wrote that."""
        head, _, packed = data.partition(b"\n")
        try:
            fetched, not_now, tries, why, has_body = json.loads(head)
            body = zlib.decompressobj().decompress(packed, LARGEST) if has_body else None
            return cls(body, float(fetched), float(not_now), int(tries), str(why))
        except (ValueError, TypeError, zlib.error):
            return None


def origin_of(url: ParseResult | SplitResult) -> str:
    """``scheme://host[:port]``, in lower case: user and password are nobody's business."""
    netloc = url.netloc
    return f"{url.scheme}://{netloc.rpartition('@')[2] if '@' in netloc else netloc}".lower()


def is_unanswered(error: Exception) -> bool:
    """Whether *error*, of a download, says that nobody answered; else somebody did, and what he said is
    of no use.
    """
    if isinstance(error, Unreadable):
        return False
    kind = kind_of_exception(error)
    if kind == "broken":  # any OSError of the system; BadGzipFile is one, and has no number
        return type(error).__name__ in NETWORK or (isinstance(error, OSError) and error.errno is not None)
    return kind in DOWNLOAD


def shortened(body: bytes) -> bytes:
    """The lines of *body* that are read."""
    return body if len(body) <= LARGEST else body[: body.rfind(b"\n", 0, LARGEST) + 1] or body[:LARGEST]


class SharedRobots:
    """Of one crawler, a component of its :class:`~mocra_scrapy.runtime.Mocra`.

    They stand in the namespace ``robots:<crawl>`` of the shared values, by origin. Who finds none
    there, or one older than ``MOCRA_ROBOTS_MAX_AGE``, fetches it under a lock, so that one worker
    does.

    Attributes:
        max_age: seconds for which a file need not be asked for again.
    """

    def __init__(self, mocra: Mocra) -> None:
        """Raises ConfigurationError: a setting is wrong."""
        stats = mocra.crawler.stats
        assert stats is not None
        self.max_age = read_max_age(SettingsReader(mocra.crawler.settings))
        warn_of_quotas(mocra.options.limits, self.max_age)
        self._failures = read_failure_options(mocra.crawler.settings)
        self._mocra, self._stats = mocra, stats
        self._values = mocra.backend.shared_values(robots_namespace(mocra.crawl))
        self._tasks: dict[str, asyncio.Task[RobotsFile]] = {}

    async def open(self) -> None:
        """Nothing is read before a page is to be fetched."""

    async def close(self) -> None:
        await end_tasks(list(self._tasks.values()))
        await self._values.close()

    async def find(self, origin: str, fetch: Fetch) -> RobotsFile:
        """What counts for *origin* now: of another worker, or by *fetch*. Those who ask meanwhile get
        the same answer. Where nobody answers *fetch*, what it raises stands in the answer; any other
        exception means that there is no file, so all is allowed (RFC 9309, 2.3.1.3).

        Raises:
            Postponed: by *fetch*.
        """
        task = self._tasks.get(origin)
        if task is None:
            task = self._tasks[origin] = asyncio.create_task(self._find(origin, fetch), name="mocra robots.txt")
            task.add_done_callback(lambda done: self._done(origin, done))
        return await asyncio.shield(task)

    def _done(self, origin: str, task: asyncio.Task[RobotsFile]) -> None:
        del self._tasks[origin]
        if not task.cancelled():
            task.exception()  # whoever waits for it is told

    async def _find(self, origin: str, fetch: Fetch) -> RobotsFile:
        try:
            seen, known = await self._read(origin)
        except MocraError as error:  # a request that bypasses the queue waits for the backend itself
            logger.debug("robots.txt of %s: the shared values can't be read: %s", origin, error)
            return await self._fetched(origin, fetch, None, RobotsFile())
        if known.counts(time.time(), self.max_age):
            return self._found(known)
        async with self._mocra.lock(f"robots:{self._mocra.crawl}:{origin}", ttl=LOCK, on_loss="flag"):
            try:
                seen, known = await self._read(origin)
            except MocraError as error:
                seen = None
                logger.debug("robots.txt of %s: the shared values can't be read: %s", origin, error)
            if known.counts(time.time(), self.max_age):
                return self._found(known)
            return await self._fetched(origin, fetch, seen, known)

    def _found(self, known: RobotsFile) -> RobotsFile:
        self._stats.inc_value("mocra/robots/shared")
        return known

    async def _read(self, origin: str) -> tuple[SharedValue | None, RobotsFile]:
        stored = await self._values.get(origin)
        known = RobotsFile.unpack(stored.value) if stored.value is not None else None
        return stored, known or RobotsFile()

    # ------------------------------------------------------------------ asking the site

    async def _fetched(self, origin: str, fetch: Fetch, stored: SharedValue | None, known: RobotsFile) -> RobotsFile:
        try:
            answer = await fetch()
        except Postponed:
            raise
        except Exception as error:  # of the download, or of a middleware
            why = redact_error(f"{type(error).__name__}: {error}")
            if is_unanswered(error):
                new = self._not_now(known, why, None, error)
            else:
                new = RobotsFile(b"", time.time())
                logger.warning("robots.txt of %s can't be read (%s): it allows everything", origin, why[:200])
        else:
            if answer.not_now:
                new = self._not_now(known, f"status {answer.status}", answer.wait, None)
            else:
                body = shortened(answer.body) if answer.status < 300 else b""
                new = RobotsFile(body, time.time())
        if new.not_now:
            self._tell(origin, new)
        self._stats.inc_value("mocra/robots/not_now" if new.not_now else "mocra/robots/fetched")
        await self._share(origin, stored, new)
        return new

    def _not_now(self, known: RobotsFile, why: str, header: bytes | None, error: Exception | None) -> RobotsFile:
        """The site did not give it: a copy that is not too old counts meanwhile."""
        options, now = self._failures, time.time()
        told = retry_after(header, now, options.retry_after_cap)
        wait = told or min(options.retry_cap, options.retry_base * 2.0 ** min(known.tries, 60))
        kept = known.body if now - known.fetched < STALE else None
        return RobotsFile(kept, known.fetched, now + max(SOONEST, wait), known.tries + 1, why[:200], error)

    def _tell(self, origin: str, new: RobotsFile) -> None:
        what = "an older copy counts" if new.body is not None else "nothing is fetched from there"
        wait = new.not_now - time.time()
        logger.warning("robots.txt of %s can't be had (%s): for %.1f s %s", origin, new.why, wait, what)
        if new.body is not None:
            self._stats.inc_value("mocra/robots/stale")

    async def _share(self, origin: str, stored: SharedValue | None, new: RobotsFile) -> None:
        """Others fetch it, too, where the backend does not take it."""
        lasts = STALE if new.body is not None else new.not_now - time.time() + REMEMBERED
        damaged = stored is not None and stored.value is not None and not stored.version
        try:
            if stored is None:
                await self._values.put(origin, new.pack(), version=0, lasts=lasts)
            else:
                await self._values.put(origin, new.pack(), version=None if damaged else stored.version, lasts=lasts)
        except MocraError as error:
            self._stats.inc_value("mocra/robots/unshared")
            logger.debug("robots.txt of %s is not shared: %s", origin, error)
