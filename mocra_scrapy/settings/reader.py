"""Reads single settings and checks them. Each area of settings has a module that says which and
how, as :mod:`mocra_scrapy.settings.crawl`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings import default_settings
from mocra_scrapy.settings.checks import setting_number

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings


#: Settings that the environment may give: where a project runs, and what no file should have.
FROM_ENVIRONMENT = (
    "MOCRA_BACKEND",
    "MOCRA_QUEUE_BACKEND",
    "MOCRA_STATE_BACKEND",
    "MOCRA_EVENTS_BACKEND",
    "MOCRA_SECRET_KEY",
)


def default_of(name: str) -> Any:
    """What *name* is where nothing sets it."""
    default = getattr(default_settings, name)
    return os.environ.get(name) or default if name in FROM_ENVIRONMENT else default


def touched(settings: BaseSettings, *prefixes: str) -> bool:
    """Whether a setting whose name begins with one of *prefixes* is not what it is by default. Then its
    feature may be on, and its value may be wrong; else neither, so that nobody needs to read it.
    """
    return any(
        name.startswith(prefixes) and settings.get(name) not in (None, value)
        for name, value in vars(default_settings).items()
    )


class SettingsReader:
    """Reads single settings, with the default of :mod:`~mocra_scrapy.settings.default_settings`
    where the project has none.
    """

    def __init__(self, settings: BaseSettings) -> None:
        self._settings = settings

    def value(self, name: str) -> Any:
        value = self._settings.get(name)
        return default_of(name) if value is None else value

    def number(self, name: str, least: float, most: float, what: str) -> float:
        return setting_number(name, self.value(name), least, most, what=what)

    def whole(self, name: str, least: int, most: int, what: str) -> int:
        return int(setting_number(name, self.value(name), least, most, what=what, whole=True))

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self.value(name)
        if value not in choices:
            raise ConfigurationError(name, f"{value!r} is unknown", f"Set one of {', '.join(map(repr, choices))}")
        return str(value)

    def text(self, name: str, what: str) -> str:
        value = self.value(name)
        if not isinstance(value, str) or not value.strip():
            raise ConfigurationError(name, f"{value!r} is not {what}", "Set a text that is not empty")
        return value

    def flag(self, name: str) -> bool:
        try:
            return bool(self._settings.getbool(name, getattr(default_settings, name)))
        except ValueError as error:
            raise ConfigurationError(
                name, f"{self.value(name)!r} is neither true nor false", "Set True or False"
            ) from error

    def texts(self, name: str, what: str) -> list[str]:
        """A list, or a text with commas in between, as Scrapy's own ``getlist``; or the JSON of a list
        (``-s``, the environment). *what* it is of.
        """
        value = self.value(name)
        texts = value.split(",") if isinstance(value, str) and value else value or []
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                texts = json.loads(value)
            except ValueError as error:
                raise ConfigurationError(
                    name, f"it is not valid JSON: {error}", 'Write ["one", "other"], or one,other'
                ) from None
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) and text.strip() for text in texts):
            raise ConfigurationError(name, f"{value!r} is not a list of {what}", "Set a list of texts")
        return [text.strip() for text in texts]

    def paths(self, name: str) -> list[str]:
        """Import paths, see :meth:`texts`."""
        return self.texts(name, "import paths")

    def mapping(self, name: str) -> dict[str, Any]:
        """A dict, or the JSON of one (``-s``, the environment): as Scrapy's own ``getdict``."""
        value = self.value(name)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError as error:
                raise ConfigurationError(
                    name, f"it is not valid JSON: {error}", 'Write, for example, {"socket_timeout": 2}'
                ) from None
        if not isinstance(value, Mapping):
            raise ConfigurationError(name, f"{type(value).__name__} is not a dict", "Set a dict")
        return dict(value)
