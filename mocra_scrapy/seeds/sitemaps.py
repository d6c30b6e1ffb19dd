"""Sitemaps (sitemaps.org, 0.9): their entries, read as a stream and bounded, whatever the file is like.

Sites don't keep to the rules, so the content counts, not what the name or the type say: XML or text,
compressed or not. What is broken gives what can be read of it.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from html import unescape
from itertools import chain
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

#: Of one file, as the standard says: bytes before compression, and entries. What is more is not read.
MOST_BYTES, MOST_ENTRIES = 50 * 2**20, 50_000
#: Bytes that are parsed at once.
PIECE = 65536
GZIP = b"\x1f\x8b"
#: Compressed files that may stand one behind the other in one.
MOST_MEMBERS = 10_000
#: Characters of an address, and of an entry with all that stands in it.
LONGEST_URL, LONGEST_ENTRY = 8192, 256 * 1024

_MOMENT = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?)?)?)?"
)
_OPENED = re.compile(r"<!--|<((?:[\w.-]+:)?)(url|sitemap)(?:\s[^<>]*)?/?>")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_DECLARED = re.compile(rb"\s*<\?xml[^>]{1,100}?encoding=[\"\']([\w.-]{1,40})")
#: Those in which a declaration can be read as ASCII, and which are no text all the same.
_NO_TEXT = frozenset({"unicode-escape", "raw-unicode-escape"})
_SITEMAP_LINE = re.compile(rb"^\s*sitemap\s*:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


class SitemapEntry(NamedTuple):
    """*is_sitemap*: another file, not a page. *lastmod*: as it stands there, or nothing."""

    url: str
    lastmod: str
    is_sitemap: bool


@dataclass(slots=True)
class Reading:
    """The entries of one file, one after the other.

    Attributes:
        problems: what was wrong with it, or left out; known when it is read to its end.
    """

    url: str
    body: bytes
    problems: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[SitemapEntry]:
        for number, entry in enumerate(self._entries()):
            if number >= MOST_ENTRIES:
                self.problems.append(f"it has more than {MOST_ENTRIES} entries, the others are left out")
                return
            yield entry

    def _entries(self) -> Iterator[SitemapEntry]:
        texts = self._texts()
        first = next(texts, "").lstrip("\ufeff \t\r\n")
        while not first and (more := next(texts, None)) is not None:
            first = more.lstrip()
        yield from self._xml(first, texts) if first.startswith("<") else self._lines(first, texts)

    def _texts(self) -> Iterator[str]:
        decoder = None
        for piece in self._pieces():
            decoder = decoder or codecs.getincrementaldecoder(_encoding(piece))("replace")
            yield decoder.decode(piece)

    def _pieces(self) -> Iterator[bytes]:
        """The file, decompressed, up to :data:`MOST_BYTES`."""
        size = 0
        for piece in _inflated(self.body, self.problems) if self.body.startswith(GZIP) else _cut(self.body):
            size += len(piece)
            if size > MOST_BYTES:
                self.problems.append(f"it has more than {MOST_BYTES >> 20} MB, the rest is left out")
                yield piece[: len(piece) - (size - MOST_BYTES)]
                return
            yield piece

    def _xml(self, rest: str, texts: Iterator[str]) -> Iterator[SitemapEntry]:
        is_empty, unusable = True, 0
        for text in chain(texts, ("",)):
            scan = _Scan(self.url, rest)
            for entry in scan:
                is_empty = False
                yield entry
            rest, unusable = scan.rest + text, unusable + scan.unusable
            if len(rest) > LONGEST_ENTRY + PIECE:
                self.problems.append(f"it has an entry of more than {LONGEST_ENTRY >> 10} kB")
                return
        scan = _Scan(self.url, rest, is_whole=True)
        for entry in scan:
            is_empty = False
            yield entry
        if unusable + scan.unusable:
            self.problems.append(f"{unusable + scan.unusable} of its addresses are none")
        elif is_empty:
            self.problems.append("it has no entries: it is no sitemap, or an empty one")

    def _lines(self, rest: str, texts: Iterator[str]) -> Iterator[SitemapEntry]:
        for text in chain(texts, ("\n",)):
            *lines, rest = (rest + text).split("\n")
            if len(rest) > PIECE:
                self.problems.append("it is neither XML nor a list of addresses")
                return
            for line in map(str.strip, lines):
                if line.startswith(("http://", "https://")) and len(line) <= LONGEST_URL:
                    yield SitemapEntry(line, "", is_sitemap=False)


class _Scan:
    """The entries in a piece of XML, in one pass. Not by a parser: it would give up at the first ``&`` that
    should be ``&amp;``, of which sitemaps are full, and has entities to expand, which nobody needs here.

    Attributes:
        rest: what may be the beginning of a further entry.
        unusable: entries that were left out, because their address is none.
    """

    def __init__(self, url: str, text: str, *, is_whole: bool = False) -> None:
        self._url, self._text, self._is_whole = url, text, is_whole
        self.rest, self.unusable = text, 0

    def __iter__(self) -> Iterator[SitemapEntry]:
        text, at = self._text, 0
        while (opened := _OPENED.search(text, at)) is not None:
            space, name = opened.group(1, 2)
            end, mark = text.find("-->", opened.end()) if name is None else -1, "-->"
            if name is not None:
                mark = f"</{space}{name}"
                end = text.find(mark, opened.end())
            if end < 0 and not self._is_whole:
                self.rest = text[opened.start() :]
                return
            block, at = text[opened.end() : end if end >= 0 else None], end + len(mark) if end >= 0 else len(text)
            entry = self._entry(block, space, name) if name is not None and not opened[0].endswith("/>") else None
            if opened[0].endswith("/>"):
                at = opened.end()
            if entry is not None:
                yield entry
        tag = text.rfind("<", at)
        self.rest = text[tag:] if tag >= 0 and ">" not in text[tag:] else ""

    def _entry(self, block: str, space: str, name: str) -> SitemapEntry | None:
        block = _COMMENT.sub("", block) if "<!--" in block else block
        url = _part(block, f"{space}loc")
        if not url:
            return None
        url = absolute(self._url, url)
        if not url:
            self.unusable += 1
            return None
        return SitemapEntry(url, _part(block, f"{space}lastmod"), name == "sitemap")


def _part(block: str, name: str) -> str:
    """The text of the first element *name*; nothing: there is none."""
    at = block.find(f"<{name}")
    begin = block.find(">", at) + 1 if at >= 0 else 0
    if not begin or block[at + len(name) + 1] not in "> \t\r\n":
        return ""
    end = block.find(f"</{name}", begin)
    text = block[begin : end if end >= 0 else None].strip()
    if text.startswith("<![CDATA["):
        return text[9:].partition("]]>")[0].strip()
    text = text.partition("<")[0].strip()
    return unescape(text) if "&" in text else text


def absolute(base: str, url: str) -> str:
    """The address that *url* means in a file at *base*; nothing: it is none, or too long."""
    if len(url) > LONGEST_URL:
        return ""
    try:
        urlsplit(url)
        return url if url.startswith(("http://", "https://")) else urljoin(base, url)
    except ValueError:
        return ""


def is_web(url: str) -> bool:
    """Whether it may be fetched: what a site names must not open files of this machine."""
    return url[:8].lower().startswith(("http://", "https://"))


def _encoding(piece: bytes) -> str:
    if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    declared = _DECLARED.match(piece)
    if declared is None:
        return "utf-8"
    try:
        # Python's "encodings" have also base64, zlib and such: what they raise depends on the text.
        name = codecs.lookup(declared[1].decode("ascii")).name
        is_text = codecs.getincrementaldecoder(name)("replace").decode(b"<?xml", True) == "<?xml"
    except Exception:
        return "utf-8"
    return name if is_text and name.replace("_", "-") not in _NO_TEXT else "utf-8"


def _cut(body: bytes) -> Iterator[bytes]:
    return (body[at : at + PIECE] for at in range(0, len(body), PIECE))


def _inflated(body: bytes, problems: list[str]) -> Iterator[bytes]:
    """Piece by piece: of a decompression bomb no more is made than what is read. A file may be several
    compressed ones, one behind the other; anything else behind them is padding.
    """
    inflate, members, at = zlib.decompressobj(zlib.MAX_WBITS | 16), 1, PIECE
    rest = body[:PIECE]  # in pieces, too: what is left of it is copied each time
    try:
        while rest:
            yield inflate.decompress(rest, PIECE)
            rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            if len(rest) < len(GZIP):
                rest, at = rest + body[at : at + PIECE], at + PIECE
            if not inflate.eof:
                continue
            if not rest.startswith(GZIP):
                return
            members += 1
            if members > MOST_MEMBERS:
                problems.append(f"it has more than {MOST_MEMBERS} compressed parts, the others are left out")
                return
            inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        if not inflate.eof:
            problems.append("its compressed data ends too early")
    except zlib.error as error:
        problems.append(f"its compressed data is damaged: {error}")


def sitemaps_in_robots(body: bytes) -> list[str]:
    """The addresses behind ``Sitemap:`` of a robots.txt, each once."""
    found = [match.decode("utf-8", "replace") for match in _SITEMAP_LINE.findall(body)]
    return list(dict.fromkeys(url for url in found if len(url) <= LONGEST_URL))


def moment(text: str) -> datetime | None:
    """A date or time as sitemaps have them (W3C Datetime); one without a zone is UTC. ``None``: it is
    none.
    """
    match = _MOMENT.match(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, zone = match.groups()
    offset = timedelta(0)
    if zone and zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[-2:])
        offset = (1 if zone[0] == "+" else -1) * timedelta(hours=hours, minutes=minutes)
    try:
        at = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            tzinfo=timezone.utc,
        )
        return at - offset
    except (ValueError, OverflowError):
        return None
