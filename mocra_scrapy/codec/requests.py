"""Requests <-> bytes for a shared store: safe, versioned, small.

Layout of a payload: one byte that names the codec, then its own format.

====  ====================================================================================
byte  codec
====  ====================================================================================
0x01  msgpack: ``[class, url, {field: value}]`` with only the fields that differ from the default
0x02  compressed, see :mod:`mocra_scrapy.codec.compression`; inside is one of the others
0x80  pickle; written and read only with ``MOCRA_CODEC = "pickle"``
====  ====================================================================================

Nothing is imported by a name from the store, nothing is evaluated, and the size is checked before
anything is decoded. Credentials of proxies are left out: ``Proxy-Authorization``, and the user info
in ``meta["proxy"]``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar

from scrapy import FormRequest, Request, Spider
from scrapy.http import JsonRequest, XmlRpcRequest
from scrapy.http.request import NO_CALLBACK
from scrapy.utils.misc import load_object
from scrapy.utils.request import request_from_dict

from mocra_scrapy.codec.advice import name_of
from mocra_scrapy.codec.item_classes import ItemClasses, is_item_class
from mocra_scrapy.codec.proxies import without_credentials
from mocra_scrapy.codec.session_headers import GIVEN, without_given
from mocra_scrapy.codec.spider_objects import SpiderObjects
from mocra_scrapy.codec.values import ValuePacker, ValueReader, culprit
from mocra_scrapy.exceptions import ConfigurationError, UnreadablePayload, UnserializableRequest

MSGPACK, PICKLE = 0x01, 0x80

#: Field numbers are part of the stored format: never renumber one.
CALLBACK, ERRBACK, METHOD, HEADERS, BODY, COOKIES, META, ENCODING, PRIORITY, DONT_FILTER, FLAGS, CB_KWARGS, EXTRA = (
    range(1, 14)
)
KEYWORDS = {
    METHOD: "method",
    HEADERS: "headers",
    BODY: "body",
    COOKIES: "cookies",
    META: "meta",
    ENCODING: "encoding",
    PRIORITY: "priority",
    DONT_FILTER: "dont_filter",
    FLAGS: "flags",
    CB_KWARGS: "cb_kwargs",
}
COMMON = frozenset(KEYWORDS.values()) | {"url", "callback", "errback"}

Item = TypeVar("Item")


class IRequestCodec(Protocol):
    """What a class named by ``MOCRA_CODEC`` must be. It is called with ``(spider, max_bytes=…)``."""

    def encode(self, request: Request) -> bytes:
        """Raises :class:`~mocra_scrapy.exceptions.UnserializableRequest`; the request then stays
        with its worker.
        """

    def decode(self, payload: bytes) -> Request:
        """Raises :class:`~mocra_scrapy.exceptions.UnreadablePayload`; the entry then is a dead
        letter.
        """


class RequestCodec:
    """The default codec.

    Args:
        spider: whose methods callbacks and errbacks are.
        max_bytes: largest payload that is written or read.
    """

    #: Classes that may come out of a payload. The position is part of the stored format.
    CLASSES: ClassVar[list[type[Request]]] = [Request, FormRequest, JsonRequest, XmlRpcRequest]
    _registered: ClassVar[dict[str, type[Request]]] = {}

    def __init__(self, spider: Spider, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        objects = SpiderObjects(spider)
        self._methods = objects.methods
        self._packer = ValuePacker(objects)
        self._unpack = ValueReader(objects).unpack
        self._numbers: dict[type[Request], int | str] = {cls: i for i, cls in enumerate(self.CLASSES)}

    @classmethod
    def register(cls, request_class: type[Request]) -> type[Request]:
        """Allow a subclass of Request in payloads, in every worker, before the crawl starts; usable
        as a decorator.

        Its ``attributes`` must name all keyword arguments that make an equal request, as Scrapy
        documents.
        """
        cls._registered[f"{request_class.__module__}.{request_class.__qualname__}"] = request_class
        return request_class

    @classmethod
    def register_item(
        cls,
        item_class: type[Item],
        dump: Callable[[Item], Any] | None = None,
        load: Callable[[Any], Item] | None = None,
    ) -> type[Item]:
        """Allow instances of a class in ``meta`` and ``cb_kwargs``, in every worker, before the
        crawl starts; usable as a decorator.

        Dataclasses, attrs and pydantic classes, ``scrapy.Item``, enums and named tuples in the
        project's modules need no word. Other classes say how: *dump* gives something that can be
        stored, *load* makes an equal instance of that.
        """
        if (dump is None) != (load is None) or (dump is None and not is_item_class(item_class)):
            raise TypeError(f"{name_of(item_class)} is not an item class: pass both dump= and load=")
        if dump is not None and load is not None:
            ItemClasses.explicit[item_class] = dump, load
        ItemClasses.registered[name_of(item_class)] = item_class
        return item_class

    def encode(self, request: Request) -> bytes:
        """The request as bytes; the same request gives the same bytes."""
        fields = self._fields(request)
        message = [self._class_number(type(request)), request.url, fields]
        try:
            payload = b"\x01" + self._packer.pack(message)
        except Exception as error:
            raise UnserializableRequest(*self._explain(fields, error)) from error
        if len(payload) > self._max_bytes:
            raise UnserializableRequest(
                f"it takes {len(payload)} bytes, more than MOCRA_ENTRY_MAX_BYTES = {self._max_bytes}", "size"
            )
        return payload

    def _class_number(self, cls: type[Request]) -> int | str:
        number = self._numbers.get(cls)
        if number is None:
            name = f"{cls.__module__}.{cls.__qualname__}"
            if self._registered.get(name) is not cls:
                raise UnserializableRequest(
                    f"class {name} is not registered; see mocra_scrapy.codec.requests.RequestCodec.register", "class"
                )
            number = self._numbers[cls] = name
        return number

    def _fields(self, request: Request) -> dict[int, Any]:  # noqa: PLR0912 - one branch a field, on the hot path
        fields: dict[int, Any] = {}
        if request.callback is not None:
            fields[CALLBACK] = self._methods.name(request.callback, "callback")
        if request.errback is not None:
            fields[ERRBACK] = self._methods.name(request.errback, "errback")
        plain = type(request) is Request
        if request.method != "GET" or not plain:
            fields[METHOD] = request.method
        meta: dict[str, Any] = request.meta
        if request.headers:
            headers = {k: v for k, v in dict.items(request.headers) if k != b"Proxy-Authorization"}
            if GIVEN in meta:
                headers, meta = without_given(headers, meta)
            if headers:
                fields[HEADERS] = headers
        if request.body:
            fields[BODY] = request.body
        if request.cookies:
            fields[COOKIES] = request.cookies
        if meta:
            fields[META] = meta if "proxy" not in meta and "_auth_proxy" not in meta else without_credentials(meta)
        if request.encoding != "utf-8":
            fields[ENCODING] = request.encoding
        if request.priority:
            fields[PRIORITY] = request.priority
        if request.dont_filter or not plain:
            fields[DONT_FILTER] = request.dont_filter
        if request.flags:
            fields[FLAGS] = request.flags
        if request.cb_kwargs:
            fields[CB_KWARGS] = request.cb_kwargs
        if not plain:
            extra = {name: getattr(request, name) for name in request.attributes if name not in COMMON}
            if extra:
                fields[EXTRA] = extra
        return fields

    def _explain(self, fields: dict[int, Any], error: Exception) -> tuple[str, str]:
        """Why *fields* can't be packed, and in which part of the request that is."""
        for field, value in fields.items():
            try:
                self._packer.pack(value)
            except Exception:
                name = KEYWORDS.get(field) or {CALLBACK: "callback", ERRBACK: "errback"}.get(field, "attribute")
                reason = culprit(value, name, self._packer)
                keys = value if field in (META, CB_KWARGS, EXTRA) else ()
                part = next((key for key in keys if reason.startswith(f"{name}[{key!r}]")), None)
                return reason, name if part is None else f"{name}/{part}"
        return str(error), "request"

    def decode(self, payload: bytes) -> Request:
        """The request; never anything but it or
        :class:`~mocra_scrapy.exceptions.UnreadablePayload`, whatever the bytes.
        """
        _check(payload, MSGPACK, self._max_bytes)
        try:
            number, url, fields = self._unpack(memoryview(payload)[1:])
            cls = self.CLASSES[number] if type(number) is int and number >= 0 else self._registered[number]
            callback, errback = fields.pop(CALLBACK, None), fields.pop(ERRBACK, None)
            keywords: dict[str, Any] = fields.pop(EXTRA, None) or {}
            for field, value in fields.items():
                keywords[KEYWORDS[field]] = value
            if callback is not None:
                keywords["callback"] = self._methods.method(callback, "callback")
            if errback is not None:
                keywords["errback"] = self._methods.method(errback, "errback")
            return cls(url, **keywords)
        except UnreadablePayload:
            raise
        except Exception as error:
            raise UnreadablePayload(f"damaged or foreign bytes: {type(error).__name__}: {error}") from error


