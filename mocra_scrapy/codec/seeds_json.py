"""Seeds: what a crawl is fed with from outside, as bytes <-> requests of its spider.

A seed is a URL, or a JSON object with a request's parts
(:class:`~mocra_scrapy.codec.seed_schema.Seed`). One that is no request, and one that can't be stored
as one, is stored as it came, in an envelope (:func:`wrapped`): whoever leases it finds the same
mistake and buries it with the reason, and a replay tries it again.

Seeds come from a shared store, so they are data: nothing is imported or evaluated by what they say,
callbacks are methods of the spider, and only http and https are fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgpack
from scrapy import Request

from mocra_scrapy.exceptions import UnreadableSeed
from mocra_scrapy.models.redaction import redact
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from scrapy import Spider

#: What an envelope begins with: a codec's byte, and what no payload of another codec has behind it.
ENVELOPE = b"\x03mocra-seed:"
#: Bytes that are kept of a seed that is too large to be stored.
KEPT = 16 * 1024
#: Characters of a URL: Scrapy takes a minute for one of some million, in which nothing else happens.
LONGEST_URL = 65536
#: Characters of a seed in a message.
SHOWN = 200
#: The spider's own word for what a seed means, called as scrapy-redis calls it.
HOOK = "make_request_from_data"
URL = re.compile(rb'"url"\s*:\s*"([^"]*)"')
SCHEMES = ("http://", "https://")


def shown(data: bytes) -> str:
    """A seed for a person: of JSON its URL only, for headers and cookies are secrets."""
    if data.lstrip()[:1] == b"{":
        url = URL.search(data[:65536])
        return (
            f"JSON of {len(data)} bytes, url {redact(url[1].decode('utf-8', 'replace'))[:SHOWN] if url else 'unknown'}"
        )
    text = redact(data[: 4 * SHOWN].decode("utf-8", "backslashreplace"))
    return text if len(text) <= SHOWN and len(data) <= 4 * SHOWN else f"{text[:SHOWN]}… ({len(data)} bytes)"


def default_request(spider: Spider, data: bytes) -> Request:
    """The request that *data* means where the spider has no word of its own; also for a
    ``make_request_from_data`` that treats some seeds by itself.

    Raises:
        UnreadableSeed: it is none; the text says why.
    """
    text = data.strip()
    if text[:1] == b"{":
        return _from_json(spider, text)
    try:
        url = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableSeed(f"it is not UTF-8 text: {error}") from None
    checked = _checked_url(url)
    try:
        return Request(checked)
    except ValueError as error:
        raise UnreadableSeed(f"it is no request: {error}") from None


def _checked_url(url: str) -> str:
    if not url.lower().startswith(SCHEMES):
        what = "it is empty" if not url else f"{shown(url.encode('utf-8', 'surrogatepass'))!r} is no http(s) URL"
        raise UnreadableSeed(f"{what}: a seed is a URL, or a JSON object with a url")
    if len(url) > LONGEST_URL:
        raise UnreadableSeed(f"its URL has {len(url)} characters, more than {LONGEST_URL}")
    if any(character.isspace() or ord(character) < 32 for character in url):
        raise UnreadableSeed(
            f"the URL {shown(url.encode('utf-8', 'surrogatepass'))!r} has a blank or a control character"
        )
    try:
        _ = urlsplit(url).port  # Scrapy asks for it when it is too late
    except ValueError as error:
        raise UnreadableSeed(
            f"the URL {shown(url.encode('utf-8', 'surrogatepass'))!r} can't be read: {error}"
        ) from None
    return url


def _from_json(spider: Spider, text: bytes) -> Request:
    from mocra_scrapy.codec.seed_schema import opened

    try:
        seed = opened(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableSeed(f"it is no seed: {error}") from None
    meta = {**seed.meta, "mocra_delay": seed.delay} if seed.delay else seed.meta
    try:
        return Request(
            _checked_url(seed.url.strip()),
            method=seed.method,
            headers=seed.headers or None,
            body=seed.body,
            cookies=seed.cookies or None,  # type: ignore[arg-type]
            callback=_method(spider, seed.callback, "callback"),
            errback=_method(spider, seed.errback, "errback"),
            meta=meta,
            cb_kwargs=seed.cb_kwargs,
            priority=seed.priority,
            dont_filter=seed.dont_filter,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UnreadableSeed(f"it is no request: {error}") from None


def _method(spider: Spider, name: str | None, role: str) -> Any:
    if name is None:
        return None
    method = None if name.startswith("_") else getattr(spider, name, None)
    if not callable(method) or getattr(method, "__self__", None) is not spider:
        raise UnreadableSeed(f"its {role}: spider {spider.name!r} has no method {name!r}")
    return method


def requests_of(spider: Spider, data: bytes, most: int | None = None) -> list[Request]:
    """The requests that *data* means, as the spider's own ``make_request_from_data`` says, where it
    has one: that gives a request, several, or nothing. *most*: bytes that a seed may have.

    Raises:
        UnreadableSeed: none, with the reason.
    """
    if most is not None and len(data) > most:
        raise UnreadableSeed(f"it has {len(data)} bytes, more than MOCRA_ENTRY_MAX_BYTES allows")
    hook = getattr(spider, HOOK, None)
    if hook is None:
        return [default_request(spider, data)]
    try:
        made = hook(data)
        found = [made] if isinstance(made, Request) else list(made) if isinstance(made, Iterable) else made
    except UnreadableSeed:
        raise
    except Exception as error:
        raise UnreadableSeed(f"{HOOK}() of spider {spider.name!r} raised {type(error).__name__}: {error}") from error
    if not found or not isinstance(found, list) or not all(isinstance(one, Request) for one in found):
        close = getattr(made, "close", None)
        if callable(close):  # a coroutine that nobody awaits
            close()
        raise UnreadableSeed(f"{HOOK}() of spider {spider.name!r} gave {type(made).__name__}, no request")
    return found


def wrapped(data: bytes, source: str, place: str, most: int) -> bytes:
    """An envelope of *data*, which came from *place* of *source*; what would take more than *most*
    bytes is cut, and says so.
    """
    kept = data if len(data) + len(ENVELOPE) + 1024 <= most else data[: min(KEPT, max(0, most - 1024))]
    where = [text[:400].encode("utf-8", "backslashreplace").decode() for text in (source, place)]
    return ENVELOPE + bytes(msgpack.packb([*where, len(data), kept]))


def unwrapped(body: bytes) -> tuple[str, str, int, bytes] | None:
    """``(source, place in it, bytes that it had, what is kept of these)``; ``None``: it is no
    envelope.
    """
    if not body.startswith(ENVELOPE):
        return None
    try:
        source, place, size, kept = msgpack.unpackb(memoryview(body)[len(ENVELOPE) :])
        return str(source), str(place), int(size), bytes(kept)
    except Exception:
        return None


def request_in(spider: Spider, body: bytes) -> Request:
    """The request in an envelope.

    Raises:
        UnreadableSeed: there is none: the text says from where it came, and what is wrong with it.
    """
    found = unwrapped(body)
    if found is None:
        raise UnreadableSeed("damaged bytes in place of a seed")
    source, place, size, kept = found
    where = f"Seed {place} of {source}" if place else f"Seed of {source}"
    if len(kept) < size:
        raise UnreadableSeed(
            f"{where} has {size} bytes, more than MOCRA_ENTRY_MAX_BYTES allows; its beginning: {shown(kept)}"
        )
    try:
        requests = requests_of(spider, kept)
    except UnreadableSeed as error:
        raise UnreadableSeed(f"{where}: {error}. It is: {shown(kept)}") from error
    if len(requests) > 1:
        raise UnreadableSeed(
            f"{where} makes {counted(len(requests), 'request')}, and one of them can't be stored: {shown(kept)}"
        )
    return requests[0]
