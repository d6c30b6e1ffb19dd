"""Streams of events: what other programs read of a crawl while it runs."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zope.interface import Interface


class IEventStream(Interface):
    """One stream, by name: the newest entries, in the order in which they were appended."""

    async def append(entries: Sequence[Mapping[str, bytes]]) -> None:
        """Add *entries*, each a few named texts or bytes, behind all others.

        * They are read in their order, by everybody who names the stream.
          [events_are_appended_in_order]
        * Of a stream that is longer than what its writer keeps the oldest entries go; a few more
          than that may stay. [an_event_stream_is_bounded]

        Raises BackendUnavailable: some or all of them may have been added.
        """

    async def read(after: str = "", most: int = 100) -> Sequence[tuple[str, Mapping[str, bytes]]]:
        """Entries behind the position *after* (empty: from the oldest one on), *most* at most, each
        with its position. [events_are_read_behind_a_position]
        """


class IEventStreams(Interface):
    """What a backend can add to :class:`~mocra_scrapy.interfaces.IBackend`."""

    def event_stream(name: str, keep: int) -> IEventStream:
        """The stream whose key on the server is *name*, with *keep* entries. No I/O."""
