"""``Shared``: one JSON value that many processes read without waiting and change without losing
each other's changes.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.coordination.json_types import json_type
from mocra_scrapy.exceptions import BackendError, ConfigurationError, MocraError
from mocra_scrapy.models import SharedValue

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IShared

logger = logging.getLogger(__name__)

T = TypeVar("T")
Listener = Callable[[T, T], object]

#: Seconds between two looks at what changed, for messages that were lost (jittered).
REFRESH = 10.0
LARGEST = 1_048_576  # bytes of one value
BATCH = 8  # values that are read at a time


class Shared(Generic[T]):
    """A named value. ``value`` is read locally; ``set`` and ``update`` change it for all.

    Its type is the JSON type of *default* (boolean, number, string, array, object; a whole number
    if *default* is one; any, if that is ``None``). What is written with another type is refused;
    what comes so from the store is logged, and the last good value kept.

    Args:
        space: where it lives.
        name: within the namespace.
        default: its value as long as nobody has set one.
        check: more rules: gives the value to use, or raises ConfigurationError or ValueError.

    Attributes:
        version: of ``value``; 0: the default.
    """

    def __init__(self, space: SharedSpace, name: str, default: T, check: Callable[[T], T] | None = None) -> None:
        self.name = name
        self.default = copy.deepcopy(default)  # whoever changes theirs in place changes theirs alone
        self.version = 0
        self._space = space
        self._check = check
        self._value = copy.deepcopy(default)
        self._heard = 0  # when what it knows was asked for, in calls of the space
        self._bad = -1  # the version that was complained about
        self._listeners: list[Listener[T]] = []
        self._valid(default, checked=False)

    @property
    def value(self) -> T:
        """What this process knows: at most a second old while the connection is up. Don't change a
        list or dict in place.
        """
        return self._value

    def on_change(self, listener: Listener[T]) -> None:
        """Call ``listener(new, old)`` in the event loop after each change that is heard of; several
        close ones may come as one.
        """
        self._listeners.append(listener)

    async def refresh(self) -> T:
        """Ask the store now.

        Raises:
            BackendUnavailable: no answer.
        """
        asked = self._space.tick()
        self.heard(await self._space.store.get(self.name), asked)
        return self._value

    async def set(self, value: T) -> None:
        """Store *value*, whatever is there.

        Raises:
            ConfigurationError: it has the wrong type, or is no JSON.
            BackendUnavailable: no answer; whether it was stored is unknown.
        """
        asked = self._space.tick()
        stored = await self._space.store.put(self.name, self._encode(value))
        assert stored is not None  # a put without conditions is not refused
        self.heard(stored, asked)

    async def reset(self) -> None:
        """Delete it: back to the default."""
        await self._space.store.put(self.name, None)
        await self.refresh()

    async def update(self, change: Callable[[T], T]) -> T:
        """Compare and set until it succeeds: store ``change(value)``, with nobody else's change
        between reading and writing.

        *change* may be called several times, each time with a copy, which it may change in place.
        Returns what was stored.

        Raises:
            ConfigurationError: what *change* returned has the wrong type; or only a leader writes
                this value.
            BackendUnavailable: no answer; whether the last attempt was stored is unknown.
        """
        tries = 0
        while True:
            asked = self._space.tick()
            current = await self._space.store.get(self.name)
            if current.fence:
                raise ConfigurationError(
                    f"shared value {self.name!r}", "only a leader writes it, with its term's number", "Use set()"
                )
            raw = self._encode(change(copy.deepcopy(self._decoded(current, keep=self._value))))
            stored = await self._space.store.put(self.name, raw, version=current.version)
            if stored is not None:
                self.heard(stored, asked)
                return cast("T", json.loads(raw))
            tries = min(tries + 1, 8)
            await asyncio.sleep(0.001 * tries * random.random())  # noqa: S311

    # ------------------------------------------------------------------ JSON

    def _encode(self, value: T) -> bytes:
        subject = f"shared value {self.name!r}"
        try:
            raw = json.dumps(self._valid(value), allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError) as error:
            raise ConfigurationError(subject, f"it can't be stored: {error}", "Use JSON data") from error
        if len(raw) > LARGEST:
            raise ConfigurationError(
                subject,
                f"{len(raw)} bytes are too many: every process reads each change of it",
                f"Use {LARGEST} at most, or store the rest elsewhere and share where it is",
            )
        return raw

    def _valid(self, value: Any, *, checked: bool = True) -> T:
        wanted, got = json_type(self.default), json_type(value)
        whole = isinstance(self.default, int) and not isinstance(value, int)
        if not got or (wanted != "null" and (got != wanted or (wanted == "number" and whole))):
            kind = "whole number" if wanted == "number" and isinstance(self.default, int) else wanted
            raise ConfigurationError(f"shared value {self.name!r}", f"{value!r} is no {kind}", f"Use a {kind}")
        good = cast("T", value)
        if checked and self._check is not None:
            try:
                return self._check(good)
            except ValueError as error:
                raise ConfigurationError(f"shared value {self.name!r}", str(error), "Use another value") from error
        return good

    def _decoded(self, found: SharedValue, keep: T) -> T:
        """What *found* means; *keep*, and a line in the log, if that is nothing of ours."""
        if found.value is None:
            return copy.deepcopy(self.default)
        try:
            if len(found.value) > LARGEST:
                raise ConfigurationError(f"shared value {self.name!r}", "it is too large", "Set it anew")
            return self._valid(json.loads(found.value))
        except (ValueError, RecursionError, MocraError) as error:
            if self._bad != found.version:
                self._bad = found.version
                logger.error("Shared value %r in the store is not usable, %r is kept: %s", self.name, keep, error)
            return keep

    def heard(self, found: SharedValue, asked: int) -> None:
        """The store said so; *asked*: what :meth:`SharedSpace.tick` gave before the call.

        Of answers that crossed, the greater version is the newer one. One that was asked for after
        the last was heard is newer whatever its version: a server that failed over may have lost
        what this process knows.
        """
        if asked <= self._heard and found.version <= self.version:
            if found.value is None:
                self._space.look_at([self.name])  # a deletion has no version: ask again
            return
        self._heard = self._space.tick()
        old, self._value = self._value, self._decoded(found, keep=self._value)
        self.version = found.version if found.value is not None else 0
        if self._value != old:
            for listener in self._listeners:
                try:
                    listener(self._value, old)
                except Exception:
                    logger.exception("A listener of the shared value %r failed", self.name)


class SharedSpace:
    """The values of one namespace that this process uses, kept up to date by one task.

    Args:
        store: the namespace.
        refresh: seconds between two looks for changes whose message was lost.
    """

    def __init__(self, store: IShared, refresh: float = REFRESH) -> None:
        self.store = store
        self._refresh = refresh
        self._values: dict[str, Shared[Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stale: set[str] = set()
        self._around = True  # messages may have been missed
        self._kicked = asyncio.Event()
        self._ticks = 0

    def tick(self) -> int:
        """A number for each call and each answer, in order."""
        self._ticks += 1
        return self._ticks

    def value(self, name: str, default: T, *, check: Callable[[T], T] | None = None) -> Shared[T]:
        """The value *name*, the same object for all who ask; its first answer comes with
        :meth:`open`, or soon if that was before.

        Raises:
            ConfigurationError: somebody in this process uses it with a default of another type.
        """
        known = self._values.get(name)
        if known is None:
            known = self._values[name] = Shared(self, name, default, check)
            self.look_at([name])
        elif json_type(known.default) != json_type(default):
            raise ConfigurationError(
                f"shared value {name!r}",
                f"it is used with the defaults {known.default!r} and {default!r}",
                "Agree on one type",
            )
        return known

    async def open(self) -> None:
        """Read all values once, if the backend answers, and follow their changes from now on."""
        if not self._tasks:
            try:
                await self._catch_up()
            except BackendError as error:
                logger.warning("Shared values have their defaults until the backend answers: %s", error)
            self.start()

    def start(self) -> None:
        """Follow the changes from now on, in tasks of the running loop; the first answers come
        soon.
        """
        if not self._tasks:
            self._kicked.set()
            self._tasks = [
                asyncio.create_task(self._listen(), name="mocra shared values"),
                asyncio.create_task(self._follow(), name="mocra shared values, refresh"),
            ]

    def look_at(self, names: Iterable[str]) -> None:
        """Read these anew, soon."""
        self._stale.update(names)
        self._kicked.set()

    async def _listen(self) -> None:
        async with aclosing(self.store.watch()) as changes:  # type: ignore[type-var]
            async for name in changes:
                self._around = self._around or name == "*"
                self.look_at({name} & self._values.keys())

    async def _follow(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._kicked.wait(), self._refresh * random.uniform(0.75, 1.25))  # noqa: S311
            except asyncio.TimeoutError:
                self._around = True
            try:
                await self._catch_up()
            except Exception as error:  # whatever it was: it must not go deaf
                logger.debug("Shared values: %s", error, exc_info=not isinstance(error, MocraError))
                await asyncio.sleep(random.uniform(0.2, 0.5))  # noqa: S311

    async def _catch_up(self) -> None:
        self._kicked.clear()
        around, self._around = self._around, False
        stale, self._stale = self._stale, set()  # what changes while we read is stale again
        try:
            if around:
                stale |= await self._changed()
            names = sorted(stale)
            for i in range(0, len(names), BATCH):
                await asyncio.gather(*(self._values[name].refresh() for name in names[i : i + BATCH]))
        except BaseException:
            self._around = around or self._around
            self.look_at(stale)
            raise

    async def _changed(self) -> set[str]:
        """What has another version than the one that is known here: versions only, so that a large
        value is read when it changes and not all the time.
        """
        names = sorted(self._values)
        versions = await self.store.versions(_shared_beginning(names)) if names else {}
        return {name for name in names if versions.get(name, 0) != self._values[name].version}

    async def close(self) -> None:
        """Stop following. May be called twice."""
        tasks, self._tasks = self._tasks, []
        await end_tasks(tasks)
        await self.store.close()


def _shared_beginning(names: Sequence[str]) -> str:
    """What all *names*, sorted, begin with: what the first and the last share, all share."""
    first, last = names[0], names[-1]
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:same]
