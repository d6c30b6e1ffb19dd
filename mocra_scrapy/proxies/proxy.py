"""One proxy, and the identity by which everybody but this process knows it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mocra_scrapy.models.proxies import place_of

SCHEMES = {"http": 80, "https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}
_PLAIN = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+):(?P<port>\d+)(?::(?P<user>[^:\s]*):(?P<password>\S*))?")


class BadProxy(ValueError):
    """It can't be used. What it says has no user name and no password."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """What a provider gives.

    Attributes:
        address: ``scheme://host:port``, for people and for ``meta["proxy"]``.
        username, password: as they are, not percent-encoded.
        weight: how often it is taken beside others of the same health; above 0.
        concurrency: requests of all workers that go through it at a time; 0: any number; ``None``:
            ``MOCRA_PROXY_CONCURRENCY``.
        tags, country: by which requests ask for it; small letters.
        expires: seconds since the epoch from which it is not used any more; ``None``: never.
        session: template of a user name (see ``providers/gateway.py``), where each session has its own.
        bypassed: whether ``no_proxy`` of the environment holds for it.
        scheme_only: scheme of the requests that may use it; empty: all.
    """

    address: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    weight: float = 1.0
    concurrency: int | None = None
    tags: frozenset[str] = frozenset()
    country: str = ""
    expires: float | None = None
    session: str = field(default="", repr=False)
    bypassed: bool = False
    scheme_only: str = ""

    @property
    def scheme(self) -> str:
        return self.address.partition("://")[0]

    def authorization(self, username: str | None = None) -> bytes | None:
        """The header ``Proxy-Authorization``; ``None``: it wants none."""
        name = self.username if username is None else username
        if not name and not self.password:
            return None
        return b"Basic " + base64.b64encode(f"{name}:{self.password}".encode())

    def url(self, username: str | None = None) -> str:
        """With user name and password: never leaves this process."""
        name = self.username if username is None else username
        if not name and not self.password:
            return self.address
        scheme, _, host = self.address.partition("://")
        return f"{scheme}://{quote(name, safe='')}:{quote(self.password, safe='')}@{host}"

    def identity(self, key: str | None) -> str:
        """Host and port, and a digest. With a key it is one of everything, which nobody can guess at
        without the key. Without a key user name and password have 24 bits of their own, of which
        nobody can conclude whether a guess is right.
        """
        scheme, _, host = self.address.partition("://")
        secret = f"{self.username}\0{self.password}\0{self.session}"
        readable = place_of(self.address)
        if key:
            digest = hmac.new(key.encode(), f"{scheme}\0{host}\0{secret}".encode(), hashlib.sha256).hexdigest()[:16]
            return f"{readable}-{digest}"
        address = hashlib.sha256(f"{scheme}\0{host}".encode()).hexdigest()[:6]
        if not self.username and not self.password and not self.session:
            return f"{readable}-{address}"
        return f"{readable}-{address}{hashlib.sha256(secret.encode()).hexdigest()[:6]}"


def parse_proxy(text: str, defaults: Mapping[str, Any] | None = None) -> Proxy:
    """A proxy of ``http://user:password@host:port``, ``host:port`` or ``host:port:user:password``.

    Args:
        defaults: of :data:`~mocra_scrapy.settings.proxies.OF_PROXIES`, for what the text does not say.

    Raises:
        BadProxy: it is none.
    """
    more = dict(defaults or {})
    text = text.strip()
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        scheme, host, port = str(more.pop("scheme", "http")), plain["host"], int(plain["port"])
        user, password = plain["user"] or "", plain["password"] or ""
    else:
        more.pop("scheme", None)
        scheme, host, port, user, password = _of_url(text)
    if scheme not in SCHEMES:
        raise BadProxy(f"the scheme {scheme[:20]!r} is unknown, there are {', '.join(SCHEMES)}")
    if not 0 < port < 65536:
        raise BadProxy(f"port {port} is out of range")
    username, password_of_all = str(more.pop("username", "")), str(more.pop("password", ""))
    if not user and not password:
        user, password = username, password_of_all
    return Proxy(f"{scheme}://{host.lower()}:{port}", user, password, **check_options(more))


def _of_url(text: str) -> tuple[str, str, int, str, str]:
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        scheme, rest = "http", text
        if not re.search(r":\d+/?$", text):  # any word would be one
            raise BadProxy("it has no port; write host:port, or scheme://host")
    user_info, at, place = rest.rpartition("@")
    try:
        parts = urlsplit(f"//{place.partition('/')[0]}")
        host, port = parts.hostname or "", parts.port or SCHEMES.get(scheme.lower(), 80)
    except ValueError:
        raise BadProxy("its port is no number; a password with @ or / must be percent-encoded") from None
    if not re.fullmatch(r"[\w.-]+|[\da-f:.]+", host):
        raise BadProxy("it names no host; write scheme://user:password@host:port or host:port:user:password")
    user, _, password = user_info.partition(":") if at else ("", "", "")
    return scheme.lower(), f"[{host}]" if ":" in host else host, port, unquote(user), unquote(password)


def check_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a proxy, as :class:`Proxy` wants them.

    Raises:
        BadProxy: names the option that is wrong.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        try:
            found[name] = _CHECKS[name](value)
        except KeyError:
            raise BadProxy(f"option {name!r} is unknown, there are {', '.join(_CHECKS)}") from None
        except (TypeError, ValueError):
            raise BadProxy(f"{name} is not what it should be") from None
    return found


def _weight(value: Any) -> float:
    weight = float(value)
    if not 0 < weight <= 1e6:
        raise ValueError
    return weight


def _concurrency(value: Any) -> int:
    if int(value) != float(value) or not 0 <= int(value) <= 100_000:
        raise ValueError
    return int(value)


def _tags(value: Any) -> frozenset[str]:
    parts = value.split(",") if isinstance(value, str) else value
    return frozenset(str(part).strip().lower() for part in parts if str(part).strip())


def _expires(value: Any) -> float:
    """Seconds since the epoch, milliseconds, or ISO 8601."""
    if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
        from datetime import datetime, timezone

        at = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
    seconds = float(value)
    return seconds / 1000 if seconds > 1e11 else seconds


_CHECKS = {
    "weight": _weight,
    "concurrency": _concurrency,
    "tags": _tags,
    "country": lambda value: str(value).strip().lower(),
    "expires": _expires,
}


def is_over(proxy: Proxy) -> bool:
    """Whether *proxy* is not to be used any more."""
    return proxy.expires is not None and proxy.expires <= time.time()
