"""Which session a request goes out with, and what its answer says of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from scrapy import signals
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.exceptions import IgnoreRequest

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.engine.hooks import EngineHooks
from mocra_scrapy.exceptions import BackendError, LockError
from mocra_scrapy.models.sessions import GOOD, MAKING
from mocra_scrapy.sessions.checks import Checks
from mocra_scrapy.sessions.component import Sessions
from mocra_scrapy.sessions.none_found import NoSession, PoolClosed, SessionGone
from mocra_scrapy.sessions.pool import Pool
from mocra_scrapy.sessions.pool_state import Used
from mocra_scrapy.sessions.sealing import WrongKey
from mocra_scrapy.signals import worker_died

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

    from mocra_scrapy.coordination.locks import Lock
    from mocra_scrapy.runtime import Mocra
    from mocra_scrapy.sessions.record import Record

logger = logging.getLogger(__name__)

#: Requests that wait for a session without taking a place of the downloader, at most. Times that a session is
#: read which others change all the while.
MOST_WAITING, TRIES = 500, 3
#: Seconds after which a session's permit is free when nothing is heard of its worker; between two attempts while
#: the backend does not answer.
PERMIT, PAUSE = 10.0, 0.5


class Choice(NamedTuple):
    """What a request asks of a pool.

    Attributes:
        only: the session that it is to have; ``strict``: and no other one.
        avoid: the one that it had.
    """

    pool: Pool
    only: str = ""
    strict: bool = False
    avoid: str = ""


class Assignment:
    """Of one crawler."""

    def __init__(self, mocra: Mocra) -> None:
        """Raises ConfigurationError: a setting is wrong."""
        self.sessions = mocra.component(Sessions)
        self._mocra, self._state, self._store = mocra, mocra.worker_state, self.sessions.store
        self._hooks: EngineHooks | None = None
        self._waiting = 0
        # id of a request -> it, and the permit of its session
        self._held: dict[int, tuple[Request, Lock]] = {}
        self.checks = Checks(self.sessions, self._state.close)
        if self.sessions.pools:
            mocra.refusals.append(self.checks.refuses)
            mocra.find_expiry = self.checks.is_expired
        self._released: set[asyncio.Task[object]] = set()
        settings = mocra.settings
        retried = settings.getlist("RETRY_HTTP_CODES") if settings.getbool("RETRY_ENABLED") else ()
        self._retried = {int(status) for status in retried}
        if any(pool.options.concurrency for pool in self.sessions.pools.values()):
            self._locks = mocra.backend.locks()
            mocra.crawler.signals.connect(self._watch_ends, signals.spider_opened)
            mocra.crawler.signals.connect(self._worker_died, worker_died)

    async def open(self) -> None:
        """Nothing is known before a request asks."""

    async def close(self) -> None:
        """Others need not wait for what this worker held."""
        for request, _ in list(self._held.values()):
            self.let_go(request)
        if self._released:
            await asyncio.wait(self._released, timeout=PERMIT)
            await end_tasks(list(self._released))

    @property
    def _engine(self) -> EngineHooks:
        if self._hooks is None:
            self._hooks = EngineHooks(self._mocra.crawler)
        return self._hooks

    def _watch_ends(self) -> None:
        self._engine.on_finished(self.let_go)

    def _permit_of(self, session: str) -> str:
        return f"session:{self._mocra.crawl}:{session}"

    def _worker_died(self, worker: str) -> None:
        self._in_background(self._free_permits(worker))

    def _in_background(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(work)
        self._released.add(task)
        task.add_done_callback(self._released.discard)

    async def _free_permits(self, worker: str) -> None:
        """*worker* is known to be dead: what it held need not wait for its end."""
        pools = [pool for pool in self.sessions.pools.values() if pool.options.concurrency]
        for name in [self._permit_of(id) for pool in pools for id in pool.state.sessions]:
            try:
                for grant in await self._locks.holders(name):
                    if grant.owner.startswith(f"{worker}/"):
                        await self._locks.release(name, grant.owner, grant.number)
            except BackendError as error:
                logger.debug("Permits of %s: %s", worker, error)

    # ------------------------------------------------------------------ before it leaves

    def ready(self, request: Request, host: str) -> Record | None:
        """Its session, if nobody need be asked; ``None``: :meth:`prepared`."""
        meta = request.meta
        if self.sessions.pools:
            choice = self._choice(request, host)
            if choice is not None:
                if choice.pool.options.concurrency:
                    return None
                used = choice.pool.take_now(choice.avoid, choice.only)
                if used is None:
                    return None
                self._assign(request, used)
        name = self.sessions.name_of(request)
        record = self.sessions.record_of(name, host)
        return record if self._store.is_fresh(record, meta.get("mocra_session_seen", 0)) else None

    def _choice(self, request: Request, host: str) -> Choice | None:
        """``None``: it has a session that no pool gives out, or the one that was given to it stays."""
        meta: Any = request.meta
        used, pinned = meta.get("mocra_session_used"), meta.get("mocra_session")
        if pinned is not None:
            pool = self.sessions.pool_named(pinned)
            if pool is None or meta.get(MAKING):
                meta.pop("mocra_session_used", None)
                return None
            return Choice(pool, pinned, strict=True)
        before = None if used is None else self.sessions.pool_named(used[0])
        retried = before is not None and meta.get("retry_times", 0) != used[3]
        if before is not None and not retried and meta.get("redirect_times", 0) > used[2]:
            return Choice(before, used[0])
        found = self.sessions.pool_of(request, host)
        if found is None:
            meta.pop("mocra_session_used", None)
            return None
        if not retried or before is not found:
            return Choice(found)
        keeps = found.options.on_retry == "keep" and found.is_good(Used(used[0], used[1]))
        return Choice(found, used[0]) if keeps else Choice(found, avoid=used[0])

    @staticmethod
    def _assign(request: Request, used: Used) -> None:
        meta = request.meta
        meta["mocra_session_used"] = [*used, meta.get("redirect_times", 0), meta.get("retry_times", 0)]

    async def prepared(self, request: Request, host: str, *, stays: bool) -> Record | Request:
        """Its session, as soon as it can be had; or what goes back into the queue. *stays*: see :meth:`Pool.take`.

        Raises:
            NoSession: not in time.
            SessionGone: the one that it asks for by name.
            IgnoreRequest: it is not the queue's, and there is no session for it.
        """
        while True:
            try:
                return await self._prepared(request, host, stays)
            except PoolClosed as error:
                logger.error("The crawl is closed: %s", error)
                self._state.close("mocra_bad_session_inits")
                return self._back(request, str(error))
            except WrongKey as error:
                return self._back(request, str(error))
            except LockError as error:
                raise NoSession(str(error)) from error
            except BackendError as error:
                if self._state.stopping:
                    return self._back(request, str(error))
                await asyncio.sleep(PAUSE)

    async def _prepared(self, request: Request, host: str, stays: bool) -> Record:
        choice = self._choice(request, host)
        exact = False
        if choice is not None:
            exact = bool(choice.pool.options.concurrency)
            with self._stepped_out(request):
                used = await (self._taken_alone(request, choice, stays) if exact else self._taken(choice, stays))
            self._assign(request, used)
        record = self.sessions.record_of(self.sessions.name_of(request), host)
        try:
            if exact:  # whoever had it before has stored what it was answered
                record.fresh_until = float("-inf")
            for _ in range(TRIES):
                seen = request.meta.get("mocra_session_seen", 0)
                if self._store.is_fresh(record, seen):
                    break
                await self._store.refresh(record)
                if record.version < seen:
                    del request.meta["mocra_session_seen"]  # it was dropped since
        except BaseException:
            self.let_go(request)
            raise
        return record

    async def _taken(self, choice: Choice, stays: bool) -> Used:
        try:
            return await choice.pool.take(choice.avoid, choice.only, stays=stays)
        except (NoSession, SessionGone) as error:
            if isinstance(error, PoolClosed) or choice.strict or not choice.only:
                raise
            return await choice.pool.take(stays=stays)

    async def _taken_alone(self, request: Request, choice: Choice, stays: bool) -> Used:
        """One of which there is a permit."""
        while True:
            used = await self._taken(choice, stays)
            permit = await self._permit(request, choice.pool, used)
            try:
                if permit.waited:  # whoever had it may have found out that the session is over
                    await choice.pool.stored.look()
            except BaseException:
                self.let_go(request)
                raise
            if choice.pool.is_good(used):
                return used
            self.let_go(request)

    async def _permit(self, request: Request, pool: Pool, used: Used) -> Lock:
        lock = self._mocra.lock(
            self._permit_of(used.id),
            ttl=PERMIT,
            limit=pool.options.concurrency,
            timeout=pool.options.wait,
            on_loss="flag",
        )
        await lock.__aenter__()
        self._held[id(request)] = (request, lock)
        return lock

    @contextmanager
    def _stepped_out(self, request: Request) -> Iterator[None]:
        self._waiting += 1
        try:
            with self._engine.stepped_out(request) if self._waiting <= MOST_WAITING else nullcontext():
                yield
        finally:
            self._waiting -= 1

    def _back(self, request: Request, why: str) -> Request:
        if self._state.send_back(request):
            return request
        raise IgnoreRequest(f"{request} does not come from the queue, and has no session: {why}")

    def headers_for(self, request: Request, host: str, record: Record) -> Sequence[tuple[str, str]]:
        """What its session sends to *host* beside cookies."""
        if not self.sessions.pools and not record.has_fields:
            return ()
        pool = self.sessions.pool_named(self.sessions.name_of(request))
        return self.sessions.headers_for(pool, record, host)

    # ------------------------------------------------------------------ when it was answered

    def record_for(self, request: Request, host: str) -> Record:
        """The session that *request* went out with."""
        return self.sessions.record_of(self.sessions.name_of(request), host)

    def save(self, record: Record) -> Coroutine[Any, Any, None] | None:
        """Tell the others what has changed; ``None``: nothing has."""
        return self._store.save(record) if self._store.cookies_changed(record) else None

    def let_go(self, request: Request, record: Record | None = None, said: asyncio.Task[None] | None = None) -> None:
        """Its session is free for others, as soon as what *record* has of it, and what was *said* of it, is
        stored.
        """
        held = self._held.pop(id(request), None)
        if held is not None:
            self._in_background(self._give_back(held[1], record, said))

    @staticmethod
    async def _give_back(permit: Lock, record: Record | None, said: asyncio.Task[None] | None) -> None:
        if said is not None:
            await asyncio.wait([said])
        while record is not None and record.unsaved and record.writing is not None:
            await asyncio.wait([record.writing])  # while the backend is away
        await permit.__aexit__(None, None, None)

    def answered(self, request: Request, response: Response, record: Record) -> Request | None:
        """What its policy says of *response* is told, and its session is free for others; *request* once more
        where that was not good, unless somebody else retries it, or its retries are used up.
        """
        used, pool = self.sessions.used_by(request), self.checks.pool_of(request, response)
        if used is None or pool is None:
            self.let_go(request, record)
            return None
        verdict = self.checks.said(pool, request, response)
        self.let_go(request, record, pool.judge(used, verdict))
        spider = self._mocra.crawler.spider
        if verdict == GOOD or request.meta.get("dont_retry") or response.status in self._retried or spider is None:
            return None
        reason = f"session {verdict}"
        again = get_retry_request(request, spider=spider, reason=reason, stats_base_key="mocra/sessions/retry")
        if again is not None:
            self.sessions.count("mocra/sessions/retried")
        return again
