"""What crosses the contract of the cache: entries, bounds of a namespace, its size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mocra_scrapy.exceptions import ConfigurationError

#: Seconds that an entry lasts at most: ten years. Each entry ends.
LONGEST_TTL = 315_360_000.0
#: Bytes of a name, in UTF-8, at most; bytes of a member of a sorted set.
LONGEST_NAME = 1024
#: Largest value that any namespace may take: a process has it in memory, several times while it packs it.
LARGEST_VALUE = 134_217_728
#: The largest value is this part of a namespace at most: on a cluster a namespace has so many parts.
PARTS = 16
#: Bytes of a namespace at least: so that a name and a member fit into each part.
LEAST_BYTES = 65_536
#: Entries that one call removes at most, and stores.
STEP = 500
#: Names or members that one call gives at most.
LONGEST_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Cached:
    """An entry that is there.

    Attributes:
        value: its bytes.
        expires_in: seconds until it ends, by the server's clock when it answered.
    """

    value: bytes
    expires_in: float


@dataclass(frozen=True, slots=True)
class CacheBounds:
    """What a namespace may hold. All who use it should say the same: who writes makes room by its
    own bounds.

    Attributes:
        max_entries: entries, a member of a sorted set counted as one.
        max_bytes: bytes of values, names and members; what the server needs around each entry (some
            400 bytes on Redis) is not counted.
        max_value_bytes: of one value and its name; a sixteenth of *max_bytes* at most.

    Raises:
        ConfigurationError: a bound is out of range.
    """

    max_entries: int = 100_000
    max_bytes: int = 268_435_456
    max_value_bytes: int = 16_777_216

    def __post_init__(self) -> None:
        for name, least, most in (
            ("max_entries", 1, 10**10),
            ("max_bytes", LEAST_BYTES, 2**50),
            ("max_value_bytes", 1, LARGEST_VALUE),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ConfigurationError(
                    f"{name} of a cache", f"{value!r} is out of range", f"Give a whole number from {least} to {most}"
                )
        if self.max_value_bytes > self.max_bytes // PARTS:
            raise ConfigurationError(
                "max_value_bytes of a cache",
                f"{self.max_value_bytes} is more than a sixteenth of max_bytes = {self.max_bytes}",
                f"Give {self.max_bytes // PARTS} at most, or a larger max_bytes",
            )

    def share(self, parts: int) -> tuple[int, int]:
        """Entries and bytes of one of *parts* parts, rounded up."""
        return -(-self.max_entries // parts), -(-self.max_bytes // parts)


@dataclass(frozen=True, slots=True)
class CacheSize:
    """What a namespace holds, entries that ended and were not cleared away yet included.

    Attributes:
        entries: values and members of sorted sets.
        bytes: of values, names and members.
    """

    entries: int
    bytes: int


def stored_name(name: str) -> bytes:
    """*name* as it is stored.

    Raises:
        ConfigurationError: it is empty, too long, or no text.
    """
    try:
        stored = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else b""
    except UnicodeEncodeError:
        stored = b""
    if not 0 < len(stored) <= LONGEST_NAME:
        shown = name if not isinstance(name, (str, bytes)) or len(name) <= 80 else name[:80]
        raise ConfigurationError(
            f"cache name {shown!r}", "it is no usable text", f"Use 1 to {LONGEST_NAME} bytes of text, or a digest of it"
        )
    return stored


def shown_name(stored: bytes) -> str:
    """The other way round."""
    return stored.decode("utf-8", "surrogateescape")


def milliseconds(ttl: float) -> int:
    """A time to live as it is stored.

    Raises:
        ConfigurationError: it is no time, or longer than :data:`LONGEST_TTL`.
    """
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not 0.001 <= ttl <= LONGEST_TTL:
        raise ConfigurationError(
            "ttl of a cache entry", f"{ttl!r} is no time in seconds", f"Give 0.001 to {LONGEST_TTL:.0f} (ten years)"
        )
    return max(1, round(ttl * 1000))


def fits(name: str, value: bytes, bounds: CacheBounds) -> bytes:
    """*value*, where it may be stored.

    Raises:
        ConfigurationError: it is too large, or not bytes.
    """
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise ConfigurationError(f"cache value {name!r}", f"{type(value).__name__} is stored nowhere", "Give bytes")
    raw = bytes(value)
    if len(raw) + len(stored_name(name)) > bounds.max_value_bytes:
        raise ConfigurationError(
            f"cache value {name!r}",
            f"{len(raw)} bytes and its name, more than max_value_bytes = {bounds.max_value_bytes}",
            "Raise that bound of the namespace, or store less",
        )
    return raw


def not_a_counter(name: str) -> ConfigurationError:
    """What :meth:`~mocra_scrapy.interfaces.ICache.increment` can't add to."""
    return ConfigurationError(
        f"cache value {name!r}",
        "it is no whole number of 64 bits, or would leave that range",
        "Count under another name, or delete it first",
    )


def finite(name: str, score: float) -> float:
    """A score of a sorted set.

    Raises:
        ConfigurationError: it is not a finite number.
    """
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
        raise ConfigurationError(f"sorted set {name!r}", f"{score!r} is no score", "Give a finite number")
    return float(score)


def page(most: int) -> int:
    """How many one call may give.

    Raises:
        ConfigurationError: less than 1, or more than :data:`LONGEST_PAGE`.
    """
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= LONGEST_PAGE:
        raise ConfigurationError("most", f"{most!r} is out of range", f"Give 1 to {LONGEST_PAGE} and ask page by page")
    return most


def counted(name: str, by: int) -> int:
    """What is added to a counter.

    Raises:
        ConfigurationError: no whole number of 64 bits.
    """
    if isinstance(by, bool) or not isinstance(by, int) or not -(2**63) <= by < 2**63:
        raise ConfigurationError(f"cache value {name!r}", f"{by!r} can't be added", "Add a whole number of 64 bits")
    return by
