"""Crash-safe, polite, operable distributed crawling for any Scrapy project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mocra_scrapy._version import __version__, too_old

if TYPE_CHECKING:
    from mocra_scrapy.addon import Addon
    from mocra_scrapy.runtime import Mocra

__all__ = ["Addon", "Mocra", "__version__"]


def __getattr__(name: str) -> Any:
    """Import on first use: every ``scrapy`` command imports this package, and floor 2 needs no
    Scrapy.
    """
    if name in __all__:
        import scrapy

        if (sentence := too_old(scrapy)) is not None:
            # Scrapy loads add-ons first of all: nothing has begun, and a traceback says no more.
            raise SystemExit(sentence) if name == "Addon" else ImportError(sentence)
    if name == "Addon":
        from mocra_scrapy.addon import Addon

        return Addon
    if name == "Mocra":
        from mocra_scrapy.runtime import Mocra

        return Mocra
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
