"""What kind of failure it is: one table for downloads, statuses, callbacks and pipelines.

========================  ==================================================================================================
kind                      what happened
========================  ==================================================================================================
``timeout``               no connection, or no answer, in time
``dns``                   the host's name could not be resolved
``refused``               nobody listens there, or no way leads there
``reset``                 the connection was closed before the answer was complete
``tls``                   certificate or handshake
``proxy``                 the proxy did not let us through
``data``                  the answer is shorter than it says, or no HTTP
``broken``                any other exception of a download
``http_5xx``              the server failed
``http_429``              it was asked too often
``http_403``              it does not want us: 401, 403, 407, 451
``http_4xx``              any other status from 400 to 499
``parse``                 an exception in a callback or errback
``pipeline``              an exception in an item pipeline
``callback_timeout``      a callback, or a pipeline behind it, did not return in time
========================  ==================================================================================================

Groups: ``download`` are the first eight, ``status`` is ``http_5xx`` and ``http_429``.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

DOWNLOAD = ("timeout", "dns", "refused", "reset", "tls", "proxy", "data", "broken")
STATUS = ("http_5xx", "http_429", "http_403", "http_4xx")
PARSE, PIPELINE, CALLBACK_TIMEOUT = "parse", "pipeline", "callback_timeout"
KINDS = (*DOWNLOAD, *STATUS, PARSE, PIPELINE, CALLBACK_TIMEOUT)
GROUPS = {"download": frozenset(DOWNLOAD), "status": frozenset({"http_5xx", "http_429"})}

#: ``(root of the module, class)`` -> kind; of a class's bases the nearest counts. ``""``: no
#: failure of the site. ``None``: look at the cause, it is ``broken`` if that says nothing. Scrapy's
#: own classes stand here by name, since the oldest Scrapy has only Twisted's.
_CLASSES: dict[tuple[str, str], str | None] = {
    ("scrapy", "DownloadTimeoutError"): "timeout",
    ("scrapy", "CannotResolveHostError"): "dns",
    ("scrapy", "DownloadConnectionRefusedError"): "refused",
    ("scrapy", "DownloadFailedError"): None,
    ("scrapy", "ResponseDataLossError"): "data",
    ("scrapy", "DownloadCancelledError"): "",
    ("scrapy", "UnsupportedURLSchemeError"): "",
    ("scrapy", "NotSupported"): "",
    ("scrapy", "IgnoreRequest"): "",
    ("scrapy", "TunnelError"): "proxy",
    ("twisted", "TimeoutError"): "timeout",
    ("twisted", "TCPTimedOutError"): "timeout",
    ("twisted", "UserError"): "timeout",
    ("twisted", "DNSLookupError"): "dns",
    ("twisted", "UnknownHostError"): "dns",
    ("twisted", "ConnectionRefusedError"): "refused",
    ("twisted", "NoRouteError"): "refused",
    ("twisted", "ConnectError"): "refused",
    ("twisted", "ConnectionLost"): "reset",
    ("twisted", "ConnectionDone"): "reset",
    ("twisted", "ConnectionAborted"): "reset",
    ("twisted", "PotentialDataLoss"): "data",
    ("twisted", "ParseError"): "data",
    ("twisted", "SSLError"): "tls",
    ("twisted", "VerifyError"): "tls",
    ("twisted", "ResponseNeverReceived"): None,
    ("twisted", "ResponseFailed"): None,
    ("twisted", "RequestTransmissionFailed"): None,
    ("OpenSSL", "Error"): "tls",
    ("ssl", "SSLError"): "tls",
    ("service_identity", "VerificationError"): "tls",
    ("asyncio", "TimeoutError"): "timeout",
    ("socket", "gaierror"): "dns",
    ("builtins", "TimeoutError"): "timeout",
    ("builtins", "ConnectionRefusedError"): "refused",
    ("builtins", "ConnectionError"): "reset",
    ("aiohttp", "ClientProxyConnectionError"): "proxy",
    ("aiohttp", "ClientSSLError"): "tls",
    ("aiohttp", "ServerDisconnectedError"): "reset",
    ("aiohttp", "ClientPayloadError"): "data",
    ("httpx", "ProxyError"): "proxy",
    ("httpx", "ReadError"): "reset",
    ("httpx", "WriteError"): "reset",
    ("httpx", "RemoteProtocolError"): "reset",
}


#: Failures to connect: where a proxy is used they are the proxy's, the site heard nothing of it.
CONNECTING = frozenset({"proxy", "refused", "dns", "reset"})
#: What names of proxies begin with, where slots have theirs: see :func:`proxy_name`.
PROXY = "proxy:"


def proxy_name(url: str) -> str:
    """What a proxy is called by the breaker: ``proxy:host:port``, without user and password."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        port = parts.port
    except ValueError:
        port = None
    host = parts.hostname or "?"
    return f"{PROXY}{f'[{host}]' if ':' in host else host}:{port or (443 if parts.scheme == 'https' else 80)}"


def kind_of_status(status: int) -> str:
    """Empty: no failure."""
    if status < 400:
        return ""
    if status >= 500:
        return "http_5xx"
    if status == 429:
        return "http_429"
    return "http_403" if status in (401, 403, 407, 451) else "http_4xx"


def kind_of_exception(error: BaseException) -> str:
    """Of what a download raised. Empty: it says nothing of the site (cancelled, a scheme nobody
    knows, a request that was ignored).
    """
    for one in with_causes(error):
        kind = _kind_of_class(type(one))
        if kind is not None:
            return kind
    return "broken"


def kind_of_class(cls: type[BaseException]) -> str:
    """The same where only the class is known."""
    kind = _kind_of_class(cls)
    return "broken" if kind is None else kind


def _kind_of_class(cls: type[BaseException]) -> str | None:
    for base in cls.__mro__:
        known = (base.__module__.partition(".")[0].lstrip("_"), base.__name__)
        if known in _CLASSES:
            return _CLASSES[known]
    return None


def with_causes(error: BaseException) -> Iterator[BaseException]:
    """It, what caused it, and what Twisted's wrappers carry: a few of them, the nearest first."""
    waiting, seen = [error], 0
    while waiting and seen < 10:
        one = waiting.pop(0)
        seen += 1
        yield one
        if one.__cause__ is not None:
            waiting.append(one.__cause__)
        for failure in getattr(one, "reasons", None) or ():
            value = getattr(failure, "value", failure)
            if isinstance(value, BaseException):
                waiting.append(value)
