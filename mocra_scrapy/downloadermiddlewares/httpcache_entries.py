"""Responses of Scrapy <-> what the cache stores, and Scrapy's own storages below our policy."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgpack
from scrapy import Request
from scrapy.http import Headers, Response, TextResponse
from scrapy.responsetypes import responsetypes

from mocra_scrapy.cache.httpcache.fields import fields_of
from mocra_scrapy.cache.httpcache.messages import Answer, Stored

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

#: The field in which one of Scrapy's storages keeps what our policy needs beside a response.
BESIDE = b"X-Mocra-Httpcache"


def answer_of(response: Response) -> Answer:
    return Answer(response.status, fields_of(dict(dict.items(response.headers))), response.body, response.url)


def extra_of(response: Response) -> dict[str, Any]:
    """What is stored beside *response* so that it comes back as it was."""
    extra: dict[str, Any] = {"protocol": response.protocol} if response.protocol else {}
    declared = getattr(response, "_encoding", None)  # given, not inferred from the headers or the body
    return {**extra, "encoding": declared} if declared else extra


def response_of(
    answer: Answer, flags: Iterable[str], extra: Mapping[str, Any] | None = None, url: str | None = None
) -> Response:
    """A response of the class that Scrapy gives it. *url*: in place of the stored one."""
    headers, extra, url = Headers(answer.fields), extra or {}, url or answer.url
    cls = responsetypes.from_args(headers=headers, url=url, body=answer.body)
    more = {"encoding": extra["encoding"]} if "encoding" in extra and issubclass(cls, TextResponse) else {}
    return cls(
        url=url,
        status=answer.status,
        headers=headers,
        body=answer.body,
        flags=list(flags),
        protocol=extra.get("protocol"),
        **more,
    )


def stored_of(request: Request, response: Response) -> Stored:
    """*response* as Scrapy's policies have it stored: it is known by the request's fingerprint alone."""
    now, took = time.time(), float(request.meta.get("download_latency", 0.0))
    asked = {"url": request.url, "method": request.method, "body": request.body}
    return Stored(answer_of(response), {}, now - took, now, took, {**extra_of(response), **asked})


class FoundResponses:
    """Stands for a storage while Scrapy's middleware decides: it gives what was found before, and takes what
    is stored afterwards.

    Attributes:
        found: what was looked up. *to_store*: what is to be stored.
    """

    def __init__(self) -> None:
        self.found: WeakKeyDictionary[Request, Response] = WeakKeyDictionary()
        self.to_store: list[tuple[Request, Response]] = []

    def retrieve_response(self, spider: Any, request: Request) -> Response | None:
        """See :mod:`scrapy.extensions.httpcache`."""
        return self.found.pop(request, None)

    def store_response(self, spider: Any, request: Request, response: Response) -> None:
        """See :mod:`scrapy.extensions.httpcache`."""
        self.to_store.append((request, response))

    def taken(self) -> list[tuple[Request, Response]]:
        """What is to be stored, once."""
        taken, self.to_store = self.to_store, []
        return taken


class StorageEntries:
    """One of Scrapy's storages as :class:`~mocra_scrapy.cache.httpcache.page_cache.Entries`: one response
    for each URL, the newest. What goes wrong there is a miss, with one line in the log.
    """

    def __init__(self, storage: Any, crawler: Crawler) -> None:
        assert crawler.stats is not None
        self._storage, self._crawler, self._stats = storage, crawler, crawler.stats
        self._told = False

    def name(self, url: str) -> str:
        return url

    async def read(self, name: str) -> list[Stored]:
        request = Request(name)
        try:
            response = self._storage.retrieve_response(self._crawler.spider, request)
            if response is None:
                return []
            beside = response.headers.pop(BESIDE, None)
            fields = msgpack.unpackb(base64.b64decode(beside[0])) if beside else {}
        except Exception as error:
            self._tell("read", error)
            self._stats.inc_value("httpcache/retrieve_error")
            return []
        if fields.get("gone") or ("Vary" in response.headers and not beside):
            return []  # stored under another policy: nobody knows what selected it
        now = time.time()
        received = fields.get("received") or request.meta.get("cache_timestamp") or now
        took = fields.get("took", 0.0)
        return [Stored(answer_of(response), fields.get("selecting", {}), received - took, received, took)]

    async def write(self, name: str, variants: Sequence[Stored], *, personal: bool = False) -> bool:
        one = variants[0]
        beside = {"received": one.received, "took": one.took, "selecting": dict(one.selecting)}
        return self._store(name, one.answer, beside)

    async def remove(self, names: Sequence[str]) -> None:
        """These storages can't forget: what is there is written over."""
        for name in names:
            self._store(name, Answer(204, {}, b"", name), {"gone": True})

    def _store(self, name: str, answer: Answer, beside: dict[str, Any]) -> bool:
        packed = base64.b64encode(msgpack.packb(beside))
        marked = replace(answer, fields={**answer.fields, BESIDE.lower(): [packed]})  # in place of a site's own
        try:
            self._storage.store_response(self._crawler.spider, Request(name), response_of(marked, ()))
        except Exception as error:
            self._tell("store", error)
            return False
        return True

    def _tell(self, verb: str, error: Exception) -> None:
        self._stats.inc_value("mocra/httpcache/unavailable")
        level = logging.DEBUG if self._told else logging.WARNING
        self._told = True
        logger.log(level, "HTTP cache: the storage could not %s, treating it as a cache miss: %r", verb, error)
