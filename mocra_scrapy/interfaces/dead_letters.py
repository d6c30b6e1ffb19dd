"""The dead letters of a crawl."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import DeadLetter, LetterFilter, QueueOptions


class IDeadLetters(Interface):
    """Requests that failed permanently: kept with their reason, listed, replayed, purged. A part of
    every :class:`IRequestQueue`.

    * Letters survive the end of the run and the start of the next one. [letters_survive_the_run]
    * ``options.max_dead`` are kept, of all slots together; the oldest go first. [too_many_letters_push_out_the_oldest]
    * One that is older than ``options.dead_ttl`` is gone for every verb, and is deleted, whether or
      not anybody calls. [old_letters_go]

    A burial may bring what the site answered, its *response*:

    * Of each kind of failure the first ``options.dead_bodies`` are kept, in the step that writes
      the letter; over several shards what is too much is dropped right behind it.
      [the_first_responses_of_a_kind_are_kept]
    * All together take no more than ``options.dead_bodies_bytes``; one that does not fit is not
      kept, its letter is. [responses_take_no_more_bytes_than_allowed]
    * The answer tells for each burial whether its response was kept, repeated the same.
      [an_answer_tells_which_responses_were_kept]
    * It goes with the letter (replayed, purged, pushed out, too old), and makes room for
      another one. [a_response_goes_with_its_letter]

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

    async def find_response(identity: str) -> bytes | None:
        """The response that is kept beside this letter, or beside another one of its delivery;
        ``None``: there is none. [a_response_is_found_by_any_letter_of_its_delivery]
        """

    async def response_sizes(ids: Sequence[str]) -> Sequence[int]:
        """Of the response beside each of these letters, in bytes as it is stored; 0: it has none of its own.
        [response_sizes_are_told]
        """

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
