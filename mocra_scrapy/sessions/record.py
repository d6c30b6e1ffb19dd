"""``Record``: one session as a worker knows it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mocra_scrapy.sessions.cookie_merge import Key, State, Value, field, merged
from mocra_scrapy.sessions.echoes import Echoes
from mocra_scrapy.sessions.jar import SessionJar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Record:
    """One session as this worker knows it.

    Attributes:
        name: under which it is stored.
        jar: its cookies.
        state: all that is known, own changes included.
        version: of what is stored; 0: nothing that is known of.
        gone: it was dropped; nothing of it is stored any more.
    """

    __slots__ = (
        "changed_at",
        "damaged",
        "echoes",
        "fresh_until",
        "gone",
        "jar",
        "last",
        "name",
        "reading",
        "state",
        "unsaved",
        "version",
        "writing",
    )

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name, self.jar = name, SessionJar()
        self.state: dict[Key, Value] = {}
        self.unsaved: dict[Key, Value] = {}
        self.version = self.last = 0
        self.fresh_until, self.changed_at = -math.inf, -math.inf
        self.gone = self.damaged = False
        self.echoes = Echoes(clock)
        self.reading: asyncio.Task[None] | None = None
        self.writing: asyncio.Task[None] | None = None

    def field(self, name: str) -> Any:
        known = self.state.get(field(name))
        return None if known is None else known.value

    @property
    def has_fields(self) -> bool:
        """Whether there is anything beside cookies."""
        return bool(self.state) and any(not key[0] for key in self.state)

    def learn(self, state: State) -> None:
        """*state* is what is known from now on, together with what is not saved yet."""
        new = merged(state, self.unsaved)
        self.jar.load(self.state, new)
        self.state = new
