"""What an answer or a failure says of the proxy: one table for each download handler."""

from __future__ import annotations

import re
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response
from scrapy.settings import Settings
from scrapy.utils.test import get_crawler

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.proxies.verdicts import TABLES, Judge, ProxyPolicy, of_exception
from mocra_scrapy.settings.proxies import read_proxies


def error(module: str, name: str, text: str = "", cause: BaseException | None = None) -> BaseException:
    """An exception of a library that need not be installed."""
    one: BaseException = type(name, (Exception,), {"__module__": module})(text)
    one.__cause__ = cause
    return one


@pytest.mark.parametrize(
    ("exception", "verdict"),
    [
        (
            error("scrapy.core", "TunnelError", "Could not open CONNECT tunnel [{'status': 407, 'reason': b'x'}]"),
            "credentials",
        ),
        (error("scrapy.core", "TunnelError", "[{'status': 401, 'reason': b'x'}]"), "credentials"),
        (error("scrapy.core", "TunnelError", "[{'status': 503, 'reason': b'x'}]"), "doubt"),
        (error("scrapy.core", "TunnelError", "[{'status': 403, 'reason': b'x'}]"), "proxy"),
        (error("twisted.internet.error", "ConnectionRefusedError"), "proxy"),
        (error("twisted.internet.error", "TCPTimedOutError"), "proxy"),
        (error("twisted.internet.error", "TimeoutError"), "doubt"),
        (error("twisted.internet.error", "ConnectionLost"), "doubt"),
        (error("scrapy.exceptions", "DownloadTimeoutError"), "doubt"),
        (error("scrapy.exceptions", "ResponseDataLossError"), "doubt"),
        (error("scrapy.exceptions", "IgnoreRequest"), ""),
        (
            error(
                "scrapy.exceptions",
                "DownloadConnectionRefusedError",
                "x",
                error("httpx2", "ProxyError", "407 Proxy Authentication Required"),
            ),
            "credentials",
        ),
        (
            error(
                "scrapy.exceptions",
                "DownloadConnectionRefusedError",
                "x",
                error("httpx", "ProxyError", "Invalid username/password"),
            ),
            "credentials",
        ),
        (
            error(
                "scrapy.exceptions",
                "DownloadConnectionRefusedError",
                "x",
                error("httpx", "ProxyError", "502 Bad Gateway"),
            ),
            "doubt",
        ),
        (
            error(
                "scrapy.exceptions",
                "DownloadConnectionRefusedError",
                "x",
                error("httpx", "ProxyError", "Proxy Server could not connect: Connection refused."),
            ),
            "doubt",
        ),
        (
            error(
                "scrapy.exceptions",
                "DownloadConnectionRefusedError",
                "x",
                error("httpx", "ConnectError", "All connection attempts failed"),
            ),
            "proxy",
        ),
        (error("scrapy.exceptions", "DownloadFailedError", "x", error("httpx", "ReadError")), "doubt"),
        (
            error(
                "scrapy.exceptions",
                "DownloadFailedError",
                "x",
                error("aiohttp", "ClientHttpProxyError", "407, message='Proxy Authentication Required'"),
            ),
            "credentials",
        ),
        (
            error(
                "scrapy.exceptions",
                "DownloadFailedError",
                "x",
                error("aiohttp", "ClientHttpProxyError", "502, message='Bad Gateway'"),
            ),
            "doubt",
        ),
        (
            error(
                "scrapy.exceptions",
                "DownloadConnectionRefusedError",
                "x",
                error("aiohttp", "ClientProxyConnectionError"),
            ),
            "proxy",
        ),
        (error("playwright._impl._errors", "Error", "net::ERR_PROXY_CONNECTION_FAILED at http://x"), "proxy"),
        (error("playwright._impl._errors", "Error", "net::ERR_INVALID_AUTH_CREDENTIALS"), "credentials"),
        (error("playwright._impl._errors", "Error", "net::ERR_TUNNEL_CONNECTION_FAILED"), "doubt"),
        (error("playwright._impl._errors", "TimeoutError", "Timeout 30000ms exceeded."), "doubt"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__name__} {value}"[:50],
)
def test_failures(exception: BaseException, verdict: str) -> None:
    assert of_exception(exception) == verdict


def test_there_is_a_table_for_each_handler() -> None:
    assert set(TABLES) == {"twisted", "httpx", "aiohttp", "playwright"}


def judge(spider: Any = None, **settings: Any) -> Judge:
    options = read_proxies(Settings({"MOCRA_PROXIES": ["h:1"], **settings}))
    assert options is not None
    crawler = get_crawler()
    crawler.spider = spider
    return Judge(options, crawler)


def status(code: int, **headers: str) -> str:
    request = Request("http://a", headers={"Proxy-Authorization": "Basic x"})
    return judge().status(
        request, Response("http://a", code, headers={k.replace("_", "-"): v for k, v in headers.items()})
    )


def test_statuses() -> None:
    assert [status(code) for code in (200, 301, 404, 500, 410)] == ["good"] * 5
    assert [status(code) for code in (403, 429)] == ["ban"] * 2
    assert [status(code) for code in (502, 503, 504)] == ["doubt"] * 3
    assert status(407) == "credentials"
    assert status(401) == "good", "of the site"
    assert status(401, Server="tinyproxy/1.11.1", WWW_Authenticate="Basic") == "credentials"
    assert status(401, Proxy_Authenticate="Basic") == "credentials"
    # What squid and tinyproxy say themselves.
    assert status(403, X_Squid_Error="ERR_ACCESS_DENIED 0") == "proxy"
    assert status(500, Server="tinyproxy/1.11.1") == "doubt"


class Banned:
    """A spider."""

    def response_is_ban(self, request: Request, response: Response) -> bool | None:
        return {b"ban": True, b"fine": False}.get(response.body)

    def exception_is_ban(self, request: Request, exception: BaseException) -> bool | None:
        return True if isinstance(exception, ZeroDivisionError) else None


def test_bodies_and_the_spider() -> None:
    request = Request("http://a")
    plain = judge(MOCRA_PROXY_BAN_BODIES=["captcha|are you"])
    assert plain.needs_body
    assert not judge().needs_body
    assert plain.body(request, Response("http://a", body=b"Solve this CAPTCHA")) == "ban"
    assert plain.body(request, Response("http://a", body=b"a page")) == "good"
    own = judge(Banned(), MOCRA_PROXY_BAN_BODIES=["fine", "other"])
    assert own.needs_body
    said = [own.body(request, Response("http://a", body=body)) for body in (b"ban", b"fine", b"other", b"page")]
    assert said == ["ban", "good", "ban", "good"]
    assert own.exception(request, ZeroDivisionError()) == "ban"
    assert own.exception(request, ConnectionRefusedError()) == "proxy"


class Strange(ProxyPolicy):
    """Says what nobody understands."""

    def status(self, request: Request, response: Response) -> str:
        return "bad"


def test_a_policy_of_the_projects_own() -> None:
    with pytest.raises(ConfigurationError, match="verdict 'bad'"):
        judge(MOCRA_PROXY_POLICY=Strange).status(Request("http://a"), Response("http://a"))
    for wrong in ("no.such.policy", "builtins.dict"):
        with pytest.raises(ConfigurationError, match="MOCRA_PROXY_POLICY"):
            judge(MOCRA_PROXY_POLICY=wrong)
    assert ProxyPolicy(bodies=[re.compile(b"x")]).body(Request("http://a"), Response("http://a", body=b"x")) == "ban"
