"""What crosses :class:`~mocra_scrapy.interfaces.ILoggedQueue`: a queue that works on what a log keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from mocra_scrapy.models.queue import Entry, Lease, QueueSize

#: Offsets of a log from the first one of a pair up to, not including, the second.
Offsets = tuple[int, int]
#: Who pushed an entry, and the token of its lease in transit, which has no spaces.
Transit = tuple[str, str]
NOTHING_FINISHED: Mapping[str, Sequence[Offsets]] = MappingProxyType({})
IN_NO_TRANSIT: Mapping[int, Transit] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LogTurn:
    """What an exchange says of the log.

    Attributes:
        hold: whether the call's pushes are stored in transit: leased to their pusher, until it says
            by ``moved`` that the log has them.
        moved: leases of entries in transit that the log has now.
        at: for each of these its partition and offset, where it may be lined up at once instead of
            coming by a feed; ``None``: it may not. Empty: none may.
        keep: leases of entries in transit that the log does not get: they are lined up here.
    """

    hold: bool = False
    moved: Sequence[Lease] = ()
    keep: Sequence[Lease] = ()
    at: Sequence[tuple[str, int] | None] = ()


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """What an exchange answers to a :class:`LogTurn`.

    Attributes:
        transit: for each push the lease of its entry in transit; ``None``: it is none, as it was not
            stored, or was lined up at once.
        moved: for each of ``moved``, whether it was still in transit: neither fed before, nor taken from
            a pusher that was taken for dead.
        taken: for each of ``moved``, whether it was lined up at once.
        kept: for each of ``keep``, whether it was still in transit.
    """

    transit: Sequence[Lease | None] = ()
    moved: Sequence[bool] = ()
    kept: Sequence[bool] = ()
    taken: Sequence[bool] = ()


@dataclass(frozen=True, slots=True)
class Feed:
    """What was read of one partition of a log.

    Attributes:
        partition: its name.
        start, stop: offsets that were read, without ``stop``.
        entries: offset and entry, the lowest offset first. ``fingerprint`` is not filtered, ``delay``
            is what is left of it. All offsets without an entry are passed over: they are finished.
        transit: offset -> as what its entry was in transit.
    """

    partition: str
    start: int
    stop: int
    entries: Sequence[tuple[int, Entry]] = ()
    transit: Mapping[int, Transit] = IN_NO_TRANSIT


@dataclass(frozen=True, slots=True)
class Fed:
    """The answer to a feed.

    Attributes:
        positions: partition -> offset up to which it was fed, of those that were fed or asked for;
            ``None``: nobody said where it begins.
        stored: how many entries were stored; the others had been before.
        finished: partition -> some of its finished offsets that nobody confirmed yet, the lowest first.
        size: counts after this call.
        moves: see :class:`LogState`.
    """

    positions: Mapping[str, int | None]
    stored: int
    finished: Mapping[str, Sequence[Offsets]]
    size: QueueSize
    moves: int


@dataclass(frozen=True, slots=True)
class LogState:
    """How a queue stands to its log.

    Attributes:
        run: of the crawl; 0: it has no record.
        born: of its record, see :class:`~mocra_scrapy.models.CrawlState`.
        log_run: the run for which ``begins`` were said last; 0: none.
        moves: entries that went from transit into the log, since the crawl began. Only grows.
        begins: partition -> where that run begins.
        positions: partition -> offset up to which it was fed.
    """

    run: int = 0
    born: int = 0
    log_run: int = 0
    moves: int = 0
    begins: Mapping[str, int] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)
