"""Methods of the spider <-> their names, for callbacks and for values of ``meta``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

from scrapy import Spider
from scrapy.http.request import NO_CALLBACK

from mocra_scrapy.exceptions import UnreadablePayload, UnserializableRequest

NO_CALLBACK_MARK = 0  # in place of a method's name


class SpiderMethods:
    """Names of a spider's methods, and back. Searched once per function, not once per request.

    Stored is a name, or for :func:`functools.partial` of such a method ``[name, args, keywords]``.
    """

    def __init__(self, spider: Spider) -> None:
        self._spider = spider
        self._names: dict[object, str] = {}
        self._methods: dict[Any, Callable[..., Any]] = {}

    def name(self, function: Any, role: str) -> str | int | list[Any]:
        """What is stored for *function*.

        Raises:
            UnserializableRequest: it is no method of this spider.
        """
        if function is NO_CALLBACK:
            return NO_CALLBACK_MARK
        plain, owner = getattr(function, "__func__", None), getattr(function, "__self__", None)
        if plain is None or (owner is not self._spider and owner is not type(self._spider)):
            return self._other(function, role)
        name = self._names.get(plain)
        if name is None:
            name = self._names[plain] = self._search(plain, role)
        return name

    def _other(self, function: Any, role: str) -> str | list[Any]:
        """A partial of a method, or a static method."""
        if type(function) is partial and not vars(function):
            name = self.name(function.func, role)
            if type(name) is str:
                return [name, list(function.args), function.keywords]
        if isinstance(function, FunctionType):
            found = inspect.getattr_static(self._spider, function.__name__, None)
            if isinstance(found, staticmethod) and found.__func__ is function:
                return function.__name__
        shown = getattr(function, "__qualname__", function)
        raise UnserializableRequest(f"{role}: {shown!r} is not a method of spider {self._spider.name!r}", role)

    def _search(self, plain: Any, role: str) -> str:
        """The attribute under which the spider has *plain*; not always its ``__name__`` (mangled,
        aliased, decorated).
        """
        for name in [str(plain.__name__), *dir(self._spider)]:
            found = inspect.getattr_static(self._spider, name, None)
            found = getattr(found, "__func__", found)
            if found is plain and not name.startswith("__"):
                return name
        raise UnserializableRequest(
            f"{role}: spider {self._spider.name!r} has no attribute that is {plain.__qualname__}", role
        )

    def method(self, stored: Any, role: str) -> Callable[..., Any]:
        """The method that *stored* names.

        Raises:
            UnreadablePayload: the spider has none of that name.
        """
        known = self._methods.get(stored) if isinstance(stored, (str, int)) else None
        if known is None:
            if stored == NO_CALLBACK_MARK and type(stored) is int:
                return NO_CALLBACK
            if type(stored) is list and len(stored) == 3 and type(stored[0]) is str:
                _, args, keywords = stored
                if not all(type(name) is str for name in keywords):
                    raise UnreadablePayload(f"{role} {stored[0]!r} has keywords that are not names")
                return partial(self.method(stored[0], role), *args, **keywords)
            if not isinstance(stored, str) or stored.startswith("__"):
                raise UnreadablePayload(f"{role} {stored!r} is not a method name")
            if not callable(
                getattr(inspect.getattr_static(self._spider, stored, None), "__func__", None)
            ) and not callable(inspect.getattr_static(self._spider, stored, None)):
                name = self._spider.name
                raise UnreadablePayload(
                    f"{role} {stored!r} is no longer a method of spider {name!r}. When it was renamed, give the old name"
                    f" to the method as well ({stored} = new_name) and put the requests back:"
                    f" scrapy mocra dead replay {name} --reason unreadable"
                )
            known = self._methods[stored] = getattr(self._spider, stored)
        return known
