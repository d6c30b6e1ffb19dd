"""Where the state of all jobs is: on the backend that the workers share, or in a folder for
``memory://``.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mocra_scrapy.backends import open_backend, redact_url
from mocra_scrapy.cron.file_state import FileElection, FileShared, FileSigns
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.leader_note import LEADER, NOTE, LeaderNote, jobs_digest, read_note
from mocra_scrapy.cron.state import JobState, decode, encode
from mocra_scrapy.exceptions import BackendCorrupted, BackendError, BackendUnavailable, NotSupported
from mocra_scrapy.interfaces import IBackend, IElection, ILocks, IShared
from mocra_scrapy.models import SharedValue

logger = logging.getLogger(__name__)

#: Places of the lock that all launchers of a job hold together.
MANY = 1_000_000
#: Tries of one change while others change the same value.
TRIES = 100


class Signs(Protocol):
    """Signs of life of launchers, by name.

    Attributes:
        proof: silence proves that launcher and crawl are dead; else it may be an outage.
    """

    proof: bool

    def inherited(self, worker: str) -> Sequence[int]:
        """Files that the crawl of *worker* is to hold open, so that its life counts, too."""

    async def give(self, job: str, worker: str, ttl: float) -> bool:
        """*worker* lives, for *ttl* seconds to come."""

    async def end(self, job: str, worker: str) -> None:
        """It leaves."""

    async def alive(self, job: str, asked: frozenset[str]) -> frozenset[str]:
        """Those of *asked* that live."""

    async def close(self) -> None:
        """Drop what was held."""


class LockSigns:
    """One lock a job, with many places."""

    proof = False

    def __init__(self, locks: ILocks, name: str) -> None:
        self._locks, self._name = locks, name
        self._numbers: dict[str, int] = {}

    async def give(self, job: str, worker: str, ttl: float) -> bool:
        grant = await self._locks.acquire(f"{self._name}:{job}", worker, ttl, limit=MANY)
        if grant is not None:
            self._numbers[worker] = grant.number
        return grant is not None

    def inherited(self, worker: str) -> Sequence[int]:
        return ()

    async def end(self, job: str, worker: str) -> None:
        if worker in self._numbers:
            await self._locks.release(f"{self._name}:{job}", worker, self._numbers.pop(worker))

    async def alive(self, job: str, asked: frozenset[str]) -> frozenset[str]:
        return asked & {grant.owner for grant in await self._locks.holders(f"{self._name}:{job}")}

    async def close(self) -> None:
        await self._locks.close()


@dataclass(frozen=True, slots=True)
class Address:
    """Where the state is, in a form that is handed to launchers (over a pipe: the URL may hold a
    password).

    Attributes:
        url, prefix, options: of the backend.
        name: of this cron: runners, launchers and workers with the same address work on the same
            jobs.
        folder: for the state of ``memory://``, and for logs.
    """

    url: str
    prefix: str
    name: str
    folder: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Names it where everybody may look, without its password."""
        told = "\0".join((redact_url(self.url), self.prefix, self.name, self.folder))
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Stored:
    """A job's state and the version and fence it was stored with."""

    state: JobState
    version: int = 0
    fence: int = 0

    @classmethod
    def nothing(cls) -> Stored:
        """That of a job that was never seen."""
        return cls(JobState())


