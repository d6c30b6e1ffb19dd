"""What crosses :class:`~mocra_scrapy.interfaces.IDictionaries`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StoredDictionaries:
    """The compression dictionaries of one crawl.

    Attributes:
        current: identity of the one that is written with; ``None``: there is none.
        contents: all of them by identity.
    """

    current: int | None = None
    contents: Mapping[int, bytes] = field(default_factory=dict, repr=False)
