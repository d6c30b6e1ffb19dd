"""What only the process that runs the spider can name: its methods, its project's classes, and
what these make up. Stored by name, found among what is there.
"""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import Any

from scrapy import Spider

from mocra_scrapy.codec import item_states
from mocra_scrapy.codec.advice import MAKE_IT_A_METHOD, OWN, advice, name_of
from mocra_scrapy.codec.item_classes import ItemClasses, is_item_class
from mocra_scrapy.codec.spider_methods import SpiderMethods
from mocra_scrapy.exceptions import UnreadablePayload, UnserializableRequest

#: Extension types, part of the stored format like those of :mod:`mocra_scrapy.codec.values`.
ITEM, METHOD, CLASS, PAGE_METHOD = range(32, 36)
PAGE_METHOD_NAME = "scrapy_playwright.page.PageMethod"


class SpiderObjects:
    """Takes such values apart, and makes them again."""

    def __init__(self, spider: Spider) -> None:
        self.methods = SpiderMethods(spider)
        self._items = ItemClasses(spider)

    def dump(self, value: Any) -> tuple[int, Any] | None:
        """The extension type and what to pack of *value*; ``None``: it is none of these.

        Raises:
            UnserializableRequest: it is one, but can't be found or taken apart.
        """
        kind = type(value)
        if kind in ItemClasses.explicit:
            return ITEM, [self._items.name(kind), ItemClasses.explicit[kind][0](value)]
        if is_item_class(kind):
            try:
                name = self._items.name(kind)
            except UnserializableRequest as error:
                fix = advice(value)  # for a list of selectors, say, there is a better one
                raise (
                    error if fix is OWN else UnserializableRequest(f"{name_of(kind)} can't be stored. {fix}")
                ) from None
            return ITEM, [name, item_states.dump(value)]
        if isinstance(value, (MethodType, partial, FunctionType)):
            try:
                return METHOD, self.methods.name(value, "a function")
            except UnserializableRequest as error:
                raise UnserializableRequest(f"{error}. {MAKE_IT_A_METHOD}") from None
        if isinstance(value, type) and (is_item_class(value) or value in ItemClasses.explicit):
            return CLASS, self._items.name(value)
        if name_of(kind) == PAGE_METHOD_NAME:
            # What the page answered is left out: whoever fetches the request asks again.
            return PAGE_METHOD, [value.method, list(value.args), value.kwargs]
        return None

    def load(self, code: int, plain: Any) -> Any:
        """The value.

        Raises:
            UnreadablePayload: this process doesn't know the class or the method.
            Exception: of any kind, for bytes that nobody of ours wrote.
        """
        if code == ITEM:
            name, state = plain
            kind = self._items.find(name)
            if kind in ItemClasses.explicit:
                return ItemClasses.explicit[kind][1](state)
            return item_states.load(kind, state)
        if code == METHOD:
            return self.methods.method(plain, "a method")
        if code == CLASS:
            return self._items.find(plain)
        if code == PAGE_METHOD:
            return _page_method(*plain)
        raise ValueError(f"unknown extension type {code}")


def _page_method(method: Any, args: list[Any], keywords: dict[str, Any]) -> Any:
    try:
        from scrapy_playwright.page import PageMethod
    except ImportError as error:
        raise UnreadablePayload("a PageMethod: install scrapy-playwright in this worker's environment") from error
    made = PageMethod(method)
    made.args, made.kwargs = tuple(args), {**keywords}
    return made


class Shown(dict[str, Any]):
    """An instance, for people; may be a key."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class Name(str):
    """A class or a method, for people; may be the factory of a defaultdict."""

    __slots__ = ()

    def __call__(self) -> None: ...


class Named:
    """In place of :class:`SpiderObjects`, for who only looks: shows names."""

    def dump(self, value: Any) -> tuple[int, Any] | None:
        return None

    def load(self, code: int, plain: Any) -> Any:
        if code == ITEM:
            name, state = plain
            return Shown({str(name): state})
        if code in (METHOD, CLASS):
            return Name(plain) if isinstance(plain, str) else Shown({"method": plain})
        if code == PAGE_METHOD:
            return Shown({PAGE_METHOD_NAME: plain})
        raise ValueError(f"unknown extension type {code}")