class Store:
    """The states of all jobs. Await :meth:`open` first and :meth:`close` at the end."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.folder = Path(address.folder)
        self.single = address.url.partition("://")[0].lower() == "memory"
        self._backend: IBackend | None = None
        self._known: dict[str, Stored] = {}
        self._damaged: dict[str, bytes | None] = {}
        self.shared: IShared
        self.election: IElection
        self.signs: Signs
        self.files: FileElection | None = None

    def __str__(self) -> str:
        return str(self.folder / "state.json") if self.single else redact_url(self.address.url)

    async def open(self, timeout: float = 15.0) -> None:
        """Connect.

        Raises:
            BackendUnavailable, ConfigurationError: see
                :meth:`mocra_scrapy.interfaces.IBackend.open`.
        """
        if self.single:
            self.files = self.election = FileElection(self.folder)
            self.shared, self.signs = FileShared(self.folder), FileSigns(self.folder)
            return
        name = f"cron:{self.address.name}"
        self._backend = open_backend(self.address.url, prefix=self.address.prefix, options=self.address.options)
        if not self._backend.shared:
            raise NotSupported("MOCRA_BACKEND", f"{self} is of one process", "Set memory:// or a Redis URL")
        await self._backend.open(timeout)
        self.shared, self.election = self._backend.shared_values(name), self._backend.election(name)
        self.signs = LockSigns(self._backend.locks(), name)

    async def close(self) -> None:
        """Drop the connections. May be called twice, and after a failed :meth:`open`."""
        if hasattr(self, "signs"):
            await self.signs.close()
            await self.shared.close()
        if self.files is not None:
            self.files.close()
        if self._backend is not None:
            await self._backend.close()

    async def get(self, job: str) -> Stored:
        found = await self.shared.get(job)
        return Stored(decode(job, found.value), found.version, found.fence)

    async def everything(self) -> dict[str, Stored]:
        """All jobs that were ever seen. One that can't be read is told of: it must not stop the
        others. States are read once, and then only those that changed.
        """
        if self.single:
            all_of_it = dict(await self.shared.everything())
            versions: Mapping[str, int] = {name: one.version for name, one in all_of_it.items()}
            changed = self._changed(versions)
            found = {name: all_of_it[name] for name in changed}
        else:
            changed = self._changed(await self.shared.versions())
            if len(changed) > 10:
                all_of_it = dict(await self.shared.everything())
                found = {name: all_of_it[name] for name in changed if name in all_of_it}
            else:
                found = {name: await self.shared.get(name) for name in changed}
        self._known.update({name: self._decoded(name, one) for name, one in found.items()})
        return dict(self._known)

    def _changed(self, versions: Mapping[str, int]) -> list[str]:
        """Names of what is to be read; what is there no more is forgotten."""
        for name in self._known.keys() - versions.keys():
            del self._known[name]
        return [name for name, version in versions.items() if not name.startswith(NOTE) and self._is_new(name, version)]

    def _is_new(self, name: str, version: int) -> bool:
        known = self._known.get(name)
        return known is None or known.version != version or not version

    def _decoded(self, name: str, found: SharedValue) -> Stored:
        try:
            return Stored(decode(name, found.value), found.version, found.fence)
        except BackendCorrupted as error:
            if self._damaged.get(name) != found.value:
                self._damaged[name] = found.value
                logger.error("%s; `scrapy cron forget %s` deletes it", error, name)
            return Stored(JobState(broken=True), found.version, found.fence)

    async def leading(self) -> LeaderNote | None:
        """What the leader, or the last one, wrote of itself; ``None``: nothing that can be read."""
        return read_note((await self.shared.get(LEADER)).value)

    async def write_note(self, note: LeaderNote) -> None:
        """In the name of its term; refused (quietly) when a later one has written."""
        await self.shared.put(LEADER, note.encode(), fence=note.term)

    def watch(self) -> AsyncIterator[str]:
        return self.shared.watch()

    async def put(self, job: str, old: Stored, new: JobState, *, fence: int | None = None) -> Stored | None:
        """Store *new* if nobody changed *old* meanwhile, and no term greater than *fence* wrote it;
        ``None``: refused.

        Without *fence* it is written on behalf of the term that wrote last: what it builds on is
        what that term decided.
        """
        mark = fence if fence is not None else old.fence or None
        got = await self.shared.put(job, encode(new), version=old.version, fence=mark)
        if got is None:
            return None
        self._known[job] = Stored(new, got.version, got.fence)
        return self._known[job]

    async def change(self, job: str, step: Callable[[JobState], JobState | None]) -> JobState | None:
        """Apply *step* to the stored state, again and again until nobody was faster.

        *step* must give the same state back when it was applied already: after a call without an
        answer it is tried again. It answers ``None`` to refuse; so does this then.

        Raises:
            BackendUnavailable: nobody answers, or others are always faster.
        """
        for attempt in range(TRIES):
            old = await self.get(job)
            new = step(old.state)
            if new is None or new == old.state:
                return new
            if await self.put(job, old, new) is not None:
                return new
            # Drawn, else those that met once meet again: fifty launchers of one job took all of a machine.
            await asyncio.sleep(random.uniform(0, min(0.01 * 2**attempt, 1.0)))  # noqa: S311
        raise BackendUnavailable(f"the state of the cron job {job!r} changed {TRIES} times before it could be written")


async def compare(store: Store, jobs: Mapping[str, Job], told: str) -> str:
    """Say so, once, when the leader has other jobs than these: then these never run.

    Args:
        told: what the last call returned: the digest that was complained about.
    """
    try:
        note = await store.leading()
    except BackendError:
        return told
    different = note.differs(jobs_digest(jobs)) if note is not None else ""
    if note is None or not different:
        return ""
    if note.digest != told:
        logger.warning("%s", different[0].upper() + different[1:])
    return note.digest
