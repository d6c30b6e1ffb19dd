"""Pages of a WARC or a HAR, whoever wrote it. What can't be read in it is told, entry by entry, and the
rest is read.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

from mocra_scrapy.cache.httpcache.archives import MOST, SELECTING, ArchivedPage, is_har, warcio_modules
from mocra_scrapy.cache.httpcache.codings import are_known, codings_of, decoded
from mocra_scrapy.cache.httpcache.fields import Fields, members
from mocra_scrapy.cache.httpcache.json_entries import EntriesOfJson
from mocra_scrapy.cache.httpcache.messages import Answer, Ask, Stored
from mocra_scrapy.cache.httpcache.selecting import selecting_fields, varies_by
from mocra_scrapy.exceptions import ConfigurationError

#: What no page needs that is stored as it is: the coding of its way is undone, its length what it has.
_UNDONE: Final = frozenset((b"transfer-encoding", b"content-length"))
#: What an entry raises that is not as the format says.
_DAMAGE: Final = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    EOFError,
    zlib.error,
)
#: Seconds that a site may have taken for a page. Bytes that are read at once.
_LONGEST, _PIECE = 86_400.0, 65_536
_OTHER_FILE: Final = "Give a file of that format"


@dataclass(frozen=True)
class Unread:
    """An entry that is not a page, or not as the format says.

    Attributes:
        number: which one, from 1.
        url: of the page, if it says so.
        why: in words.
        cut: whether the file ends within it, or can't be read any further.
    """

    number: int
    url: str
    why: str
    cut: bool = False


def _plain(answer: Answer) -> Answer:
    """*answer* without codings; as it is, where one is not known here: Scrapy does not know it either.

    Raises:
        ValueError: its body is not coded as it says.
    """
    found, codings = decoded(answer, MOST), codings_of(answer)
    if found is not None:
        return found
    if not are_known(codings):
        return answer
    if {*codings} <= {b"gzip", b"x-gzip"} and answer.body[:2] != b"\x1f\x8b":
        return _without_coding(answer)  # who wrote the file has undone it
    said = b", ".join(codings).decode("latin-1")
    raise ValueError(f"its body is not what Content-Encoding says ({said}), or has more than {MOST} bytes then")


def _without_coding(answer: Answer) -> Answer:
    fields = {name: lines for name, lines in answer.fields.items() if name != b"content-encoding"}
    return Answer(answer.status, fields, answer.body, answer.url)


def archived(ask: Ask, answer: Answer, at: float, took: float = 0.0, body: bytes = b"", *, known: bool) -> ArchivedPage:
    """*known*: whether the request's fields are all there."""
    fields = {name: lines for name, lines in answer.fields.items() if name not in _UNDONE}
    names = varies_by(fields)
    matters = (names or frozenset()) - {b"accept-encoding"}  # its coding is undone
    if names is None or (matters and not known):
        return ArchivedPage(ask, None, body)
    if not matters:
        fields.pop(b"vary", None)
    answer = Answer(answer.status, fields, answer.body, answer.url)
    return ArchivedPage(ask, Stored(answer, selecting_fields(matters, ask.fields), at - took, at, took), body)


def read_archive(path: Path) -> Iterator[ArchivedPage | Unread]:
    """The pages of a file, one by one.

    Raises:
        ConfigurationError: it is no such file, or warcio is not installed.
        OSError: it can't be read.
    """
    return _read_har(path) if is_har(path) else _read_warc(path)


def _tried(number: int, url: str, read: Callable[[], ArchivedPage | None]) -> ArchivedPage | Unread | None:
    try:
        return read()
    except _DAMAGE as error:
        return Unread(number, url, _words(error))


def _words(error: BaseException) -> str:
    """What *error* says: one short line without the bytes of a foreign file."""
    what = f"there is no {error}" if isinstance(error, KeyError) else str(error)
    return ascii(what)[1:-1][:150] or type(error).__name__


# ---------------------------------------------------------------- WARC


def _read_warc(path: Path) -> Iterator[ArchivedPage | Unread]:
    warcio = warcio_modules()
    asked: dict[str, tuple[bytes, Fields, bytes]] = {}  # by URL, until its response comes
    with path.open("rb") as file:
        # Their contents are parsed below, so that one that is damaged does not end the iterator.
        records, number = _records(warcio, file), 0
        while True:
            number += 1
            try:
                record = next(records, None)
                content = None if record is None else _content(record)
            except OSError:
                raise
            except Exception as error:  # whatever warcio is led to by what is no WARC
                if number == 1:
                    raise ConfigurationError(str(path), f"it is no WARC: {_words(error)}", _OTHER_FILE) from error
                yield Unread(number, "", f"from here on it is no WARC: {_words(error)}", cut=True)
                return
            if record is None:
                if not records.whole and path.stat().st_size:
                    yield Unread(number, "", "the file ends within it", cut=True)
                return
            url = record.rec_headers.get_header("WARC-Target-URI") or ""
            if content is None:
                yield Unread(number, url, "the file ends within it", cut=True)
                return
            if record.rec_type in ("request", "response"):
                found = _tried(number, url, lambda r=record, u=url, c=content: _exchange(warcio, r, u, c, asked))  # type: ignore[misc]
                if found is not None:
                    yield found


def _records(warcio: Any, file: BinaryIO) -> Any:
    class Records(warcio.archiveiterator.ArchiveIterator):  # type: ignore[misc]
        whole = True

        def close(self) -> None:
            if self.reader is not None and self.reader.decompressor is not None:
                self.whole = self.reader.decompressor.eof  # else the end of the last member is missing
            super().close()

    return Records(file, no_record_parse=True)


