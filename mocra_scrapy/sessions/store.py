"""``SessionStore``: the sessions that this worker uses, kept the same as those of the other workers.

A session is one value of the namespace ``sessions:<crawl>``, read when it is used for the first time and
after each change that another worker tells of; written, merged (:mod:`.cookie_merge`), when something
in it has changed. A page that changes nothing costs no round trip.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import BackendError, MocraError
from mocra_scrapy.models.wording import counted
from mocra_scrapy.sessions.cookie_merge import LARGEST, Key, Value, field, next_stamp, packed, tidied, unpack
from mocra_scrapy.sessions.jar import stored
from mocra_scrapy.sessions.record import Record
from mocra_scrapy.sessions.sealing import WrongKey

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IShared
    from mocra_scrapy.sessions.sealing import Seal

logger = logging.getLogger(__name__)

#: Seconds after which a session is read anew when it is used, for a message that was lost.
REFRESH = 60.0
#: Sessions that a worker knows; those known for longest are forgotten, and read again when needed.
MOST_KNOWN = 20_000
#: Seconds that a response waits for its cookies to be stored while the backend does not answer.
PATIENCE = 5.0
#: Seconds within which a change may not have reached all others: children carry its version.
RECENT = 30.0


class SessionStore:
    """The sessions of one crawl on one worker.

    Args:
        values: where they are; ``None``: nobody else can see them, and they live as long as this.
        worker: whose changes these are.
        seal: how they are stored.
        lasts: seconds that a session is kept after its last change.
        unreadable: called with the reason when one can't be read here.
        count: called with the name of a stat.
    """

    def __init__(
        self,
        values: IShared | None,
        worker: str,
        seal: Seal,
        *,
        lasts: float,
        unreadable: Callable[[str], None],
        count: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._values, self._worker, self._seal, self._lasts = values, worker, seal, lasts
        self._unreadable, self._count, self._clock, self._wall = unreadable, count, clock, wall
        self.records: dict[str, Record] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._changed_at = -math.inf
        self._told_cut = False

    def start(self) -> None:
        """Hear of the changes of others from now on."""
        if self._values is not None and not self._tasks:
            self._tasks = [asyncio.create_task(self._listen(), name="mocra sessions")]

    async def close(self) -> None:
        """Store what is not stored yet, and stop listening."""
        left = [record for record in self.records.values() if record.unsaved and self._values is not None]
        await asyncio.gather(*(self.save(record) for record in left), return_exceptions=True)
        tasks = [t for r in self.records.values() for t in (r.reading, r.writing) if t is not None]
        await end_tasks([*self._tasks, *tasks])
        self._tasks = []
        if self._values is not None:
            await self._values.close()

    async def _listen(self) -> None:
        assert self._values is not None
        while True:
            try:
                async with aclosing(self._values.watch()) as changes:  # type: ignore[type-var]
                    async for name in changes:
                        self._heard(name)
            except MocraError as error:
                logger.debug("Sessions: %s", error)
            self._heard("*")
            await asyncio.sleep(random.uniform(0.2, 0.5))  # noqa: S311

    def _heard(self, name: str) -> None:
        known = self.records.values() if name == "*" else filter(None, [self.records.get(name)])
        for record in known:
            if name == "*":
                record.echoes.forget()
            elif record.echoes.is_own():
                continue
            record.fresh_until = -math.inf

    # ------------------------------------------------------------------ using one

    def get(self, name: str) -> Record:
        """The session *name*, as far as it is known."""
        record = self.records.get(name)
        if record is None:
            record = self.records[name] = Record(name, self._clock)
            if len(self.records) > MOST_KNOWN and self._values is not None:
                self._forget()
        return record

    def _forget(self) -> None:
        for name in list(self.records)[: MOST_KNOWN // 10]:
            record = self.records[name]
            if not record.unsaved and record.reading is None and record.writing is None:
                del self.records[name]

    def is_fresh(self, record: Record, seen: int = 0) -> bool:
        """Whether *record* can be used as it is: at least as new as version *seen*."""
        if self._values is None:
            return True
        return record.reading is None and self._clock() < record.fresh_until and record.version >= seen

    async def refresh(self, record: Record) -> None:
        """Read *record*. Those who ask meanwhile wait for the same answer.

        Raises:
            BackendUnavailable: no answer.
            WrongKey: it can't be read here.
        """
        if self._values is None:
            return
        if record.reading is None:
            record.reading = asyncio.create_task(self._read(record), name=f"mocra session {record.name}")
            record.reading.add_done_callback(lambda done: self._done_reading(record, done))
        await asyncio.shield(record.reading)

    @staticmethod
    def _done_reading(record: Record, done: asyncio.Task[None]) -> None:
        record.reading = None
        if not done.cancelled():
            done.exception()  # whoever waits is told

    async def _read(self, record: Record) -> None:
        assert self._values is not None
        # What changes while it is asked for makes it stale again.
        record.fresh_until = self._clock() + REFRESH
        try:
            found = await self._values.get(record.name)
            self._take_in(record, found.value, found.version)
        except BaseException:
            record.fresh_until = -math.inf
            raise

    def _take_in(self, record: Record, value: bytes | None, version: int) -> None:
        if value is None:
            was_dropped, record.version, record.damaged = bool(record.version), 0, False
            record.learn({})
            record.gone = record.gone or (was_dropped and not record.unsaved)
            return
        try:
            state = unpack(self._seal.open(record.name, value))
        except WrongKey as error:
            self._unreadable(str(error))
            raise
        except ValueError as error:
            if version != record.version or not version:
                logger.error("Session %r in the store is not usable, it begins anew: %s", record.name, error)
                self._count("mocra/sessions/unreadable")
            state = {}
        record.version, record.damaged, record.gone = version, not version, False
        record.learn(tidied(state, self._wall()))

    # ------------------------------------------------------------------ changing one

    def cookies_changed(self, record: Record) -> bool:
        """Take over what was changed in the jar; whether that was anything."""
        changes = record.jar.take_changes()
        if not changes or self._values is None:
            return False
        stamp = self._stamp(record)
        self._change(record, {key: stored(cookie, stamp) for key, cookie in changes.items()})
        return True

    def set_fields(self, record: Record, fields: Mapping[str, Any]) -> None:
        """Change *fields*; JSON data, ``None`` deletes one."""
        stamp = self._stamp(record)
        self._change(record, {field(name): Value(stamp, value) for name, value in fields.items()})

    def _stamp(self, record: Record) -> tuple[int, str]:
        stamp = next_stamp(self._wall(), record.state.values(), self._worker, record.last)
        record.last = stamp[0]
        return stamp

    def _change(self, record: Record, values: Mapping[Key, Value]) -> None:
        record.state.update(values)
        record.changed_at = self._changed_at = self._clock()
        record.gone = False
        if self._values is not None:
            record.unsaved.update(values)

    @property
    def is_recent(self) -> bool:
        """Whether anything was changed of which others may not have heard."""
        return self._clock() - self._changed_at < RECENT

    def recent(self, record: Record) -> int:
        """The version that others may not have heard of; 0: there is none."""
        return record.version if self._clock() - record.changed_at < RECENT else 0

    async def save(self, record: Record) -> None:
        """Store what was changed, together with what others stored meanwhile. While the backend is
        away it waits for :data:`PATIENCE` seconds; the changes stay, and go with the next ones.
        """
        mine, deadline = dict(record.unsaved), self._clock() + PATIENCE
        while any(record.unsaved.get(key) is value for key, value in mine.items()):
            if record.writing is None:
                record.writing = asyncio.create_task(self._write(record), name=f"mocra session {record.name}, write")
                record.writing.add_done_callback(lambda done: self._done_writing(record, done))
            await asyncio.wait([record.writing], timeout=max(0.0, deadline - self._clock()))
            if self._clock() >= deadline:
                self._count("mocra/sessions/unsaved")
                logger.warning("Session %r is not stored yet: the backend does not answer", record.name)
                return

    def save_soon(self, record: Record) -> None:
        """The same, and nobody waits for it."""
        if record.unsaved and record.writing is None:
            record.writing = asyncio.ensure_future(self._write(record))
            record.writing.add_done_callback(lambda done: self._done_writing(record, done))

    def _done_writing(self, record: Record, done: asyncio.Task[None]) -> None:
        record.writing = None
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self.save_soon(record)  # what was changed meanwhile
        else:
            # Nothing that time would heal; with a wrong key the worker closes.
            record.unsaved.clear()
            if not isinstance(error, WrongKey):
                logger.error("Session %r can't be stored", record.name, exc_info=error)

    async def _write(self, record: Record) -> None:
        """Store what is unsaved now: one round trip, unless others wrote meanwhile."""
        assert self._values is not None
        pause = 0.0
        while record.unsaved:
            sent = dict(record.unsaved)
            plain, cut = packed(record.state, self._wall())
            raw = self._seal.seal(record.name, plain)
            version = None if record.damaged else record.version
            record.echoes.sent()
            try:
                put = await self._values.put(record.name, raw, version=version, lasts=self._lasts)
            except BackendError as error:
                logger.debug("Session %r: %s", record.name, error)
                record.echoes.forget()
                await asyncio.sleep(random.uniform(0.25, 0.5))  # noqa: S311
                await self._read_again(record)
                continue
            if put is not None:
                record.version, record.damaged = put.version, False
                self._count("mocra/sessions/stored")
                if cut:
                    self._tell_cut(record, cut)
                for key, value in sent.items():
                    if record.unsaved.get(key) is value:
                        del record.unsaved[key]
                return
            record.echoes.refused()
            self._count("mocra/sessions/merged")
            await self._read_again(record)
            await asyncio.sleep(pause * random.random())  # noqa: S311
            pause = min(0.02, pause + 0.002)

    def _tell_cut(self, record: Record, number: int) -> None:
        """The other workers do not have all of it, nor has this one from now on."""
        self._count("mocra/sessions/cut")
        if not self._told_cut:
            self._told_cut = True
            logger.warning(
                "Session %r holds more than %d KiB: %s found no room; no more of these are logged",
                record.name,
                LARGEST >> 10,
                counted(number, "value"),
            )
        record.fresh_until = -math.inf

    async def _read_again(self, record: Record) -> None:
        record.fresh_until = -math.inf
        try:
            await self.refresh(record)
        except BackendError as error:
            logger.debug("Session %r: %s", record.name, error)

    async def drop(self, names: Iterable[str]) -> None:
        """Delete sessions, here and for all.

        Raises:
            BackendUnavailable: no answer.
        """
        for name in names:
            record = self.records.pop(name, None)
            if record is not None:
                record.gone = True
                record.unsaved.clear()
            if self._values is not None:
                await self._values.put(name, None)
