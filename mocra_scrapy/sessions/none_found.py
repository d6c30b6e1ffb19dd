"""Why a request gets no session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from mocra_scrapy.sessions.pool_state import PoolState
    from mocra_scrapy.settings.sessions import PoolOptions


class NoSession(MocraError):
    """There was none in time."""


class SessionGone(MocraError):
    """The session that a request asks for by name is used up, or was dropped."""


class PoolClosed(NoSession):
    """Too many sessions could not be made."""


def why_none(name: str, options: PoolOptions, state: PoolState, *, only: str, closing: bool) -> str:
    """For people.

    Args:
        only: the session that was asked for by name.
        closing: whether the worker closes.
    """
    setting = f"MOCRA_SESSIONS[{name!r}]"
    if only:
        return f"session {only!r} was not usable within {setting}['wait'] = {options.wait:g} s"
    if closing:
        return f"no session of {name!r} is made any more: the worker closes"
    return (
        f"no session of {name!r} was to be had within {setting}['wait'] = {options.wait:g} s: "
        f"{counted(len(state.sessions), 'session')}, {state.bad} attempts failed. Raise it, or 'size'"
    )
