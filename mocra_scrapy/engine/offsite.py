"""Requests that Scrapy's offsite filter ignores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.exceptions import IgnoreRequest

if TYPE_CHECKING:
    from types import TracebackType


def is_offsite(error: BaseException) -> bool:
    """Whether *error* comes from the offsite filter, or a class of the project's that is made of it. It
    has no type of its own, and no text on Scrapy 2.14: where it was raised says it.
    """
    trace: TracebackType | None = error.__traceback__
    if not isinstance(error, IgnoreRequest) or trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return isinstance(trace.tb_frame.f_locals.get("self"), OffsiteMiddleware)
