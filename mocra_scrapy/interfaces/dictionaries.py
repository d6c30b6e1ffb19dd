"""What compressed payloads of a crawl need to be read."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import StoredDictionaries


class IDictionaries(Interface):
    """The compression dictionaries of one crawl, stored beside its queue.

    A dictionary is stored before anything is written with it, and outlives everything that was: it
    goes with the crawl's record only.
    """

    async def dictionaries() -> StoredDictionaries:
        """All of them, and which one is written with."""

    async def add_dictionary(identity: int, content: bytes, *, instead_of: int | None) -> int | None:
        """Store *content* and write with it from now on; answers the identity of the one that is
        written with.

        * It comes back byte for byte, to every worker. [a_dictionary_comes_back_byte_for_byte]
        * Nothing happens unless *instead_of* is the current one (``None``: there is none): of
          several workers that trained one at the same time the first one wins.
          [one_dictionary_wins]
        * Once stored it never changes, and stays when another one takes its place.
          [old_dictionaries_stay]
        * It stays when the run is finished and when the next one begins.
          [dictionaries_outlive_the_run]
        * :meth:`~mocra_scrapy.interfaces.IRequestQueue.clear` deletes it with all else.
          [clear_deletes_dictionaries]
        * A crawl keeps 100 of them; more are not stored. [dictionaries_are_bounded]

        Args:
            identity: made of the content, from 0 to 65,535.
            content: about 8 KiB.
        """
