"""Places the extension that tells of events, where somebody wants them; else it is not even imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.utils.misc import load_object

from mocra_scrapy.settings.reader import touched

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

PATH = "mocra_scrapy.extensions.events.Events"


def place_events(settings: BaseSettings) -> None:
    """Raises ConfigurationError: a setting is wrong."""
    if not touched(settings, "MOCRA_EVENTS"):
        return
    from mocra_scrapy.settings.events import read_events

    if read_events(settings) is not None:
        settings.setdefault_in_component_priority_dict("EXTENSIONS", load_object(PATH), 0)
