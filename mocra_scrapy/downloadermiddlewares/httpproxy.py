"""The proxy pool in Scrapy: in the place of its ``HttpProxyMiddleware``, next to the downloader, and
where bodies can be read.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy.downloadermiddlewares import httpproxy
from scrapy.exceptions import NotConfigured

from mocra_scrapy.downloadermiddlewares.httpcache_entries import readable
from mocra_scrapy.models.proxies import BAN, CREDENTIALS, DOUBT, FAILURES, MARK, PROXY, is_of_pool
from mocra_scrapy.politeness.download_outcomes import DownloadOutcomes
from mocra_scrapy.proxies.component import Proxies
from mocra_scrapy.proxies.putting_off import NoProxy, PuttingOff
from mocra_scrapy.proxies.verdicts import GOOD, NOTHING
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.identity import one_off_command
from mocra_scrapy.worker.deliveries import CURRENT

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

logger = logging.getLogger(__name__)


#: ``meta["dont_cache"]`` of what a proxy spoilt: a ban is no page.
REFUSED = "mocra_proxy"


class HttpProxyMiddleware(httpproxy.HttpProxyMiddleware):
    """Scrapy's for requests that have a ``proxy`` of their own. Others go through the pool:

    * here it is seen whether there is a proxy for them. One that would have to wait goes back into
      the queue (``MOCRA_PROXY_ON_EMPTY``), and takes no place of the downloader;
    * :class:`ProxyChoiceMiddleware` chooses, when they leave, and judges what comes back;
    * what failed, or was answered by the proxy itself, is fetched once more here, through another one
      (``MOCRA_PROXY_TRIES``); of what may be the site's answer :class:`ProxyRetryMiddleware` decides.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler.settings.get("HTTPPROXY_AUTH_ENCODING"))
        self.proxies = {}  # of the environment: where they are wanted they are in the pool
        mocra = Mocra.from_crawler(crawler)
        self._pool = mocra.component(Proxies)
        self._putting_off = mocra.component(PuttingOff)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        if one_off_command() is not None:
            raise NotConfigured
        return cls(crawler)

    def process_request(self, request: Request, spider: Any = None) -> Awaitable[Any] | None:  # type: ignore[override]
        meta, pool = request.meta, self._pool
        if MARK in meta:  # of an earlier try, a redirect, a page whose meta was copied
            if is_of_pool(meta):
                meta.pop("proxy", None)
            del meta[MARK]
            forget_credentials(request)
        asked = pool.fetches.asked(request)
        if asked is None or pool.is_bypassed(urlsplit(request.url).hostname or ""):
            super().process_request(request)
            return None
        if pool.fetches.can_go(asked):
            return None
        return self._putting_off.hold(request, asked, _delivery_of(request))

    def process_response(self, request: Request, response: Response, spider: Any = None) -> Any:
        if request.meta.get("dont_cache") == REFUSED:
            del request.meta["dont_cache"]  # no cache comes after this
        verdict = self._pool.verdicts.get(request, NOTHING)
        if verdict not in (PROXY, CREDENTIALS):
            return response
        return self._putting_off.once_more(request, verdict) or response

    def process_exception(self, request: Request, exception: Exception, spider: Any = None) -> Any:
        if isinstance(exception, NoProxy):
            return self._putting_off.put_off(request, exception.wait, _delivery_of(request))
        verdict = self._pool.verdicts.get(request, NOTHING)
        if verdict not in FAILURES:
            return None
        return self._putting_off.once_more(request, verdict)


def forget_credentials(request: Request) -> None:
    """They are for the wire: who gets *request* next has none, a retry, a log or the spider."""
    request.headers.pop(b"Proxy-Authorization", None)
    request.meta.pop("_auth_proxy", None)


def _delivery_of(request: Request) -> Any:
    """Of one that the queue handed out; ``None``: somebody in this process waits for its answer."""
    delivery = CURRENT.get()
    return None if delivery is None or delivery.request is not request else delivery


class _Judged:
    """A place in the chain where the pool is known."""

    def __init__(self, crawler: Crawler) -> None:
        """Raises NotConfigured: a command fetches a page for a person."""
        if one_off_command() is not None:
            raise NotConfigured
        mocra = Mocra.from_crawler(crawler)
        self._mocra, self._pool = mocra, mocra.component(Proxies)
        self._putting_off = mocra.component(PuttingOff)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)


class ProxyChoiceMiddleware(_Judged):
    """Next to the downloader: what a cache answers takes no proxy, and nothing comes between the
    choice and the departure. Sees each answer first, so that a proxy's failure is not taken for the
    site's.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._cached = crawler.settings.getbool("HTTPCACHE_ENABLED")
        self._mocra.component(DownloadOutcomes).is_of_proxy = self._pool.is_of_proxy

    def process_request(self, request: Request, spider: Any = None) -> Awaitable[None] | None:
        pool = self._pool
        pool.verdicts.pop(request, None)
        asked = pool.fetches.asked(request)
        if asked is None or pool.is_bypassed(urlsplit(request.url).hostname or ""):
            return None
        if pool.fetches.take(request, asked):
            return None
        return self._putting_off.take(request, asked, _delivery_of(request))

    def process_response(self, request: Request, response: Response, spider: Any = None) -> Response:
        taken = self._pool.fetches.returned(request)
        if taken is None:
            return response
        judge = self._pool.judge
        verdict = judge.status(request, response)
        expired = self._mocra.find_expiry
        if verdict == BAN and expired is not None and expired(request, response):
            verdict = GOOD  # the site would say so through any proxy
        forget_credentials(request)
        if verdict == GOOD and judge.needs_body:
            coded = b"Content-Encoding" in response.headers and not 300 <= response.status < 400
            if coded and not self._cached:
                self._pool.fetches.judge_later(request, taken)
                return response
            # A cache comes before the place where bodies can be read.
            verdict = judge.body(request, readable(response) if coded else response)
        self._pool.judged(request, taken, verdict)
        spoilt = verdict == BAN or (verdict in FAILURES and self._pool.is_of_proxy(request))
        if spoilt and not request.meta.get("dont_cache"):
            request.meta["dont_cache"] = REFUSED
        return response

    def process_exception(self, request: Request, exception: Exception, spider: Any = None) -> None:
        taken = self._pool.fetches.returned(request)
        if taken is not None:
            verdict = self._pool.judge.exception(request, exception)
            forget_credentials(request)
            self._pool.judged(request, taken, verdict)


class ProxyRetryMiddleware(_Judged):
    """Where cookies were taken in and the session's check has spoken, and no redirect is followed yet:
    a site that refuses a proxy may have changed the session's cookie with that very answer.
    """

    def process_response(self, request: Request, response: Response, spider: Any = None) -> Any:
        verdict = self._pool.verdicts.get(request, NOTHING)
        if verdict not in (DOUBT, BAN):
            return response
        return self._putting_off.once_more(request, verdict) or response


class ProxyBodyMiddleware(_Judged):
    """Where bodies are no longer compressed, and no retry is made yet."""

    def process_response(self, request: Request, response: Response, spider: Any = None) -> Any:
        taken = self._pool.fetches.unjudged(request)
        if taken is None:
            return response
        verdict = self._pool.judge.body(request, response)
        self._pool.judged(request, taken, verdict)
        if verdict not in FAILURES:
            return response
        return self._putting_off.once_more(request, verdict) or response
