"""What an answer or a failure says of the proxy through which it came.

================  ==================================================================================
``good``          it came through, whatever the site thinks of it
``proxy``         nobody gets through this proxy
``credentials``   it refuses our user name or password
``doubt``         it or the site is at fault: which, other proxies tell
``ban``           the site does not want this proxy
``""``            nothing
================  ==================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from scrapy.utils.misc import load_object

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.failure_kinds import kind_of_exception, with_causes
from mocra_scrapy.models.proxies import BAN, CREDENTIALS, DOUBT, FAILURES, PROXY

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

    from mocra_scrapy.settings.proxies import ProxyOptions

GOOD, NOTHING = "good", ""
VERDICTS = (GOOD, *FAILURES, NOTHING)

_REFUSED = r"\b407\b|authenticat|credential|username|password"
_TARGET = r"\b50[234]\b|unreachable|refused|general socks|ruleset|not allowed|ttl|timed? ?out|host not found"

#: Download handler -> rows of (root of the module, class, what its text has, verdict). Of an exception
#: and its causes the first row that fits counts.
TABLES: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {
    "twisted": (
        ("scrapy", "TunnelError", r"'status': 40[17]\b", CREDENTIALS),
        ("scrapy", "TunnelError", r"'status': 50\d\b", DOUBT),
        ("scrapy", "TunnelError", "", PROXY),
        ("twisted", "ConnectionRefusedError", "", PROXY),
        ("twisted", "DNSLookupError", "", PROXY),
        ("twisted", "UnknownHostError", "", PROXY),
        ("twisted", "NoRouteError", "", PROXY),
        ("twisted", "TCPTimedOutError", "", PROXY),
    ),
    "httpx": (
        ("httpx", "ProxyError", _REFUSED, CREDENTIALS),
        ("httpx", "ProxyError", _TARGET, DOUBT),
        ("httpx", "ProxyError", "", PROXY),
        ("httpx", "ConnectError", "", PROXY),
        ("httpx", "ConnectTimeout", "", DOUBT),
        ("socksio", "ProtocolError", "", PROXY),
    ),
    "aiohttp": (
        ("aiohttp", "ClientHttpProxyError", _REFUSED, CREDENTIALS),
        ("aiohttp", "ClientHttpProxyError", _TARGET, DOUBT),
        ("aiohttp", "ClientHttpProxyError", "", PROXY),
        ("aiohttp", "ClientProxyConnectionError", "", PROXY),
        ("aiohttp", "ClientConnectorDNSError", "", PROXY),
        ("aiohttp", "ClientConnectorError", "", PROXY),
    ),
    "playwright": (
        ("playwright", "Error", r"ERR_PROXY_AUTH|ERR_INVALID_AUTH_CREDENTIALS|ERR_UNEXPECTED_PROXY_AUTH", CREDENTIALS),
        ("playwright", "Error", r"ERR_PROXY_|ERR_SOCKS_CONNECTION_FAILED|NS_ERROR_(?:UNKNOWN_)?PROXY", PROXY),
        ("playwright", "Error", r"ERR_TUNNEL_CONNECTION_FAILED|ERR_SOCKS_|ERR_|NS_ERROR_", DOUBT),
        ("playwright", "TimeoutError", "", DOUBT),
    ),
}
_ROWS = [
    (root, name, re.compile(pattern, re.IGNORECASE), verdict)
    for table in TABLES.values()
    for root, name, pattern, verdict in table
]
#: Kinds of failures (see :mod:`mocra_scrapy.models.failure_kinds`) that no row names. What connects,
#: connects to the proxy.
_KINDS = {"proxy": PROXY, "refused": PROXY, "dns": PROXY, "": NOTHING}


def of_exception(error: BaseException) -> str:
    """The verdict on a download that raised *error*."""
    chain = list(with_causes(error))
    for root, name, pattern, verdict in _ROWS:
        for one in chain:
            if _is(one, root, name) and pattern.search(str(one)):
                return verdict
    return _KINDS.get(kind_of_exception(error), DOUBT)


def _is(error: BaseException, root: str, name: str) -> bool:
    return any(
        base.__name__ == name and base.__module__.partition(".")[0].lstrip("_").rstrip("0123456789") == root
        for base in type(error).__mro__
    )


def refuses_credentials(request: Request, response: Response) -> bool:
    """407; or 401 of a proxy that says so to a wrong password, which has no challenge of a site."""
    if response.status == 407:
        return True
    return (
        response.status == 401
        and b"Proxy-Authorization" in request.headers
        and (b"Proxy-Authenticate" in response.headers or _is_tinyproxy(response))
    )


def is_of_the_proxy_itself(response: Response) -> bool:
    """Whether squid or tinyproxy say that they made it, not the site."""
    return b"X-Squid-Error" in response.headers or _is_tinyproxy(response)


def _is_tinyproxy(response: Response) -> bool:
    return (response.headers.get("Server") or b"").lower().startswith(b"tinyproxy")


class ProxyPolicy:
    """The usual verdicts, by settings. Yours: a class of your own, best one that inherits from this,
    in ``MOCRA_PROXY_POLICY``. Each method gives one of :data:`VERDICTS`.

    Args:
        statuses: with which a site refuses a proxy; *bodies*: what its pages have in that case.
    """

    def __init__(self, statuses: Iterable[int] = (403, 429), bodies: Iterable[re.Pattern[bytes]] = ()) -> None:
        self.statuses, self.bodies = frozenset(statuses), tuple(bodies)

    @classmethod
    def from_options(cls, options: ProxyOptions, crawler: Crawler) -> Self:
        """Made for *crawler*."""
        return cls(options.ban_statuses, options.ban_bodies)

    def status(self, request: Request, response: Response) -> str:
        """What can be said without the body."""
        if refuses_credentials(request, response):
            return CREDENTIALS
        if response.status >= 400 and is_of_the_proxy_itself(response):
            return PROXY if response.status < 500 else DOUBT
        if response.status in self.statuses:
            return BAN
        return DOUBT if response.status in (502, 503, 504) else GOOD

    def body(self, request: Request, response: Response) -> str:
        """What the body says, which is not compressed (any more), where the status said ``good``."""
        return BAN if any(pattern.search(response.body) for pattern in self.bodies) else GOOD

    def exception(self, request: Request, exception: BaseException) -> str:
        """What a failure says."""
        return of_exception(exception)


class Judge:
    """Asks the policy, and the spider where it has ``response_is_ban(request, response)`` or
    ``exception_is_ban(request, exception)``: these say ``True``, ``False`` or (``None``) nothing.

    Raises:
        ConfigurationError: the policy can't be used.
    """

    def __init__(self, options: ProxyOptions, crawler: Crawler) -> None:
        self._crawler = crawler
        self._policy = _load(options, crawler)

    @property
    def needs_body(self) -> bool:
        """Whether a body is looked at."""
        return (
            bool(getattr(self._policy, "bodies", ()))
            or type(self._policy).body is not ProxyPolicy.body
            or hasattr(self._crawler.spider, "response_is_ban")
        )

    def status(self, request: Request, response: Response) -> str:
        return _checked(self._policy.status(request, response), self._policy)

    def body(self, request: Request, response: Response) -> str:
        own = getattr(self._crawler.spider, "response_is_ban", None)
        said = own(request, response) if own is not None else None
        if said is not None:
            return BAN if said else GOOD
        return _checked(self._policy.body(request, response), self._policy)

    def exception(self, request: Request, exception: BaseException) -> str:
        own = getattr(self._crawler.spider, "exception_is_ban", None)
        said = own(request, exception) if own is not None else None
        if said is not None:
            return BAN if said else NOTHING
        return _checked(self._policy.exception(request, exception), self._policy)


def _load(options: ProxyOptions, crawler: Crawler) -> ProxyPolicy:
    if options.policy is None:
        return ProxyPolicy.from_options(options, crawler)
    try:
        cls: Any = load_object(options.policy)
    except (ImportError, NameError, ValueError, TypeError) as error:
        raise ConfigurationError(
            "MOCRA_PROXY_POLICY", f"{options.policy!r} can't be loaded: {error}", "Set the import path of a class"
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, ProxyPolicy)):
        raise ConfigurationError(
            "MOCRA_PROXY_POLICY",
            f"{options.policy!r} is no ProxyPolicy",
            "Inherit from mocra_scrapy.proxies.verdicts.ProxyPolicy",
        )
    return cls.from_options(options, crawler)


def _checked(verdict: str, policy: ProxyPolicy) -> str:
    if verdict not in VERDICTS:
        known = ", ".join(map(repr, VERDICTS))
        raise ConfigurationError(
            "MOCRA_PROXY_POLICY",
            f"{type(policy).__name__} gave the verdict {verdict!r}, which is none",
            f"Say one of {known}",
        )
    return verdict
