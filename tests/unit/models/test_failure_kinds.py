"""One table of failures, and the exceptions that the installed Scrapy and Twisted really raise."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl

import pytest
import scrapy.exceptions
from OpenSSL import SSL
from scrapy.core.downloader.handlers.http11 import TunnelError
from scrapy.exceptions import IgnoreRequest, NotSupported
from twisted.internet import error
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed
from twisted.web.http import PotentialDataLoss

from mocra_scrapy.models import failure_kinds as _error_classes
from mocra_scrapy.models.failure_kinds import GROUPS, KINDS, kind_of_exception, kind_of_status, proxy_name


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (error.TimeoutError(), "timeout"),
        (error.TCPTimedOutError(), "timeout"),
        (error.DNSLookupError(), "dns"),
        (error.ConnectionRefusedError(), "refused"),
        (error.NoRouteError(), "refused"),
        (error.ConnectError(), "refused"),
        (error.ConnectionLost(), "reset"),
        (error.ConnectionDone(), "reset"),
        (error.SSLError(), "tls"),
        (SSL.Error(), "tls"),
        (ssl.SSLCertVerificationError(), "tls"),
        (TunnelError(), "proxy"),
        (PotentialDataLoss(), "data"),
        (asyncio.TimeoutError(), "timeout"),
        (TimeoutError(), "timeout"),
        (socket.gaierror(), "dns"),
        (ConnectionResetError(), "reset"),
        (ConnectionRefusedError(), "refused"),
        (IgnoreRequest(), ""),
        (NotSupported(), ""),
        (ValueError("x"), "broken"),
        (ResponseFailed([]), "broken"),
        (ResponseFailed([Failure(error.ConnectionLost())]), "reset"),
        (ResponseFailed([Failure(ValueError()), Failure(SSL.Error())]), "tls"),
        (ResponseFailed([KeyError(), "nothing that was raised"]), "broken"),
    ],
)
def test_kinds_of_real_exceptions(raised: BaseException, kind: str) -> None:
    assert kind_of_exception(raised) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("DownloadTimeoutError", "timeout"),
        ("CannotResolveHostError", "dns"),
        ("DownloadConnectionRefusedError", "refused"),
        ("DownloadFailedError", "broken"),
        ("ResponseDataLossError", "data"),
        ("DownloadCancelledError", ""),
        ("UnsupportedURLSchemeError", ""),
    ],
)
def test_kinds_of_scrapys_own(name: str, kind: str) -> None:
    """Newer Scrapy has them; of an older one the same name in the same module."""
    made = type(name, (Exception,), {"__module__": "scrapy.exceptions"})
    assert kind_of_exception(getattr(scrapy.exceptions, name, made)()) == kind


def test_the_cause_tells_what_a_wrapper_does_not() -> None:
    wrapper = type("DownloadFailedError", (Exception,), {"__module__": "scrapy.exceptions"})()
    wrapper.__cause__ = ResponseFailed([Failure(error.ConnectionLost())])
    assert kind_of_exception(wrapper) == "reset"


def test_a_chain_without_an_end_is_followed_for_a_while() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert kind_of_exception(one) == "broken"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, "") for status in (200, 304, 399)),
        *((status, "http_403") for status in (401, 403, 407, 451)),
        *((status, "http_4xx") for status in (400, 404, 410, 499)),
        *((status, "http_5xx") for status in (500, 503, 599, 999)),
        (429, "http_429"),
    ],
)
def test_kinds_of_statuses(status: int, kind: str) -> None:
    assert kind_of_status(status) == kind


def test_one_table() -> None:
    assert re.findall(r"^``(\w+)`` ", _error_classes.__doc__ or "", re.MULTILINE) == list(KINDS)
    assert {kind for kind in _error_classes._CLASSES.values() if kind} <= set(KINDS)
    assert all(kinds <= set(KINDS) for kinds in GROUPS.values())


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://user:secret@Proxy.test:3128", "proxy:proxy.test:3128"),
        ("https://proxy.test", "proxy:proxy.test:443"),
        ("http://proxy.test/", "proxy:proxy.test:80"),
        ("proxy.test:81", "proxy:proxy.test:81"),
        ("http://[::1]:8080", "proxy:[::1]:8080"),
        ("http://proxy.test:port", "proxy:proxy.test:80"),
        ("", "proxy:?:80"),
    ],
)
def test_a_proxy_is_named_without_its_password(url: str, name: str) -> None:
    assert proxy_name(url) == name
