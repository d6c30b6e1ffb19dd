"""An item of any class that Scrapy knows -> what is stored of it: its fields, and the same as JSON.

Beside them goes the item's *origin*, by which a reader tells repeats apart: a page whose worker was
killed before it was acknowledged is fetched again, and its items are stored again.

============  ================================================================================
``page``      fingerprint of the page's request, as the filter knows it (hex)
``item``      which of the page's items, from 1, in the order in which its callback yields them
``delivery``  which hand-out of the request to a worker, from 1
============  ================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID
from weakref import WeakKeyDictionary

from mocra_scrapy.engine.callback_output import NUMBER
from mocra_scrapy.exceptions import ItemRefused
from mocra_scrapy.pipelines.sink import StoredItem
from mocra_scrapy.worker.deliveries import CURRENT

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler


class Origins:
    """Of the items of one crawler. Without the add-on's scheduler nobody knows of which page an
    item is.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._counted: WeakKeyDictionary[Request, int] = WeakKeyDictionary()

    def next(self) -> dict[str, Any]:
        """Of the item that is being processed; empty: not of a page."""
        delivery = CURRENT.get()
        request = None if delivery is None else delivery.request
        fingerprinter = self._crawler.request_fingerprinter
        if delivery is None or request is None or fingerprinter is None:
            return {}
        # Pipelines before this one may change their order, and not twice in the same way.
        number = NUMBER.get()
        if not number:  # a component has replaced what starts the pipelines
            number = self._counted[request] = self._counted.get(request, 0) + 1
        found: dict[str, Any] = {"page": fingerprinter.fingerprint(request).hex(), "item": number}
        if delivery.lease is not None:
            found["delivery"] = delivery.lease.deliveries
        return found


def stored_item(item: Any, origin: Mapping[str, Any]) -> StoredItem:
    """What is stored of *item*.

    Raises:
        ItemRefused: it is none, or has a value that JSON has no form for; names the field.
    """
    fields = fields_of(item)
    return StoredItem(fields, as_json(fields), origin)


def fields_of(item: Any) -> dict[str, Any]:
    """The fields of an item: a dict, a Scrapy Item, an instance of a dataclass, attrs or pydantic."""
    if type(item) is dict:
        return item
    from itemadapter import ItemAdapter

    if not ItemAdapter.is_item(item):
        raise ItemRefused(f"{type(item).__name__} is no item: yield a dict, an Item, a dataclass, attrs or pydantic")
    return dict(ItemAdapter(item))


def as_json(fields: Mapping[str, Any]) -> bytes:
    """One object in one line, in UTF-8."""
    try:
        text = _ENCODER.encode(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise ItemRefused(_why(fields, error)) from error
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can write it down, UTF-8 can't
        return _ASCII.encode(fields).encode()


def _default(value: Any) -> Any:  # noqa: PLR0911 - a table of types
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (Decimal, UUID, PurePath)):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, (bytes, bytearray)):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise TypeError("bytes that are no UTF-8 text: decode them, or encode them as base64") from None
    from itemadapter import ItemAdapter

    if ItemAdapter.is_item(value):
        return dict(ItemAdapter(value))
    raise TypeError(f"{type(value).__name__} has no form in JSON: make it a text or a number")


_OPTIONS: dict[str, Any] = {"default": _default, "allow_nan": False, "separators": (",", ":")}
_ENCODER, _ASCII = json.JSONEncoder(ensure_ascii=False, **_OPTIONS), json.JSONEncoder(**_OPTIONS)


def _why(fields: Mapping[str, Any], error: Exception) -> str:
    """Which field it is, and what is wrong with it."""
    for name, value in fields.items():
        if not isinstance(name, str):
            return f"the name of field {name!r} is no text"
        try:
            _ENCODER.encode(value)
        except (TypeError, ValueError, RecursionError) as why:
            told = "not a number or infinite: JSON has no form for it" if "range float" in str(why) else str(why)
            return f"field {name!r}: {told}"
    return str(error)