def _check(payload: bytes, codec: int, max_bytes: int) -> None:
    """Size and codec, before anything is decoded."""
    if len(payload) > max_bytes:
        raise UnreadablePayload(f"{len(payload)} bytes, more than MOCRA_ENTRY_MAX_BYTES = {max_bytes}")
    if not payload:
        raise UnreadablePayload("no bytes at all")
    if payload[0] != codec:
        other = {MSGPACK: '"msgpack"', PICKLE: '"pickle"'}.get(payload[0])
        raise UnreadablePayload(
            f"written with MOCRA_CODEC = {other}"
            if other
            else f"codec byte 0x{payload[0]:02x} is unknown: not ours, or newer"
        )


class PickleCodec:
    """Pickle, for those who need its reach and trust everybody who can write to the store: reading
    runs what was stored.
    """

    def __init__(self, spider: Spider, *, max_bytes: int) -> None:
        self._spider = spider
        self._max_bytes = max_bytes

    def encode(self, request: Request) -> bytes:
        try:
            fields = request.to_dict(spider=self._spider)
            fields["headers"] = {k: v for k, v in fields["headers"].items() if k != b"Proxy-Authorization"}
            fields["meta"] = without_credentials(fields["meta"])
            if GIVEN in fields["meta"]:
                fields["headers"], fields["meta"] = without_given(fields["headers"], fields["meta"])
            if fields["callback"] is NO_CALLBACK:
                fields["callback"] = None
            payload = bytes([PICKLE]) + pickle.dumps(fields, protocol=4)
        except Exception as error:
            raise UnserializableRequest(str(error)) from error
        if len(payload) > self._max_bytes:
            raise UnserializableRequest(
                f"it takes {len(payload)} bytes, more than MOCRA_ENTRY_MAX_BYTES = {self._max_bytes}", "size"
            )
        return payload

    def decode(self, payload: bytes) -> Request:
        _check(payload, PICKLE, self._max_bytes)
        try:
            return request_from_dict(pickle.loads(payload[1:]), spider=self._spider)  # noqa: S301 - opted in
        except Exception as error:
            raise UnreadablePayload(f"{type(error).__name__}: {error}") from error


def load_codec(name: str, spider: Spider, max_bytes: int) -> IRequestCodec:
    """The codec that ``MOCRA_CODEC`` names.

    Raises:
        ConfigurationError: there is no such codec, or it lacks a method.
    """
    if name == "msgpack":
        return RequestCodec(spider, max_bytes=max_bytes)
    if name == "pickle":
        return PickleCodec(spider, max_bytes=max_bytes)
    fix = 'Set "msgpack", "pickle", or the import path of a class with encode(request) and decode(payload)'
    if "." not in name:
        raise ConfigurationError("MOCRA_CODEC", f"{name!r} is unknown", fix)
    try:
        codec: IRequestCodec = load_object(name)(spider, max_bytes=max_bytes)
    except Exception as error:
        raise ConfigurationError("MOCRA_CODEC", f"{name!r} can't be made: {error}", fix) from error
    for verb in ("encode", "decode"):
        if not callable(getattr(codec, verb, None)):
            raise ConfigurationError("MOCRA_CODEC", f"{name!r} has no {verb}()", fix)
    return codec
