"""What a site answered <-> what is kept of it beside a dead letter.

A zstd frame; inside is a msgpack map with the fields of :class:`StoredResponse`. The body is what
the callback saw, decompressed, of a long one the beginning. Secrets are not stored: the values of
``Set-Cookie`` and other headers that are called like one, and in the URL of a redirect what
``MOCRA_SECRET_PARAMS`` names.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import msgpack
from scrapy.http import Headers
from scrapy.responsetypes import responsetypes

from mocra_scrapy.codec.secrets import Secrets
from mocra_scrapy.exceptions import UnreadablePayload
from mocra_scrapy.models.redaction import MASK

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

#: Nobody reads more than this out of a frame, whatever it says: the greatest
#: ``MOCRA_DEAD_BODY_MAX_BYTES``, and headers.
MOST = 80 * 2**20
LEVEL = 3
#: Headers whose value is a URL; of others those that have a query in them.
URLS = frozenset(("location", "content-location", "refresh"))
#: A URL in ``Link``.
_LINKED = re.compile(r"<([^>]*)>")


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response, and of its request what a redirect changed.

    Attributes:
        url: ``""``: that of the letter's request.
        status, flags, protocol: as in :class:`scrapy.http.Response`.
        headers: name -> values; those of secrets are masked.
        body: the first bytes of the body…
        size: …which had so many.
        method: of the request that was answered.
        redirects: ``redirect_urls`` and ``redirect_reasons`` of its meta.
    """

    url: str
    status: int
    headers: Mapping[bytes, Sequence[bytes]] = field(default_factory=dict)
    body: bytes = b""
    size: int = 0
    flags: Sequence[str] = ()
    protocol: str | None = None
    method: str = "GET"
    redirects: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, response: Response, request: Request, most: int, patterns: Collection[str] = ()) -> StoredResponse:
        """What is kept of *response*, which came in the course of *request*: the first *most* bytes
        of its body. *patterns*: ``MOCRA_SECRET_PARAMS``.
        """
        secrets = Secrets(patterns)
        answered = response.request or request
        told = {name: answered.meta.get(name) for name in ("redirect_urls", "redirect_reasons")}
        return cls(
            "" if response.url == request.url else secrets.url(response.url),
            response.status,
            masked(response.headers, secrets),
            response.body[:most],
            len(response.body),
            [str(flag) for flag in response.flags],
            response.protocol,
            answered.method,
            {
                name: [secrets.url(value) if isinstance(value, str) else str(value) for value in values]
                for name, values in told.items()
                if isinstance(values, (list, tuple)) and values
            },
        )

    @classmethod
    def unpack(cls, frame: bytes) -> StoredResponse:
        """Raises UnreadablePayload: it is none, or too large."""
        try:
            size = zstd.get_frame_info(frame).decompressed_size
            if size is None or size > MOST:
                raise UnreadablePayload(f"a stored response of {size} bytes, more than {MOST}")
            known = msgpack.unpackb(zstd.decompress(frame))
            names = cls.__dataclass_fields__.keys()
            return cls(**{name: value for name, value in known.items() if name in names})
        except (zstd.ZstdError, ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
            raise UnreadablePayload(f"a stored response that can't be read: {type(error).__name__}: {error}") from error

    def pack(self) -> bytes:
        """The bytes to store. 1 MiB takes a few ms, during which other threads go on."""
        return zstd.compress(msgpack.packb(asdict(self), use_bin_type=True), LEVEL)

    @property
    def is_cut(self) -> bool:
        return len(self.body) < self.size

    def head(self) -> str:
        """Status line and headers, as a server sends them."""
        lines = [f"{self.protocol or 'HTTP/1.1'} {self.status}".encode()]
        lines += [b"%s: %s" % (name, value) for name, values in self.headers.items() for value in values]
        return b"\n".join(lines).decode("utf-8", "replace")

    def answering(self, request: Request) -> Response:
        """The response of the class that Scrapy gives it, as the callback of *request*, the letter's, got it."""
        meta = {**request.meta, **{name: list(urls) for name, urls in self.redirects.items()}}
        url = self.url or request.url
        answered = request.replace(url=url, method=self.method, meta=meta) if self.redirects else request
        headers = Headers({name: list(values) for name, values in self.headers.items()})
        cls = responsetypes.from_args(headers=headers, url=url, body=self.body)
        return cls(
            url=url,
            status=self.status,
            headers=headers,
            body=self.body,
            flags=list(self.flags),
            request=answered,
            protocol=self.protocol,
        )


def masked(headers: Headers, secrets: Secrets) -> dict[bytes, list[bytes]]:
    """*headers* without the values of those that are called like a secret, and without those in URLs."""
    shown = {}
    for raw, values in dict.items(headers):
        name = raw.decode("latin-1").lower()
        if secrets.is_secret(name):
            shown[raw] = [MASK.encode() for _ in values]
        else:
            shown[raw] = [_value(name, value, secrets) for value in values]
    return shown


def _value(name: str, value: bytes, secrets: Secrets) -> bytes:
    """Without the secrets of URLs."""
    if name == "link":
        return _LINKED.sub(lambda part: f"<{secrets.url(part[1])}>", value.decode("utf-8", "replace")).encode()
    if name in URLS or b"?" in value:
        return secrets.url(value.decode("utf-8", "replace")).encode()
    return value
