"""The settings of the shared HTTP cache: Scrapy's ``HTTPCACHE_*`` that ours obeys, and ``MOCRA_HTTPCACHE_*``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import CacheBounds
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

#: Whose cache it is. Of one crawl it is a private cache, else several have it: a shared one.
SCOPES = ("crawl", "spider", "all")
#: What the settings name. Classes of these or of subclasses are ours.
POLICY = "mocra_scrapy.downloadermiddlewares.httpcache.RFC9111Policy"
STORAGE = "mocra_scrapy.downloadermiddlewares.httpcache.BackendCacheStorage"
#: Seconds: ten years. The greatest time that a server is asked to keep something.
LONGEST = 315_360_000.0


@dataclass(frozen=True, slots=True)
class HttpCacheOptions:
    """What :mod:`mocra_scrapy.settings.default_settings` documents, and Scrapy's own settings.

    Attributes:
        keep: seconds after which an entry is a miss: the smaller one of ``MOCRA_HTTPCACHE_KEEP`` and
            ``HTTPCACHE_EXPIRATION_SECS``.
        negative: status -> seconds.
        decoding: whether responses are decompressed behind the cache (``COMPRESSION_ENABLED``), so that
            it may store them as they are then. ``download_maxsize``: bytes above which Scrapy drops them
            there (``DOWNLOAD_MAXSIZE``); 0: no limit.
    """

    scope: str
    max_bytes: int
    entry_max_bytes: int
    keep: float
    wait: float
    heuristic: float
    heuristic_max: float
    stale_if_error: float
    negative: Mapping[int, float] = field(default_factory=dict)
    ignored_statuses: frozenset[int] = frozenset()
    ignored_schemes: frozenset[str] = frozenset()
    ignored_directives: frozenset[bytes] = frozenset()
    always_store: bool = False
    decoding: bool = True
    download_maxsize: int = 0

    @property
    def bounds(self) -> CacheBounds:
        """What the scope may hold. Entries are bounded by what a server needs around each."""
        return CacheBounds(max(1000, self.max_bytes // 256), self.max_bytes, self.entry_max_bytes)

    @property
    def shared(self) -> bool:
        return self.scope != "crawl"

    def namespace(self, crawl: str, project: str, spider: str) -> str:
        """Where the entries of this scope are."""
        return {"crawl": f"crawl:{crawl}", "spider": f"spider:{project}:{spider}", "all": "all"}[self.scope]


def read_httpcache(settings: BaseSettings) -> HttpCacheOptions:
    """The checked settings.

    Raises:
        ConfigurationError: names the first setting that is wrong, and the fix.
    """
    read = SettingsReader(settings)
    max_bytes = read.whole("MOCRA_HTTPCACHE_MAX_BYTES", 1_048_576, 2**50, "a number of bytes")
    entry = read.whole("MOCRA_HTTPCACHE_ENTRY_MAX_BYTES", 1024, 2**27, "a number of bytes")
    if entry > max_bytes // 16:
        raise ConfigurationError(
            "MOCRA_HTTPCACHE_ENTRY_MAX_BYTES",
            f"{entry} is more than a sixteenth of MOCRA_HTTPCACHE_MAX_BYTES = {max_bytes}",
            f"Set {max_bytes // 16} at most, or raise MOCRA_HTTPCACHE_MAX_BYTES",
        )
    keep = read.number("MOCRA_HTTPCACHE_KEEP", 1, LONGEST, "a time in seconds")
    expiration = settings.getint("HTTPCACHE_EXPIRATION_SECS")
    return HttpCacheOptions(
        scope=read.choice("MOCRA_HTTPCACHE_SCOPE", SCOPES),
        max_bytes=max_bytes,
        entry_max_bytes=entry,
        keep=min(keep, expiration) if expiration > 0 else keep,
        wait=read.number("MOCRA_HTTPCACHE_WAIT", 0, 3600, "a time in seconds"),
        heuristic=read.number("MOCRA_HTTPCACHE_HEURISTIC", 0, 1, "a part, from 0 to 1"),
        heuristic_max=read.number("MOCRA_HTTPCACHE_HEURISTIC_MAX", 0, LONGEST, "a time in seconds"),
        stale_if_error=read.number("MOCRA_HTTPCACHE_STALE_IF_ERROR", 0, LONGEST, "a time in seconds"),
        negative=_negative(read),
        ignored_statuses=frozenset(int(status) for status in settings.getlist("HTTPCACHE_IGNORE_HTTP_CODES")),
        ignored_schemes=frozenset(settings.getlist("HTTPCACHE_IGNORE_SCHEMES")),
        ignored_directives=frozenset(
            _bytes(name).lower() for name in settings.getlist("HTTPCACHE_IGNORE_RESPONSE_CACHE_CONTROLS")
        ),
        always_store=settings.getbool("HTTPCACHE_ALWAYS_STORE"),
        decoding=settings.getbool("COMPRESSION_ENABLED"),
        download_maxsize=max(0, settings.getint("DOWNLOAD_MAXSIZE")),
    )


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("latin-1")


def _negative(read: SettingsReader) -> dict[int, float]:
    found = {}
    for status, seconds in read.mapping("MOCRA_HTTPCACHE_NEGATIVE").items():
        valid = isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds <= LONGEST
        if not (str(status).isdigit() and 400 <= int(status) <= 599 and valid):
            raise ConfigurationError(
                f"MOCRA_HTTPCACHE_NEGATIVE[{status!r}]",
                f"{status!r}: {seconds!r} is not the status of an error and a time in seconds",
                "Write, for example, {404: 3600, 410: 86400}",
            )
        found[int(status)] = float(seconds)
    return found


def names_ours(settings: BaseSettings) -> bool:
    """Whether ``HTTPCACHE_POLICY`` or ``HTTPCACHE_STORAGE`` names one of ours. Imports only what the
    project says itself.
    """
    return any(_is_ours(settings.get(name)) for name in ("HTTPCACHE_POLICY", "HTTPCACHE_STORAGE"))


def policy_is_ours(settings: BaseSettings) -> bool:
    """Whether entries are known by their URL and ``Vary``, not by fingerprints."""
    return _is_ours(settings.get("HTTPCACHE_POLICY"))


def _is_ours(value: object) -> bool:
    if isinstance(value, str):
        if value in (POLICY, STORAGE):
            return True
        if value.startswith("scrapy."):
            return False
        from scrapy.utils.misc import load_object

        try:
            value = load_object(value)
        except (ImportError, NameError, ValueError):
            return False  # Scrapy says that better, in a moment
    bases = getattr(value, "__mro__", ())
    return any(f"{base.__module__}.{base.__qualname__}" in (POLICY, STORAGE) for base in bases)
