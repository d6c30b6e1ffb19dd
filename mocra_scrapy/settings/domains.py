"""Registrable domains: what somebody registered (``example.co.uk``), by the public suffix list."""

from __future__ import annotations

from functools import cache, lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tldextract import TLDExtract


@cache
def _extract() -> TLDExtract:
    from tldextract import TLDExtract  # Scrapy has imported it

    return TLDExtract(suffix_list_urls=(), cache_dir=None)  # its own snapshot: nothing is downloaded, nothing written


@lru_cache(maxsize=10_000)
def registrable_domain(host: str) -> str:
    """Of *host*; the host itself where there is none: an address, ``localhost``, a suffix."""
    host = host.lower().rstrip(".")
    try:
        ip_address(host)
    except ValueError:
        parts = _extract().extract_str(host)
        if not parts.suffix:  # of a network's own, as host.internal: the list says that the last label is one
            return ".".join(host.split(".")[-2:])
        return f"{parts.domain}.{parts.suffix}" if parts.domain else host
    return host
