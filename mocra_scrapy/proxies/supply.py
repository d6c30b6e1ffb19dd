"""Reads the providers, and makes members of what they give."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

from scrapy.utils.misc import load_object

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.redaction import redact_error
from mocra_scrapy.models.wording import counted
from mocra_scrapy.proxies.members import Member
from mocra_scrapy.proxies.providers import make_provider, proxy_of
from mocra_scrapy.proxies.proxy import BadProxy, Proxy
from mocra_scrapy.settings.proxies import EXAMPLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scrapy.crawler import Crawler
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.proxies.choices import Choices
    from mocra_scrapy.proxies.providers import Given, Provider
    from mocra_scrapy.settings.proxies import ProviderOptions, ProxyOptions

logger = logging.getLogger(__name__)

#: Seconds that all providers together may take.
PATIENCE = 60.0
#: Modules of Scrapy's own handlers that know no SOCKS.
NO_SOCKS = {f"scrapy.core.downloader.handlers.{name}" for name in ("http", "http10", "http11", "http2")}
SOCKS_FIX = (
    'Set DOWNLOAD_HANDLERS = {"http": "scrapy.core.downloader.handlers._httpx.HttpxDownloadHandler", "https": the same}'
    ' (Scrapy 2.16 or later, pip install "httpx[socks]"), or use http proxies'
)


class Supply:
    """The providers of one crawler.

    Raises:
        ConfigurationError: a provider can't be made.
    """

    def __init__(self, options: ProxyOptions, crawler: Crawler, choices: Choices, stats: StatsCollector) -> None:
        self._options, self._choices, self._stats = options, choices, stats
        self._providers: list[tuple[ProviderOptions, Provider]] = [
            (one, make_provider(one, crawler)) for one in options.providers
        ]
        self._given: dict[int, list[Proxy]] = {}  # by the provider's place
        self._no_socks = {scheme for scheme in ("http", "https") if _refuses_socks(crawler, scheme)}
        self._told: set[str] = set()
        key = options.secret_key
        self._key = key.split(",")[0] if key else None

    async def read(self) -> bool:
        """Ask all providers; whether each of them answered. Of one that did not the last proxies
        stay.

        Raises:
            ConfigurationError: no proxy of the settings' own list is one, or none can be used by the
                download handler.
        """
        answers = await asyncio.gather(*(self._ask(place, *one) for place, one in enumerate(self._providers)))
        before = set(self._choices.members)
        members = self._members(proxy for place in sorted(self._given) for proxy in self._given[place])
        gone = self._choices.replace(members)
        new = [member for member in members if member.identity not in before]
        if new or gone:
            logger.info("%d proxies: %d new, %d gone", len(members), len(new), len(gone))
        return all(answers)

    async def _ask(self, place: int, options: ProviderOptions, provider: Provider) -> bool:
        try:
            proxies, bad = _understood(await asyncio.wait_for(provider.proxies(), PATIENCE), options)
        except Exception as error:
            if options.kind == "list":  # it stays as it is
                raise ConfigurationError("MOCRA_PROXIES", f"there is no proxy in the list: {error}", EXAMPLE) from None
            self._stats.inc_value("mocra/proxy/refresh_failed")
            problem = redact_error(f"{type(error).__name__}: {error}")[:300]
            kept = len(self._given.get(place, ()))
            logger.error(
                "Provider %s of MOCRA_PROXIES gave nothing (%s); %s",
                options.name,
                problem,
                f"its last {counted(kept, 'proxy')} {'stays' if kept == 1 else 'stay'}"
                if kept
                else "it is asked again",
            )
            return False
        if bad:
            self._stats.inc_value("mocra/proxy/unusable", len(bad))
            if self._is_news(f"{place}: {bad[0]}"):
                logger.error(
                    "Provider %s of MOCRA_PROXIES: %d of its proxies can't be used, the first: %s",
                    options.name,
                    len(bad),
                    bad[0],
                )
        self._given[place] = proxies
        return True

    def _members(self, proxies: Iterable[Proxy]) -> list[Member]:
        found: dict[str, Member] = {}
        known, refused, twice = self._choices.members, Counter[str](), 0
        for proxy in proxies:
            if proxy.scheme.startswith("socks") and (
                self._no_socks & {proxy.scheme_only or "http", proxy.scheme_only or "https"}
            ):
                refused[proxy.scheme] += 1
                continue
            identity = proxy.identity(self._key)
            cap = self._options.concurrency if proxy.concurrency is None else proxy.concurrency
            if identity in found:
                twice += found[identity].proxy.url() != proxy.url()
                continue
            member = known.get(identity) or Member(identity, proxy, cap)
            member.proxy, member.cap, member.is_gone = proxy, cap, False
            found[identity] = member
        if refused:
            self._stats.inc_value("mocra/proxy/unusable", sum(refused.values()))
            error = ConfigurationError(
                "MOCRA_PROXIES",
                f"{counted(sum(refused.values()), 'proxy')} can't be used: the download handler in use refuses"
                f" {', '.join(sorted(refused))}",
                SOCKS_FIX,
            )
            if not found:
                raise error
            if self._is_news("socks"):
                logger.error("Some proxies are left out: %s", error)
        if twice and self._is_news("twice"):
            logger.error(
                "MOCRA_PROXIES: %d proxies can't be told from others of the same address, and only the first of each is"
                " used. Set MOCRA_SECRET_KEY: identities are then keyed with it",
                twice,
            )
        return list(found.values())

    def _is_news(self, what: str) -> bool:
        """Whether it was not said yet: providers are read again and again."""
        is_new = what not in self._told
        self._told.add(what)
        return is_new


def _understood(given: Iterable[Given], options: ProviderOptions) -> tuple[list[Proxy], list[str]]:
    """The proxies that *given* means, and what is wrong with the others.

    Raises:
        BadProxy: none can be used: it is a page that asks for a log-in, for example.
    """
    proxies, bad = [], list[str]()
    for one in given:
        try:
            proxies.append(proxy_of(one, options.defaults))
        except BadProxy as error:
            bad.append(str(error))
    if bad and not proxies:
        raise BadProxy(f"of {counted(len(bad), 'entry')} none is a proxy, the first: {bad[0]}")
    return proxies, bad


def _refuses_socks(crawler: Crawler, scheme: str) -> bool:
    """Whether the handler of *scheme* is one of Scrapy's own on Twisted."""
    path = crawler.settings.getwithbase("DOWNLOAD_HANDLERS").get(scheme)
    if path is None:
        return False
    try:
        handler = load_object(path)
    except (ImportError, NameError, ValueError, TypeError):
        return False
    return any(base.__module__ in NO_SOCKS for base in handler.__mro__)
