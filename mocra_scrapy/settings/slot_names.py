"""How the keys of ``MOCRA_THROTTLE`` name slots: as Scrapy does, which takes the host of a URL, in
lower case and without its port.
"""

from __future__ import annotations

import ipaddress
import re
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from mocra_scrapy.exceptions import ConfigurationError

_OTHER_LETTERS = re.compile(r"\[[^\]]*[^\x00-\x7f][^\]]*\]")
_PORT = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:/@\[\]]+):\d{1,5}")


def names_of(key: str, subject: str) -> tuple[str, ...]:
    """The names that *key* stands for: itself, and the host as Scrapy writes it. A slot may have any
    name (``meta["download_slot"]``), so what could be one stays as it is.

    Raises:
        ConfigurationError: *key* is a URL or has a port, and would match nothing.
    """
    if key.startswith("@"):
        return (key,)
    if "://" in key or key.startswith("//"):
        try:
            host = urlsplit(key).hostname or ""
        except ValueError:
            host = ""
        raise ConfigurationError(
            subject, "it is a URL, slots are named by hosts", f"Write {host or 'www.example.com'!r}"
        )
    if match := _PORT.fullmatch(key):
        raise ConfigurationError(
            subject,
            "it has a port, slots are named by hosts alone",
            f"Write {match['host'].strip('[]').lower()!r}; to tell ports apart, give requests a "
            "meta['download_slot'] without a colon",
        )
    if key.startswith("[") and key.endswith("]") and _is_ipv6(key[1:-1]):
        return tuple(dict.fromkeys((key[1:-1].lower(), str(ipaddress.IPv6Address(key[1:-1])))))
    if "." in key or key.lower() == "localhost":
        return tuple(dict.fromkeys((key, key.lower())))
    return (key,)


def check_pattern(pattern: str, subject: str) -> None:
    """Raises ConfigurationError: brackets that the store can't evaluate, or a range that is none."""
    if _OTHER_LETTERS.search(pattern):
        raise ConfigurationError(
            subject, "its brackets have other than ASCII characters", "Write ? in place of the brackets, or a key each"
        )
    try:
        fnmatchcase("", pattern)
    except re.error as error:
        raise ConfigurationError(subject, f"it is no pattern: {error}", "Write ranges as [a-z]") from error


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
