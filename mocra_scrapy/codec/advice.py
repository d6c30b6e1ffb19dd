"""What to do about a value that can't be stored, in a sentence."""

from __future__ import annotations

import types
from functools import partial
from typing import Any

from scrapy import Selector, Spider
from scrapy.crawler import Crawler
from scrapy.http import Response
from scrapy.selector import SelectorList

MAKE_IT_A_METHOD = "Make it a method of the spider"
MAKE = "Open it in the callback that needs it, or keep it in an attribute of the spider"
OWN = (
    "Make it a dict, a dataclass or an Item at module level, in a module of the project; or tell how with"
    " RequestCodec.register_item(cls, dump=…, load=…)"
)
BY_TYPE: list[tuple[tuple[Any, ...], str]] = [
    ((Response,), "Store what the callback needs of it: response.url, response.text, an extracted value"),
    ((Selector, SelectorList), "Store what it extracts: .get() or .getall()"),
    ((Spider, Crawler), "Callbacks have it as self and self.crawler"),
    ((types.FunctionType, types.BuiltinFunctionType, types.MethodType, partial), MAKE_IT_A_METHOD),
    ((types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.ModuleType), MAKE),
    ((BaseException,), "Store its text: str(error)"),
]
#: By the package of the class: none of them is imported here.
BY_PACKAGE = {
    "itemloaders": "Store loader.load_item()",
    "bs4": "Store its markup: str(tag)",
    "lxml": "Store its markup: lxml.etree.tostring(element)",
    "playwright": 'Close the page, and pass on a meta without "playwright_page"',
    "twisted": MAKE,
    "asyncio": MAKE,
    "_io": MAKE,
    "_thread": MAKE,
    "socket": MAKE,
}


def name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def advice(value: Any) -> str:
    """How to do without storing *value*."""
    for kinds, fix in BY_TYPE:
        if isinstance(value, kinds):
            return fix
    for kind in type(value).__mro__[:-1]:
        fix = BY_PACKAGE.get(str(kind.__module__).partition(".")[0], "")
        if fix:
            return fix
    return OWN
