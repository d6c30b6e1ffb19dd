"""Where a run begins in the log: what lies before is never fed to it.

==============================================  =====================================================
the run                                         begins
==============================================  =====================================================
follows one that was finished                   at the end of the log
is the first of a record (the crawl is new, or  where the group has committed; where it never did, at
what was stored of it is lost)                  the first message that is there
goes on, and a topic has more partitions now    there at the first message
==============================================  =====================================================

A reset empties the log, so that the first run after it finds nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from mocra_scrapy.backends.kafka.log_names import LogPartition
from mocra_scrapy.backends.kafka.log_values import Marks
from mocra_scrapy.backends.kafka.offset_lookup import OffsetLookup
from mocra_scrapy.interfaces import ILoggedQueue
from mocra_scrapy.models import LogState
from mocra_scrapy.models.wording import counted

logger = logging.getLogger(__name__)


async def begin(window: ILoggedQueue, lookup: OffsetLookup, crawl: str) -> LogState:
    """Say where the crawl's run begins, unless that was said. Before anything of it is written.

    Raises:
        BackendUnavailable, ConfigurationError: see :class:`OffsetLookup` and :class:`ILoggedQueue`.
    """
    known = await window.log_state()
    counts = await lookup.partitions()
    partitions = {LogPartition(tier, number) for tier, count in counts.items() for number in range(count)}
    if _is_said(known, partitions):
        return known
    marks = await lookup.marks()
    # Said by another worker meanwhile: the ends may have what it wrote since, which is nothing to be told of.
    now = await window.log_state()
    if _is_said(now, partitions):
        return now
    begins = {str(partition): begin_of(known, mark) for partition, mark in marks.items()}
    state = await window.begin_log(known.run, begins)
    _tell(crawl, known, marks, state)
    return state


def _is_said(state: LogState, partitions: Iterable[LogPartition]) -> bool:
    return state.log_run == state.run and all(str(partition) in state.positions for partition in partitions)


def begin_of(known: LogState, mark: Marks) -> int:
    """Where one partition begins, see above."""
    if known.run > 1 and known.log_run != known.run:
        return mark.end
    if known.run == known.log_run or mark.committed is None:
        return mark.first
    return min(max(mark.committed, mark.first), mark.end)


def _tell(crawl: str, known: LogState, marks: Mapping[LogPartition, Marks], state: LogState) -> None:
    for partition, mark in marks.items():
        if mark.problem:
            logger.warning(
                "The log of crawl %r: what was committed of %s is ignored: %s", crawl, partition, mark.problem
            )
    left = sum(max(0, mark.end - state.begins.get(str(partition), mark.end)) for partition, mark in marks.items())
    if left and known.run == 1 and known.log_run == 0:
        logger.warning(
            "Crawl %r has no record, and its log has %s that no record says to be done: the crawl goes on with them",
            crawl,
            counted(left, "request"),
        )
