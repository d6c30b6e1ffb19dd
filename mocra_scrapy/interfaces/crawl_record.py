"""What is known of a crawl as a whole, and how it is deleted."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import CrawlRecord, WorkerInfo


class ICrawlRecord(Interface):
    """The record of one crawl, for people. Its part that workers go by is
    :class:`~mocra_scrapy.models.CrawlState`.
    """

    async def record() -> CrawlRecord:
        """Whose crawl it is, and since when. [a_record_tells_whose_crawl_it_is]"""

    async def reset(by: str, force: bool = False) -> Sequence[WorkerInfo]:
        """Delete everything that is stored of this crawl, as *by*; answers the living workers, other
        than *by*, for whose sake nothing was deleted. Empty: it is done.

        * Nothing is deleted while others live. [a_reset_is_refused_while_workers_live]
        * *force*: it is, and who lives learns by its next answer that the record is gone.
          [a_forced_reset_takes_the_record_away]
        * Other crawls keep all they have, whatever they are called. [a_reset_spares_other_crawls]
        * Nobody joins what is half deleted: a join waits until it is done, and finishes what
          somebody died of. [a_reset_that_was_left_is_finished_by_a_join]

        Raises:
            BackendUnavailable: it is not known how much was deleted, or somebody else is about it:
                repeat it.
        """

    async def clear() -> None:
        """A forced reset. [clear_deletes_everything]"""
