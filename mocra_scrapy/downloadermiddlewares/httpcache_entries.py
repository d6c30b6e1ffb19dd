"""Responses of Scrapy <-> what the cache stores, and Scrapy's own storages below our policy."""

from __future__ import annotations

import base64
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag
from weakref import WeakKeyDictionary

import msgpack
from scrapy import Request
from scrapy.http import Headers, Response, TextResponse
from scrapy.responsetypes import responsetypes

from mocra_scrapy.cache.httpcache.codings import decoded
from mocra_scrapy.cache.httpcache.fields import fields_of
from mocra_scrapy.cache.httpcache.messages import Answer, Ask, Rules, Stored
from mocra_scrapy.cache.httpcache.page_cache import asked_with
from mocra_scrapy.cache.httpcache.pages import POOL
from mocra_scrapy.cache.httpcache.storing import cleaned, sharing_allows, why_not_shared

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

#: The field in which one of Scrapy's storages keeps what our policy needs beside a response.
BESIDE = b"X-Mocra-Httpcache"
#: Bytes of a body that is decoded to be judged, at most.
MOST_DECODED = 67_108_864


def answer_of(response: Response) -> Answer:
    return Answer(response.status, fields_of(dict(dict.items(response.headers))), response.body, response.url)


def readable(response: Response) -> Response:
    """*response* without its codings; itself, where they can't be undone."""
    answer = decoded(answer_of(response), MOST_DECODED)
    if answer is None:
        return response
    found = response_of(answer, response.flags)
    found.request = response.request
    found.ip_address, found.certificate = response.ip_address, response.certificate
    found.protocol = response.protocol
    return found


def ask_of(request: Request, *, shared: bool) -> Ask:
    """*request* as the cache sees it. In a private cache each cookie jar, and each session that a request
    is bound to, is a user of its own.
    """
    user = "" if shared else user_of(request)
    return Ask(request.method.encode("latin-1"), request.url, fields_of(dict(dict.items(request.headers))), user)


def user_of(request: Request) -> str:
    """What ``meta`` says of whose cookies go with *request*; ``""``: nothing."""
    used = request.meta.get("mocra_session_used")
    if used and not request.meta.get("dont_merge_cookies"):
        return f"{POOL}{used[0]}"  # the session that a pool gave it
    named = [request.meta.get(key) for key in ("cookiejar", "mocra_session")]
    return "" if named == [None, None] else repr(named)


def extra_of(response: Response) -> dict[str, Any]:
    """What is stored beside *response* so that it comes back as it was."""
    extra: dict[str, Any] = {"protocol": response.protocol} if response.protocol else {}
    declared = getattr(response, "_encoding", None)  # given, not inferred from the headers or the body
    return {**extra, "encoding": declared} if declared else extra


def response_of(
    answer: Answer, flags: Iterable[str], extra: Mapping[str, Any] | None = None, url: str | None = None
) -> Response:
    """A response of the class that Scrapy gives it. *url*: what was asked for this time. The answer's own stays
    where it is another one, such as the one that a browser ended up at: links on the page begin there.
    """
    headers = Headers(answer.fields)
    beside: Mapping[str, Any] = extra or answer.extra
    url = url if url and urldefrag(url).url == urldefrag(answer.url).url else answer.url
    cls = responsetypes.from_args(headers=headers, url=url, body=answer.body)
    more = {"encoding": beside["encoding"]} if "encoding" in beside and issubclass(cls, TextResponse) else {}
    return cls(
        url=url,
        status=answer.status,
        headers=headers,
        body=answer.body,
        flags=list(flags),
        protocol=beside.get("protocol"),
        **more,
    )


def stored_of(request: Request, response: Response, rules: Rules | None = None) -> Stored:
    """*response* as Scrapy's policies have it stored: it is known by the request's fingerprint alone.
    *rules*: what a shared cache leaves out of it, is.
    """
    now, took = time.time(), float(request.meta.get("download_latency", 0.0))
    asked: dict[str, object] = {"url": request.url, "method": request.method, "body": request.body}
    asked |= asked_with(ask_of(request, shared=True))
    one = Stored(answer_of(response), {}, now - took, now, took, {**extra_of(response), **asked})
    return cleaned(one, rules) if rules is not None and rules.shared else one


class NotRecorded:
    """Tells who wants everything to be stored what is not, and the way out: each reason once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, url: str, why: str) -> None:
        if not why or why in self._told:
            return
        self._told.add(why)
        way = 'HTTPCACHE_IGNORE_RESPONSE_CACHE_CONTROLS = ["no-store"]' if why == "no-store" else ""
        way = 'MOCRA_HTTPCACHE_SCOPE = "crawl", for the replay as well' if "scope is shared" in why else way
        logger.warning("HTTP cache: %s is not stored (%s), nor are others like it%s", url, why, way and f". Set {way}")


class SharingPolicy:
    """One of Scrapy's policies, which know nothing of caches that several users have: what these may not
    store, it does not store either.
    """

    def __init__(self, policy: Any, rules: Rules) -> None:
        self._policy, self._rules = policy, rules
        self._not_recorded = NotRecorded()

    def should_cache_response(self, response: Response, request: Request) -> bool:
        """See :mod:`scrapy.extensions.httpcache`."""
        if not self._policy.should_cache_response(response, request):
            return False
        one = Stored(answer_of(response), {}, 0.0, 0.0)
        ask = ask_of(request, shared=True)
        if sharing_allows(one, ask, self._rules):
            return True
        self._not_recorded.tell(request.url, why_not_shared(one, ask, self._rules))
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)


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

    def name(self, url: str, user: str = "") -> str:
        """A URL: these storages know nothing else. One with a *user* is a page that no site has."""
        if not user:
            return url
        url = urldefrag(url).url
        digest = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return f"{url}{'&' if '?' in url else '?'}mocra-user={digest}"

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

    async def read_pooled(self, name: str) -> list[Stored]:
        """These storages can't tell what they have."""
        return []

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
