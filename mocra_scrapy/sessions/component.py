"""``Sessions``: what the sessions of one crawler are, and which one a request goes out with."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from scrapy.utils.httpobj import urlparse_cached
from scrapy.utils.misc import load_object

from mocra_scrapy import signals
from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import ConfigurationError, MocraError
from mocra_scrapy.models.coordination import pools_namespace, sessions_namespace
from mocra_scrapy.models.sessions import HEADER, Session
from mocra_scrapy.sessions.cookie_merge import DOMAIN_GIVEN, DOT, PATH_GIVEN, SECURE, Value
from mocra_scrapy.sessions.jar import cookie_of, site_of
from mocra_scrapy.sessions.login import make
from mocra_scrapy.sessions.policy import SessionPolicy
from mocra_scrapy.sessions.pool import Pool
from mocra_scrapy.sessions.pool_state import Used
from mocra_scrapy.sessions.record import Record
from mocra_scrapy.sessions.sealing import Seal
from mocra_scrapy.sessions.store import SessionStore
from mocra_scrapy.settings.sessions import SessionOptions, read_sessions

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.runtime import Mocra
    from mocra_scrapy.sessions.pool_state import Make

logger = logging.getLogger(__name__)

#: The session of requests that name none.
DEFAULT = "default"


def named(key: Any) -> str:
    """The name of the session that ``meta["mocra_session"]`` or ``meta["cookiejar"]`` names."""
    if key is None:
        return DEFAULT
    return key if isinstance(key, str) else f"{type(key).__name__}:{key}"


class Sessions:
    """Of one crawler, a component of its :class:`~mocra_scrapy.runtime.Mocra`.

    A request belongs to the pool of its site, if ``MOCRA_SESSIONS`` has one, and is given one of that
    pool's sessions; else to the session that it names, of which each site has its own part.
    """

    def __init__(self, mocra: Mocra) -> None:
        """Raises ConfigurationError: a setting is wrong."""
        self._mocra, self._stats = mocra, mocra.crawler.stats
        self.options = read_sessions(mocra.settings) or SessionOptions({}, 60.0)
        # What no other process, and no other crawler of this one, can see is not stored at all.
        alone = mocra.one_off or not (mocra.backend.shared or mocra.backend.url != "memory://")
        values = None if alone else mocra.backend.shared_values(sessions_namespace(mocra.crawl))
        self.store = SessionStore(
            values,
            mocra.worker,
            Seal(self.options.keys),
            lasts=self.options.ttl,
            unreadable=self._unreadable,
            count=self.count,
        )
        self._pooled = mocra.backend.shared_values(pools_namespace(mocra.crawl))
        self.pools: dict[str, Pool] = {}
        self.policies: dict[str, SessionPolicy] = {}
        # A replay asks no site: nobody could log in, and it gets what any session was given.
        self._replays = mocra.settings.getbool("HTTPCACHE_ENABLED") and mocra.settings.getbool(
            "HTTPCACHE_IGNORE_MISSING"
        )
        for name in {} if mocra.one_off or self._replays else self.options.pools:
            self._add_pool(name)
        self._pool_of: dict[str, Pool | None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        mocra.find_session = self.session_of
        if values is not None:
            mocra.worker_state.on_intake = self._tell_version
        mocra.crawler.signals.connect(self._worker_died, signals.worker_died)
        mocra.worker_state.when_over(self._over)

    def _add_pool(self, name: str) -> None:
        options, crawler = self.options.pools[name], self._mocra.crawler
        subject = f"MOCRA_SESSIONS[{name!r}]['policy']"
        try:
            cls = load_object(options.policy)
            policy = cls.from_crawler(crawler, name, options)
        except Exception as error:
            raise ConfigurationError(
                subject, f"{options.policy!r} can't be made: {type(error).__name__}: {error}", "Set its import path"
            ) from error
        if not isinstance(policy, SessionPolicy):
            raise ConfigurationError(subject, f"{options.policy!r} is no SessionPolicy", "Subclass SessionPolicy")
        self.policies[name] = policy
        self.pools[name] = Pool(
            name,
            options,
            self._pooled,
            self._mocra.worker,
            make=lambda made: self._make(name, made),
            drop=self.store.drop,
            can_refresh=policy.refresh is not None,
            run=lambda: self._mocra.worker_state.run,
            lasts=self.options.ttl,
            count=self.count,
        )

    async def open(self) -> None:
        self.store.start()
        if self.pools:
            self._tasks = [asyncio.create_task(self._listen(), name="mocra session pools")]

    async def close(self) -> None:
        await asyncio.gather(*(pool.close() for pool in self.pools.values()))
        await self.store.close()
        await end_tasks(self._tasks)
        await self._pooled.close()

    async def _listen(self) -> None:
        while True:
            try:
                async with aclosing(self._pooled.watch()) as changes:  # type: ignore[type-var]
                    async for name in changes:
                        if name == "*":
                            for pool in self.pools.values():
                                pool.stored.is_stale()
                        elif name in self.pools:
                            self.pools[name].stored.heard()
            except MocraError as error:
                logger.debug("Pools of sessions: %s", error)
            await asyncio.sleep(0.5)

    def count(self, stat: str) -> None:
        if self._stats is not None:
            self._stats.inc_value(stat)

    def _unreadable(self, why: str) -> None:
        logger.error("%s; this worker closes", why)
        self.count("mocra/sessions/unreadable")
        self._mocra.worker_state.close("mocra_secret_key")

    def _over(self) -> None:
        """A log-in that waits for its site, or for a proxy, keeps no worker from closing."""
        for pool in self.pools.values():
            pool.give_up_making(closing=self._mocra.worker_state.stopping)

    def _worker_died(self, worker: str) -> None:
        for pool in self.pools.values():
            pool.worker_died(worker)

    # ------------------------------------------------------------------ whose a request is

    def pool_of(self, request: Request, host: str) -> Pool | None:
        """The pool that gives *request* its session."""
        wanted = request.meta.get("mocra_session_pool")
        if wanted is None:
            return self._find_pool(host)
        if wanted is False or self._replays:
            return None
        pool = self.pools.get(wanted)
        if pool is None:
            raise ConfigurationError(
                f"meta['mocra_session_pool'] of {request}",
                f"{wanted!r} is no pool",
                f"Name one of {', '.join(self.pools) or 'MOCRA_SESSIONS'}",
            )
        return pool

    def _find_pool(self, host: str) -> Pool | None:
        if host in self._pool_of:
            return self._pool_of[host]
        if len(self._pool_of) > 10_000:
            self._pool_of.clear()
        parts = host.lower().split(".")
        names = [".".join(parts[at:]) for at in range(len(parts))]
        found = self._pool_of[host] = next((self.pools[name] for name in names if name in self.pools), None)
        return found

    def pool_named(self, session: Any) -> Pool | None:
        """The pool whose session is called *session*."""
        name, slash, _ = session.partition("/") if isinstance(session, str) else ("", "", "")
        return self.pools.get(name) if slash else None

    def record_of(self, name: str, host: str) -> Record:
        """What is known of the session *name*; of one that is no pool's, its part for *host*'s site."""
        return self.store.get(name if self.pool_named(name) is not None else f"{name}@{site_of(host)}")

    def used_by(self, request: Request) -> Used | None:
        """The session of a pool that *request* goes, or went, out with."""
        used = request.meta.get("mocra_session_used")
        return Used(used[0], used[1]) if used else None

    def name_of(self, request: Request) -> str:
        """The name of the session that *request* goes, or went, out with."""
        meta = request.meta
        used = meta.get("mocra_session_used")
        if used:
            return str(used[0])
        name = meta.get("mocra_session")
        return named(meta.get("cookiejar") if name is None else name)

    def _tell_version(self, request: Request) -> None:
        """*request* may be fetched by a worker that has not heard yet of what its session's cookies are."""
        if not self.store.is_recent or request.meta.get("dont_merge_cookies"):
            return
        host = urlparse_cached(request).hostname
        pinned = request.meta.get("mocra_session")
        if not host or (pinned is None and self.pools and self.pool_of(request, host) is not None):
            return
        request_name = self.name_of(request)
        key = request_name if self.pool_named(request_name) is not None else f"{request_name}@{site_of(host)}"
        record = self.store.records.get(key)
        version = 0 if record is None else self.store.recent(record)
        if version:
            request.meta["mocra_session_seen"] = version

    # ------------------------------------------------------------------ what people and components see

    def session_of(self, request: Request) -> Session | None:
        """The session of *request*; ``None``: it has none."""
        host = urlparse_cached(request).hostname
        if not host or request.meta.get("dont_merge_cookies"):
            return None
        name = self.name_of(request)
        return self.session(name, self.record_of(name, host), self.used_by(request))

    def session(self, name: str, record: Record, used: Used | None = None) -> Session:
        pool = self.pool_named(name)
        if pool is None:
            return Session(name, "", Source(self.store, record))
        return Session(
            name,
            pool.name,
            Source(self.store, record),
            sticky=pool.options.proxy,
            judge=lambda verdict, why: self.judge(pool, used, verdict, why),
        )

    def judge(self, pool: Pool, used: Used | None, verdict: str, why: str) -> None:
        if used is not None:
            logger.debug("Session %s: %s %s", used.id, verdict, why)
            pool.judge(used, verdict)

    async def _make(self, name: str, made: Make) -> bool | None:
        pool, policy = self.pools[name], self.policies[name]
        record = self.store.get(made.id)
        session = self.session(made.id, record)
        if pool.options.user_agents and not made.refresh:
            agents = pool.options.user_agents
            session.set_header("User-Agent", agents[int(made.id[-8:], 16) % len(agents)])
        state = self._mocra.worker_state
        good = await make(
            self._mocra.crawler,
            policy,
            session,
            refresh=made.refresh,
            timeout=pool.options.init_timeout,
            count=self.count,
            close=state.close,
        )
        if good:
            self.store.cookies_changed(record)
            await self.store.save(record)  # before anybody may use it
        return good

    def headers_for(self, pool: Pool | None, record: Record, host: str) -> Sequence[tuple[str, str]]:
        """What *record*'s session sends to *host* beside cookies: nothing to a site that is not its own."""
        fields = ((key[2], one.value) for key, one in record.state.items() if not key[0] and one.value is not None)
        own = {name[len(HEADER) :]: str(value) for name, value in fields if name.startswith(HEADER)}
        if pool is None:
            return list(own.items())
        if self._find_pool(host) is not pool:
            return ()
        return list({**pool.options.headers, **own}.items())


