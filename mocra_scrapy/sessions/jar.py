"""The cookies of one session as this worker has them: ``http.cookiejar``'s rules, by origin and path,
and which of them have changed.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from scrapy.http import cookies
from tldextract import TLDExtract

from mocra_scrapy.sessions.cookie_merge import (
    DOMAIN_GIVEN,
    DOT,
    HTTP_ONLY,
    NO_VALUE,
    PATH_GIVEN,
    SECURE,
    Key,
    Stamp,
    State,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Part of what is left of a cookie's life by which its end may move without being told to the others.
ROLLING = 0.1
#: The list of public suffixes that came with the package: nothing is fetched, nothing is written.
_suffixes = TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)


@lru_cache(maxsize=10_000)
def site_of(host: str) -> str:
    """What counts as one site: the domain under a public suffix (``shop.co.uk`` of ``www.shop.co.uk``),
    or the host where there is none (``localhost``, an address, ``github.io`` itself). No cookie of one
    site is ever valid on another one.
    """
    host = host.lower()
    parts = _suffixes(host)
    if parts.domain and parts.suffix:
        return f"{parts.domain}.{parts.suffix}"
    if parts.subdomain and not parts.suffix:  # a top-level domain that nobody lists: a company's own
        return ".".join(host.split(".")[-2:])
    return host


@lru_cache(maxsize=10_000)
def is_public_suffix(domain: str) -> bool:
    """Whether *domain* is one under which anybody may have a site, so that no cookie may be for all of
    it.
    """
    return not _suffixes(domain).domain


class _Policy(http.cookiejar.DefaultCookiePolicy):
    """A cookie that names no domain goes back to its host and to no other one (RFC 6265, 5.3)."""

    def __init__(self) -> None:
        super().__init__(strict_ns_domain=http.cookiejar.DefaultCookiePolicy.DomainStrictNonDomain)


class _Changes(http.cookiejar.CookieJar):
    """Remembers which cookies were set or deleted since somebody asked."""

    def __init__(self, policy: http.cookiejar.CookiePolicy) -> None:
        super().__init__(policy)
        self.changed: dict[Key, http.cookiejar.Cookie | None] = {}
        self.site = ""
        self._quiet = False

    def load(self, cookie: http.cookiejar.Cookie) -> None:
        super().set_cookie(cookie)

    def unload(self, key: Key) -> None:
        with contextlib.suppress(KeyError):
            super().clear(*key)

    def set_cookie(self, cookie: http.cookiejar.Cookie) -> None:
        known: dict[str, dict[str, dict[str, http.cookiejar.Cookie]]] = self._cookies  # type: ignore[attr-defined]
        old = known.get(cookie.domain, {}).get(cookie.path, {}).get(cookie.name)
        super().set_cookie(cookie)
        if old is None or not _alike(old, cookie):
            self.changed[(cookie.domain, cookie.path, cookie.name)] = cookie

    def clear(self, domain: str | None = None, path: str | None = None, name: str | None = None) -> None:
        if domain is not None and self.site and site_of(domain.lstrip(".")) != self.site:
            raise KeyError(domain)  # http.cookiejar believes whoever says that a cookie is over
        super().clear(domain, path, name)
        if not self._quiet and domain is not None and path is not None and name is not None:
            self.changed[(domain, path, name)] = None

    def clear_expired_cookies(self) -> None:
        self._quiet = True  # everybody knows when they end
        try:
            super().clear_expired_cookies()
        finally:
            self._quiet = False


def _alike(old: http.cookiejar.Cookie, new: http.cookiejar.Cookie) -> bool:
    """Whether nobody need be told: the end of a cookie that is renewed with each answer moves a little
    each time.
    """
    same = (
        old.value == new.value
        and (old.expires is None) == (new.expires is None)
        and old.secure == new.secure
        and old.domain_specified == new.domain_specified
        and old.path_specified == new.path_specified
        and old._rest == new._rest  # type: ignore[attr-defined]
    )
    if not same:
        return False
    if old.expires is None or new.expires is None:
        return True
    told = getattr(old, "told_end", old.expires)
    if abs(new.expires - told) > max(1.0, ROLLING * (new.expires - time.time())):
        return False
    new.told_end = told  # type: ignore[attr-defined]  # else it could creep away in small steps
    return True


def _flags(cookie: http.cookiejar.Cookie) -> int:
    rest: Mapping[str, Any] = cookie._rest  # type: ignore[attr-defined]
    given = (cookie.secure, cookie.domain_specified, cookie.domain_initial_dot, cookie.path_specified)
    flags = sum(bit for bit, is_set in zip((SECURE, DOMAIN_GIVEN, DOT, PATH_GIVEN), given, strict=True) if is_set)
    if any(name.lower() == "httponly" for name in rest):
        flags |= HTTP_ONLY
    return flags | (NO_VALUE if cookie.value is None else 0)


def stored(cookie: http.cookiejar.Cookie | None, stamp: Stamp) -> Value:
    """*cookie* as the others learn of it; ``None``: that it was deleted."""
    if cookie is None:
        return Value(stamp, None)
    return Value(stamp, cookie.value or "", cookie.expires, _flags(cookie))


def cookie_of(key: Key, value: Value) -> http.cookiejar.Cookie:
    """The reverse, of one that was not deleted."""
    domain, path, name = key
    flags = value.flags
    return http.cookiejar.Cookie(
        version=0,
        name=name,
        value=None if flags & NO_VALUE else value.value,
        port=None,
        port_specified=False,
        domain=domain,
        domain_specified=bool(flags & DOMAIN_GIVEN),
        domain_initial_dot=bool(flags & DOT),
        path=path,
        path_specified=bool(flags & PATH_GIVEN),
        secure=bool(flags & SECURE),
        expires=None if value.expires is None else int(value.expires),
        discard=value.expires is None,
        comment=None,
        comment_url=None,
        rest={"HttpOnly": ""} if flags & HTTP_ONLY else {},
    )


class SessionJar(cookies.CookieJar):
    """Scrapy's jar, which says what was changed in it."""

    jar: _Changes

    def __init__(self) -> None:
        super().__init__(_Policy())
        lock = self.jar._cookies_lock  # type: ignore[attr-defined]
        self.jar = _Changes(self.policy)
        self.jar._cookies_lock = lock  # type: ignore[attr-defined]

    def answered_by(self, host: str) -> None:
        """What is read next comes from *host*: it can't delete another site's cookies."""
        self.jar.site = site_of(host)

    def take_changes(self) -> dict[Key, http.cookiejar.Cookie | None]:
        """What was set or deleted since the last time."""
        changed = self.jar.changed
        if changed:
            self.jar.changed = {}
        return changed

    def load(self, old: State, new: State) -> None:
        """Make it what *new* says, where it was what *old* says."""
        for key in old.keys() | new.keys():
            value = new.get(key)
            if not key[0] or old.get(key) == value:
                continue
            if value is None or value.value is None:
                self.jar.unload(key)
            else:
                self.jar.load(cookie_of(key, value))

    def cookies(self) -> Iterator[http.cookiejar.Cookie]:
        now = time.time()
        return (cookie for cookie in self.jar if not cookie.is_expired(int(now)))
