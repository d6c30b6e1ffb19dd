"""A request is stored without what its session gave it: cookies and tokens stand under the session's key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy import Request

#: In ``meta`` of a request that is on its way: header -> the values that it had before, without its session.
GIVEN = "_mocra_session_headers"


def give(request: Request, headers: Sequence[tuple[str, str]]) -> None:
    """Set *headers* on *request*, which is about to leave, in place of its own. ``Cookie`` is remembered if it
    is there: it is the session's.
    """
    before: dict[str, list[bytes]] = {}
    for name, value in headers:
        before[name] = request.headers.getlist(name)
        request.headers[name] = value
    if "Cookie" in request.headers:
        before["Cookie"] = []
    if before:
        request.meta[GIVEN] = before


def take_off(request: Request) -> None:
    """The reverse: it was answered, or failed, or goes out once more."""
    before = request.meta.pop(GIVEN, None)
    if before:
        for name, values in before.items():
            if values:
                request.headers.setlist(name, values)
            else:
                request.headers.pop(name, None)


def without_given(headers: Mapping[bytes, Any], meta: Mapping[str, Any]) -> tuple[dict[bytes, Any], dict[str, Any]]:
    """*headers* and *meta* of a request on its way, as they were before."""
    before = {name.encode(): values for name, values in meta[GIVEN].items()}
    own = {name: before.get(name, values) for name, values in headers.items()}
    return {name: values for name, values in own.items() if values}, {k: v for k, v in meta.items() if k != GIVEN}
