"""Backends: one folder or module a server. :func:`open_backend` is the one place where a URL
becomes a class.

A third-party package adds a scheme by an entry point of the group ``mocra_scrapy.backends``: its
name is the scheme, its value a callable that takes ``(url, *, prefix, options)`` and gives an
:class:`~mocra_scrapy.interfaces.IBackend`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from zope.interface import Invalid
from zope.interface.exceptions import (
    BrokenImplementation,
    BrokenMethodImplementation,
    DoesNotImplement,
)
from zope.interface.verify import verifyObject

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.interfaces import IBackend
from mocra_scrapy.models.redaction import redact_url

__all__ = ["GROUP", "MEMORY_SCHEMES", "REDIS_SCHEMES", "open_backend", "redact_url"]

GROUP = "mocra_scrapy.backends"
MEMORY_SCHEMES = ("memory",)
REDIS_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
    "valkey",
    "valkeys",
)


def open_backend(url: str, *, prefix: str = "mocra", options: Mapping[str, object] | None = None) -> IBackend:
    """The backend that *url* means, not connected yet: await its ``open()``.

    Args:
        url: ``memory://`` (private to the caller), ``memory://NAME`` (shared inside this process by
            all who hold one), ``redis://host:6379/0`` and its kin, or the scheme of an installed
            third-party backend.
        prefix: what all names on the server begin with.
        options: more arguments for the client of the server; ``memory://`` needs none.

    Raises:
        ConfigurationError: the scheme is unknown, its client library is missing, or its class keeps
            no contract.
    """
    scheme, found, _ = url.partition("://")
    scheme = scheme.lower()
    options = {} if options is None else options
    if found and scheme in MEMORY_SCHEMES:
        from mocra_scrapy.backends.memory import MemoryBackend

        return MemoryBackend(url, prefix=prefix)
    if found and scheme in REDIS_SCHEMES:
        return _redis(url, prefix, options)
    theirs = {point.name.lower(): point for point in entry_points(group=GROUP)}
    if found and scheme in theirs:
        return _third_party(theirs[scheme], url, prefix, options)
    raise _unknown(url, scheme if found else "", sorted({*MEMORY_SCHEMES, *REDIS_SCHEMES, *theirs}))


def _redis(url: str, prefix: str, options: Mapping[str, object]) -> IBackend:
    try:
        from mocra_scrapy.backends.redis import RedisBackend
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigurationError(
            "MOCRA_BACKEND",
            f"{redact_url(url)!r} needs the redis client, which is not installed",
            'Run: pip install "mocra-scrapy[redis]"',
        ) from error
    backend: IBackend = RedisBackend(url, prefix=prefix, options=options, redacted=redact_url(url))
    return backend


def _third_party(point: EntryPoint, url: str, prefix: str, options: Mapping[str, object]) -> IBackend:
    """A backend that somebody else wrote, checked: a method that it lacks is told now, not in the
    middle of a crawl.
    """
    try:
        factory = point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            "MOCRA_BACKEND",
            f"{redact_url(url)!r} is served by {point.value}, which can't be imported: {error}",
            "Install what it needs, or choose another backend",
        ) from error
    backend: Any = factory(url, prefix=prefix, options=options)
    try:
        verifyObject(IBackend, backend)
    except Invalid as error:
        problems = "; ".join(_missing(one) for one in _each(error))
        raise ConfigurationError(
            "MOCRA_BACKEND", f"{point.value} is not a backend: {problems}", f"Mend {point.value}, see IBackend"
        ) from error
    checked: IBackend = backend
    return checked


def _each(error: Invalid) -> list[Invalid]:
    """The single problems: verifyObject collects them in a ``MultipleInvalid``."""
    return list(getattr(error, "exceptions", ())) or [error]


def _missing(error: Invalid) -> str:
    """What to add or change, in words."""
    if isinstance(error, DoesNotImplement):
        return "say @implementer(IBackend) above the class"
    if isinstance(error, BrokenImplementation):
        return f"add {getattr(error.name, '__name__', error.name)!r}"
    if isinstance(error, BrokenMethodImplementation):
        return f"change the signature of {getattr(error.method, '__name__', error.method)!r}: {error.mess}"
    return str(error)


def _unknown(url: str, scheme: str, known: list[str]) -> ConfigurationError:
    shown = redact_url(url)
    if not scheme:
        return ConfigurationError(
            "MOCRA_BACKEND", f"{shown!r} is not the URL of a backend", "Write memory:// or redis://host:6379/0"
        )
    near = difflib.get_close_matches(scheme, known, n=1)
    guess = f"Did you mean {near[0]}://? " if near else ""
    return ConfigurationError(
        "MOCRA_BACKEND",
        f"{shown!r}: there is no backend for {scheme}://",
        f"{guess}Known are {', '.join(f'{name}://' for name in known)}",
    )
