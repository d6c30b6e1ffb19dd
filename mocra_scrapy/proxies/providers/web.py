"""Reads a list from a web address, without keeping the loop waiting."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from mocra_scrapy._tasks import in_a_thread
from mocra_scrapy._version import __version__
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.redaction import redact_url
from mocra_scrapy.settings.checks import setting_number
from mocra_scrapy.settings.proxies import ProviderOptions

#: Bytes of a list, at most.
MOST = 64 << 20


class ListUnavailable(Exception):
    """It can't be had now. Shows no secret of its address."""


class _SameHost(HTTPRedirectHandler):
    """What is sent to one host, a token for example, goes to no other."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> Any:  # noqa: PLR0917
        if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            fp.close()
            raise ListUnavailable(f"status {code}: it leads to another host")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class WebList:
    """One address.

    Raises:
        ConfigurationError: it is none of http or https, or an option is wrong.
    """

    def __init__(self, options: ProviderOptions) -> None:
        subject = f"MOCRA_PROXIES[{options.kind!r}]"
        self._url = options.source.strip()
        if urlsplit(self._url).scheme not in ("http", "https") or not urlsplit(self._url).hostname:
            raise ConfigurationError(subject, f"{redact_url(self._url)!r} is no web address", "Write https://host/path")
        headers = options.options.get("headers", {})
        if not isinstance(headers, Mapping):
            raise ConfigurationError(subject, "headers is no dict", 'Write {"Authorization": "Bearer …"}')
        self._headers = {str(name): str(value) for name, value in headers.items()}
        self._take_user_info()
        self._timeout = setting_number(
            f"{subject}['timeout']", options.options.get("timeout", 30), 0.1, 600, what="a time in seconds"
        )

    def _take_user_info(self) -> None:
        """A user name and password of the address become a header: urllib would look for a host of that
        name.
        """
        parts = urlsplit(self._url)
        user_info, at, place = parts.netloc.rpartition("@")
        if at:
            self._url = parts._replace(netloc=place).geturl()
            if not any(name.lower() == "authorization" for name in self._headers):
                user, _, password = user_info.partition(":")
                basic = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
                self._headers["Authorization"] = f"Basic {basic}"

    async def read(self) -> bytes:
        """What is there now.

        Raises:
            ListUnavailable: it can't be had.
        """
        return await in_a_thread(self._read, "mocra proxies list")

    def _read(self) -> bytes:
        request = Request(self._url, headers={"User-Agent": f"mocra_scrapy/{__version__}", **self._headers})  # noqa: S310
        # Proxies of the environment are for pages.
        opener = build_opener(ProxyHandler({}), _SameHost)
        try:
            with opener.open(request, timeout=self._timeout) as answer:
                body: bytes = answer.read(MOST + 1)
        except HTTPError as error:
            with error:
                raise ListUnavailable(f"{redact_url(self._url)}: status {error.code}") from None
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ListUnavailable(f"{redact_url(self._url)}: {type(error).__name__}: {type(reason).__name__}") from None
        if len(body) > MOST:
            raise ListUnavailable(f"{redact_url(self._url)}: more than {MOST >> 20} MiB")
        return body
