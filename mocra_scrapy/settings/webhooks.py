"""The settings of a webhook, and where one may be. Pure: no name is looked up."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.redaction import redact_url
from mocra_scrapy.settings.checks import setting_number

EXAMPLE = 'Write, for example, {"log": {}, "webhook": {"url": "https://…", "secret": "…"}}'
#: Characters of a secret, at least: shorter ones can be guessed.
SECRET = 16
#: Headers that the client itself writes.
OURS = ("host", "content-length", "content-type", "transfer-encoding", "connection")
#: Addresses of IPv4 for hosts that have IPv6 only.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def text_of(subject: str, value: Any) -> str:
    """*value*; raises ConfigurationError: it is no text, or an empty one."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(subject, f"{value!r} is not a text", "Set a text that is not empty")
    return value


def _flag(subject: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(subject, f"{value!r} is neither true nor false", "Set True or False")
    return value


def read_webhook(subject: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one that *subject* gives.

    Raises:
        ConfigurationError: names the part that is wrong, and the fix.
    """
    private = _flag(f"{subject}['private']", given.get("private", False))
    url = given.get("url")
    if url is None:
        raise ConfigurationError(subject, "it has no URL", f'Add "url": {EXAMPLE}')
    check_target(f"{subject}['url']", text_of(f"{subject}['url']", url), private=private)
    secret = given.get("secret", "")
    if not isinstance(secret, str) or 0 < len(secret) < SECRET:
        fix = 'Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        raise ConfigurationError(f"{subject}['secret']", f"it has fewer than {SECRET} characters", fix)
    timeout = setting_number(f"{subject}['timeout']", given.get("timeout", 10.0), 0.1, 600, what="a time in seconds")
    headers = _headers(f"{subject}['headers']", given.get("headers", {}))
    return {"url": url, "secret": secret, "headers": headers, "private": private, "timeout": timeout}


def _headers(subject: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(subject, f"{type(value).__name__} is no dict", 'Write {"Authorization": "Bearer …"}')
    for name, text in value.items():
        good = isinstance(name, str) and name.isascii() and name.replace("-", "").isalnum() and isinstance(text, str)
        if not good or not text.isprintable() or not text.isascii():
            raise ConfigurationError(
                subject, f"{name!r} is no header of printable text", 'Write {"Authorization": "Bearer …"}'
            )
        if name.lower() in OURS or name.lower().startswith("mocra-"):
            raise ConfigurationError(subject, f"{name!r} is set by the webhook itself", "Leave it out")
    return dict(value)


def check_target(subject: str, url: str, *, private: bool) -> None:
    """Raises ConfigurationError where *url* can't be one that events are posted to. What its host
    resolves to is looked at each time a connection is made.
    """
    shown = redact_url(url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError(subject, f"{shown!r} can't be read", "Write https://host/path") from None
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigurationError(subject, f"{shown!r} is no web address", "Write https://host/path, percent-encoded")
    if "@" in parts.netloc:
        fix = 'Give what the server asks for in "headers": {"Authorization": "Basic …"}'
        raise ConfigurationError(subject, f"{shown!r} has a user name", fix)
    if private:
        return
    fix = 'Set "private": True for that sink if it is a server of your own'
    if parts.scheme == "http":
        raise ConfigurationError(subject, f"{shown!r} is not encrypted", f"Write https://. {fix}")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        is_public = host != "localhost" and not host.endswith((".localhost", ".local", ".internal"))
    else:
        is_public = is_global(address)
    if not is_public:
        raise ConfigurationError(subject, f"{shown!r} is in a private network", fix)


def is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether *address* is one of the public Internet, also where it wraps one of IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_global(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
