"""The project's own classes whose instances may be stored, found in code that is there.

The store names a class; it is looked for among the classes that this process has in the modules of
the project. Nothing is imported because a payload names it.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import Enum
from http import HTTPStatus
from importlib import import_module
from types import GenericAlias
from typing import Any, ClassVar
from urllib.parse import DefragResult, DefragResultBytes, ParseResult, ParseResultBytes, SplitResult, SplitResultBytes

from scrapy import Item, Spider

from mocra_scrapy.codec.advice import name_of
from mocra_scrapy.exceptions import ConfigurationError, UnreadablePayload, UnserializableRequest
from mocra_scrapy.settings.reader import SettingsReader

#: What the standard library's functions give to spiders.
EVERYWHERE: tuple[type, ...] = (
    HTTPStatus,
    ParseResult,
    ParseResultBytes,
    SplitResult,
    SplitResultBytes,
    DefragResult,
    DefragResultBytes,
)
#: Classes within classes, this deep: a spider's enum, an item's.
NESTED = 3
FIX = (
    "Import it at the top of the spider's module or of a module of the project, or name it in MOCRA_ITEM_CLASSES,"
    " in every worker"
)


def is_item_class(kind: Any) -> bool:
    """Whether instances of *kind* can be taken apart and made again without calling anything of
    the project's: dataclasses, attrs, pydantic, ``scrapy.Item``, enums, named tuples, subclasses
    of dict, list and set.
    """
    # Before Python 3.11 ``list[int]`` passes for a type, and is none.
    return (
        isinstance(kind, type)
        and not isinstance(kind, GenericAlias)
        and (
            issubclass(kind, (Enum, Item, dict, list, set))
            or dataclasses.is_dataclass(kind)
            or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
            or "__attrs_attrs__" in kind.__dict__
            or hasattr(kind, "__pydantic_core_schema__")
        )
    )


class ItemClasses:
    """The classes that payloads of one spider may name.

    Looked for in the modules that are loaded: those of the spider and of its base classes, those
    of the packages of ``SPIDER_MODULES``, and what ``MOCRA_ITEM_CLASSES`` names; what such a module
    imported counts.
    """

    #: By :func:`RequestCodec.register_item`: name -> class, and how to take it apart and make it.
    registered: ClassVar[dict[str, type]] = {}
    explicit: ClassVar[dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {}

    def __init__(self, spider: Spider) -> None:
        settings = getattr(spider, "settings", None)
        spider_modules = settings.getlist("SPIDER_MODULES") if settings is not None else []
        named = SettingsReader(settings).paths("MOCRA_ITEM_CLASSES") if settings is not None else []
        own = [base.__module__ for base in type(spider).__mro__]
        self._packages = {name.partition(".")[0] for name in [*spider_modules, *own]}
        self._packages -= {"builtins", "scrapy", "mocra_scrapy"}
        self._modules: set[str] = set()
        self._found: dict[str, type] = {name_of(kind): kind for kind in EVERYWHERE}
        self._scanned = -1
        for package in {name.partition(".")[0] for name in spider_modules}:
            # By convention, whether or not a spider imports it; a project without one is fine, and
            # one that nobody could import until now is not our affair.
            with suppress(Exception):
                import_module(f"{package}.items")
        for path in named:
            self._load(path)

    def _load(self, path: str) -> None:
        """A module or a class that the user's settings name."""
        module, _, name = path.rpartition(".")
        try:
            with suppress(ModuleNotFoundError):
                import_module(path)
                self._modules.add(path)
                return
            kind = getattr(import_module(module), name)
        except Exception as error:
            raise ConfigurationError(
                "MOCRA_ITEM_CLASSES", f"{path!r} can't be loaded: {error}", "Name modules or classes by import path"
            ) from error
        if not is_item_class(kind) and kind not in self.explicit:
            raise ConfigurationError(
                "MOCRA_ITEM_CLASSES",
                f"{path!r} is not an item class",
                "Name a dict, dataclass, attrs, pydantic, enum or Item class, or RequestCodec.register_item it",
            )
        self._found[name_of(kind)] = kind

    def name(self, kind: type) -> str:
        """Under which name payloads know *kind*.

        Raises:
            UnserializableRequest: other workers would not find it.
        """
        name = name_of(kind)
        if self._get(name) is not kind:
            fix = "Define it at module level" if "<locals>" in name else FIX
            raise UnserializableRequest(f"class {name} would not be found by other workers. {fix}")
        return name

    def find(self, name: Any) -> type:
        """The class of that name.

        Raises:
            UnreadablePayload: this process has none.
        """
        kind = self._get(name) if type(name) is str else None
        if kind is None:
            raise UnreadablePayload(f"class {name!r} is not known to this worker. {FIX}")
        return kind

    def _get(self, name: str) -> type | None:
        kind = self._found.get(name) or self.registered.get(name)
        if kind is None and len(sys.modules) != self._scanned:  # a module may have come since
            self._scanned = len(sys.modules)
            for module in self._loaded():
                for found in _classes(vars(module).values(), NESTED):
                    self._found.setdefault(name_of(found), found)
            kind = self._found.get(name)
        return kind

    def _loaded(self) -> Iterator[Any]:
        for name, module in list(sys.modules.items()):
            mine = name in self._modules or name.partition(".")[0] in self._packages
            if mine and module is not None and hasattr(module, "__dict__"):
                yield module


def _classes(values: Iterable[Any], depth: int) -> Iterator[type]:
    """Item classes among *values*, and those within them."""
    for value in list(values):
        if isinstance(value, type):
            if is_item_class(value):
                yield value
            if depth:
                prefix = f"{value.__qualname__}."
                inner = [v for v in vars(value).values() if isinstance(v, type) and v.__qualname__.startswith(prefix)]
                yield from _classes(inner, depth - 1)