def _content(record: Any) -> bytes | None:
    """Of *record*, where it is an exchange; ``None``: the file ends within it."""
    wanted, pieces = record.rec_type in ("request", "response"), []
    if not (record.rec_headers.get_header("Content-Length") or "").isdigit():
        return None  # its head is cut off
    left = record.length
    while piece := record.raw_stream.read(_PIECE):
        left -= len(piece)
        if wanted:
            pieces.append(piece)
    return None if left > 0 else b"".join(pieces)


def _exchange(
    warcio: Any, record: Any, url: str, content: bytes, asked: dict[str, tuple[bytes, Fields, bytes]]
) -> ArchivedPage | None:
    if not url:
        raise ValueError("it has no WARC-Target-URI")
    if record.rec_headers.get_header("WARC-Truncated"):
        raise ValueError("WARC-Truncated: it is a part of the page")
    if not content:
        raise ValueError("it is empty")
    stream = BytesIO(content)
    loader = warcio.recordloader.ArcWarcRecordLoader()
    try:
        head = loader.load_http_headers(record.rec_type, url, stream, len(content))
    except warcio.statusandheaders.StatusAndHeadersParserException as error:
        raise ValueError(f"its first line is not of HTTP: {error}") from error
    if head is None:
        return None  # of another protocol, as the look-up of a name
    body = warcio.recordloader.ArcWarcRecord(
        "warc", record.rec_type, record.rec_headers, stream, head, None, len(content)
    )
    coded = head.get_header("Transfer-Encoding", "").lower() == "chunked"
    plain = (warcio.bufferedreaders.ChunkedDataReader(body.raw_stream) if coded else body.raw_stream).read()
    if record.rec_type == "request":
        asked.clear()
        asked[url] = ((head.protocol or "GET").encode("latin-1"), _fields(head.headers), plain)
        return None
    return _warc_page(record.rec_headers, url, head, plain, asked.pop(url, None))


def _warc_page(
    record: Any, url: str, head: Any, body: bytes, asked: tuple[bytes, Fields, bytes] | None
) -> ArchivedPage:
    date, code = record.get_header("WARC-Date"), head.get_statuscode()
    if not date:
        raise ValueError("it has no WARC-Date")
    if not code.isdigit():
        raise ValueError(f"its status is no number: {code!r}")
    answer = Answer(int(code), _fields(head.headers), body, record.get_header("Mocra-Response-Url") or url)
    answer = _plain(answer)
    method, fields, sent = asked or (b"GET", {}, b"")
    selecting = record.get_header(SELECTING)
    if selecting:
        fields = {**fields, **_selected(selecting)}
    known = asked is not None or selecting is not None
    return archived(Ask(method, url, fields), answer, _time(date), body=sent, known=known)


# ---------------------------------------------------------------- HAR


def _read_har(path: Path) -> Iterator[ArchivedPage | Unread]:
    with path.open(encoding="utf-8-sig") as file:
        entries, number = iter(EntriesOfJson(file, "log", "entries")), 0
        while True:
            number += 1
            try:
                entry = next(entries)
            except StopIteration:
                return
            except _DAMAGE as error:
                if number == 1:
                    why = f"it is no HAR, or cut off: {_words(error)}"
                    raise ConfigurationError(str(path), why, _OTHER_FILE) from error
                yield Unread(number, "", f"from here on it is no HAR: {_words(error)}", cut=True)
                return
            yield from _har_entry(number, entry)


def _har_entry(number: int, entry: Any) -> Iterator[ArchivedPage | Unread]:
    request = entry.get("request") if isinstance(entry, dict) else None
    url = request.get("url") if isinstance(request, dict) else None
    found = _tried(number, url if isinstance(url, str) else "", lambda: _har_page(entry))
    if found is not None:
        yield found


def _har_page(entry: dict[str, Any]) -> ArchivedPage:
    request, response, content = entry["request"], entry["response"], entry["response"]["content"]
    if not isinstance(request["url"], str):
        raise TypeError(f"its URL is {request['url']!r}")
    text = content.get("text") or ""
    body = (
        base64.b64decode("".join(text.split()), validate=True) if content.get("encoding") == "base64" else text.encode()
    )
    took = max(0.0, float(entry.get("time") or 0) / 1000)
    if not took <= _LONGEST:
        raise ValueError(f"its time is {entry['time']!r} ms")
    begun = _time(entry["startedDateTime"])
    fields = _fields([(one["name"], one["value"]) for one in request["headers"]])
    if "_selecting" in entry:
        fields = {**fields, **_selected(entry["_selecting"])}
    asked = Ask(request["method"].encode("latin-1"), request["url"], fields)
    sent = (request.get("postData") or {}).get("text") or ""
    # Browsers write several lines of a field as one value.
    headers = _fields(
        [(one["name"], line) for one in response["headers"] for line in one["value"].splitlines() or [""]]
    )
    if not 0 <= int(response["status"]) <= 999:
        raise ValueError(f"its status is {response['status']}")
    answer = Answer(int(response["status"]), headers, body, request["url"])
    # A browser's HAR has the text, whatever its headers say.
    answer = _plain(answer) if entry.get("_coded") else _without_coding(answer)
    return archived(asked, answer, begun + took, took, sent.encode("latin-1", "replace"), known=True)


# ---------------------------------------------------------------- fields


def _time(text: str) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _fields(pairs: list[tuple[str, str]]) -> Fields:
    found: Fields = {}
    for name, value in pairs:
        if not name.startswith(":"):  # HTTP/2, as browsers write it
            found.setdefault(name.lower().encode("latin-1", "replace"), []).append(value.encode("latin-1", "replace"))
    return found


def _selected(text: str) -> Fields:
    return {
        name.encode("latin-1"): members([value.encode("latin-1")]) or [b""]
        for name, value in json.loads(text).items()
        if value is not None
    }
