"""``MOCRA_*`` settings that nobody reads: misspelt ones, as a rule."""

from __future__ import annotations

import difflib
import logging
from typing import TYPE_CHECKING

from mocra_scrapy.settings import default_settings

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

logger = logging.getLogger(__name__)

PREFIX = "MOCRA_"


def warn_of_unknown(settings: BaseSettings) -> None:
    """One warning that names all of them, and what was probably meant."""
    known = [name for name in dir(default_settings) if name.startswith(PREFIX)]
    unknown = sorted(
        name for name in settings if isinstance(name, str) and name.startswith(PREFIX) and name not in known
    )
    if not unknown:
        return
    told = []
    for name in unknown:
        # What all of them share says nothing about which one was meant.
        near = difflib.get_close_matches(name[len(PREFIX) :], [k[len(PREFIX) :] for k in known], n=1)
        told.append(f"{name} (did you mean {PREFIX}{near[0]}?)" if near else name)
    logger.warning("Unknown settings, which have no effect: %s", ", ".join(told))
