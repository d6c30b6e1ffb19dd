"""The dead letters of a crawl."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zope.interface import Attribute, Interface

from mocra_scrapy.models import DeadLetter, LetterFilter, QueueOptions


class IDeadLetters(Interface):
    """Requests that failed permanently: kept with their reason, listed, replayed, purged. A part of
    every :class:`IRequestQueue`.

    * Letters survive the end of the run and the start of the next one. [letters_survive_the_run]
    * ``options.max_dead`` are kept, of all slots together; the oldest go first. [too_many_letters_push_out_the_oldest]
    * One that is older than ``options.dead_ttl`` is gone for every verb, and is deleted, whether or
      not anybody calls. [old_letters_go]

    Work per step on the server is bounded, however many letters there are.
    """

    options: QueueOptions = Attribute("What it was made with.")

    async def dead(
        limit: int = 100, *, after: str | None = None, where: LetterFilter | None = None
    ) -> Sequence[DeadLetter]:
        """Dead letters, oldest first; *after* is the id of the last one of the page before.
        [dead_letters_are_paged]

        * Only those that fit *where*; a page is full as long as enough of them are left.
          [letters_are_filtered]
        """

    async def count_dead(where: LetterFilter | None = None) -> Mapping[str, int]:
        """How many of each reason; reasons without any are left out.
        [letters_are_counted_by_reason]
        """

    async def find_dead(ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        """These letters. ``None``: no such letter. [letters_are_found_by_id]"""

    async def replay(ids: Sequence[str], *, forget: bool = False) -> Sequence[bool]:
        """Put dead letters back into the queue, as if never delivered. ``False``: no such letter.
        [replay_puts_back]

        * With *forget* the letter's fingerprint, where it is known, is forgotten in the same
          step. [replay_may_forget_the_fingerprint]
        * All letters of its delivery go with it, and its request is put back once: the callback
          runs again as a whole. [a_delivery_is_replayed_once]
        * A finished run is opened again, as by a push. [a_replay_after_the_end_reopens]
        """

    async def purge(ids: Sequence[str]) -> Sequence[bool]:
        """Delete dead letters for good. ``False``: no such letter. [purge_deletes]"""

    async def purge_where(where: LetterFilter, limit: int = 1000) -> int:
        """Delete the oldest letters that fit, *limit* at most; how many. [purge_deletes_what_fits]"""