class Source:
    """Of a :class:`~mocra_scrapy.models.sessions.Session`."""

    def __init__(self, store: SessionStore, record: Record) -> None:
        self._store, self._record = store, record

    def fields(self) -> Mapping[str, Any]:
        state = self._record.state
        return {key[2]: one.value for key, one in state.items() if not key[0] and one.value is not None}

    def set_fields(self, fields: Mapping[str, Any]) -> None:
        self._store.set_fields(self._record, fields)
        self._store.save_soon(self._record)

    def cookies(self) -> Sequence[Mapping[str, Any]]:
        return [
            {
                "name": one.name,
                "value": one.value,
                "domain": one.domain,
                "path": one.path,
                "expires": one.expires,
                "secure": one.secure,
            }
            for one in self._record.jar.cookies()
        ]

    def set_cookie(self, cookie: Mapping[str, Any]) -> None:
        domain = cookie["domain"]
        flags = PATH_GIVEN | (SECURE if cookie["secure"] else 0) | (DOMAIN_GIVEN | DOT if domain.startswith(".") else 0)
        value = Value((int(time.time() * 1e6), ""), cookie["value"], cookie["expires"], flags)
        self._record.jar.jar.set_cookie(cookie_of((domain, cookie["path"], cookie["name"]), value))
        self._store.cookies_changed(self._record)
        self._store.save_soon(self._record)
