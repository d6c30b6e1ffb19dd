"""Pages as files: WARC (ISO 28500, what archives and crawlers keep) and HAR 1.2 (what browsers save)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TextIO

from mocra_scrapy._version import __version__
from mocra_scrapy.cache.httpcache.fields import Fields, members
from mocra_scrapy.cache.httpcache.messages import Answer, Ask, Stored
from mocra_scrapy.cache.httpcache.selecting import selecting_fields, varies_by
from mocra_scrapy.exceptions import ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Self

#: Codings that are undone when an archive is read: its pages are stored as they are.
_UNDONE: Final = frozenset((b"content-encoding", b"transfer-encoding", b"content-length"))
#: Ours in a WARC record and in a HAR entry: what selected a variant, as JSON of the fields of its request.
_SELECTING: Final = "Mocra-Selecting"


@dataclass(frozen=True)
class ArchivedPage:
    """One exchange.

    Attributes:
        ask: what was asked: method, URL, and as much of its fields as is known.
        body: what was sent with it.
        variant: is ``None`` where the response varies by what nobody knows.
    """

    ask: Ask
    variant: Stored | None
    body: bytes = b""


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


def is_har(path: Path) -> bool:
    """Whether the name of *path* says HAR rather than WARC.

    Raises:
        ConfigurationError: it says neither.
    """
    name = path.name.lower()
    if name.endswith(".har"):
        return True
    if name.endswith((".warc", ".warc.gz")):
        return False
    raise ConfigurationError(str(path), "its name says neither HAR nor WARC", "Call it ….har, ….warc or ….warc.gz")


def _warcio() -> Any:
    try:
        import warcio.archiveiterator
        import warcio.statusandheaders
        import warcio.warcwriter
    except ImportError as error:
        raise ConfigurationError(
            "WARC", f"warcio is not installed ({error})", 'pip install "mocra-scrapy[warc]", or use a ….har'
        ) from error
    return warcio


class WarcWriter(AbstractContextManager["WarcWriter"]):
    """Writes a request and a response record for each page; compressed, where the name ends with ``.gz``.

    Raises:
        ConfigurationError: warcio is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._warcio = _warcio()
        self._file: BinaryIO = path.open("xb")
        self._writer = self._warcio.warcwriter.WARCWriter(self._file, gzip=path.name.lower().endswith(".gz"))
        info = {"software": f"mocra_scrapy/{__version__}", "format": "WARC File Format 1.0"}
        self._put(self._writer.create_warcinfo_record(path.name, info))

    def _put(self, record: Any) -> None:
        self._writer.write_record(record)
        record.raw_stream.close()  # warcio leaves a temporary file open

    def write(self, page: ArchivedPage) -> None:
        assert page.variant is not None
        answer, at = page.variant.answer, _iso(page.variant.received)
        status = self._warcio.statusandheaders.StatusAndHeaders
        url = page.ask.url
        head = {"WARC-Date": at, _SELECTING: _selecting_text(page.variant)}
        if answer.url != url:
            head["Mocra-Response-Url"] = answer.url
        response = self._writer.create_warc_record(
            url,
            "response",
            payload=BytesIO(answer.body),
            http_headers=status(f"{answer.status} -", _pairs(answer.fields), protocol="HTTP/1.1"),
            warc_headers_dict=head,
        )
        path = url.partition("://")[2].partition("/")[2]
        request = self._writer.create_warc_record(
            url,
            "request",
            payload=BytesIO(page.body),
            http_headers=status(
                f"{page.ask.method.decode('latin-1')} /{path} HTTP/1.1", _pairs(page.ask.fields), is_http_request=True
            ),
            warc_headers_dict={
                "WARC-Date": at,
                "WARC-Concurrent-To": response.rec_headers.get_header("WARC-Record-ID"),
            },
        )
        self._put(request)  # before: who reads it knows then what was asked
        self._put(response)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class HarWriter(AbstractContextManager["HarWriter"]):
    """Writes a HAR page by page: what is in it need not fit into memory."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("x", encoding="utf-8")
        creator = json.dumps({"name": "mocra_scrapy", "version": __version__})
        self._file.write(f'{{"log": {{"version": "1.2", "creator": {creator}, "entries": [')
        self._comma = ""

    def __enter__(self) -> Self:
        return self

    def write(self, page: ArchivedPage) -> None:
        assert page.variant is not None
        one, answer = page.variant, page.variant.answer
        kind = b", ".join(answer.fields.get(b"content-type", [])).decode("latin-1")
        entry = {
            "startedDateTime": _iso(one.requested),
            "time": round(one.took * 1000, 3),
            "request": {
                "method": page.ask.method.decode("latin-1"),
                "url": page.ask.url,
                "httpVersion": "HTTP/1.1",
                "cookies": [],
                "headers": _named(page.ask.fields),
                "queryString": [],
                "headersSize": -1,
                "bodySize": len(page.body),
                **({"postData": {"mimeType": "", "text": page.body.decode("latin-1")}} if page.body else {}),
            },
            "response": {
                "status": answer.status,
                "statusText": "",
                "httpVersion": "HTTP/1.1",
                "cookies": [],
                "headers": _named(answer.fields),
                "content": {
                    "size": len(answer.body),
                    "mimeType": kind,
                    "text": base64.b64encode(answer.body).decode(),
                    "encoding": "base64",
                },
                "redirectURL": "",
                "headersSize": -1,
                "bodySize": len(answer.body),
            },
            "cache": {},
            "timings": {"send": 0, "wait": round(one.took * 1000, 3), "receive": 0},
            "_selecting": _selecting_text(one),
        }
        self._file.write(f"{self._comma}\n{json.dumps(entry)}")
        self._comma = ","

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.write("\n]}}\n")
        self._file.close()


def read_archive(path: Path) -> Iterator[ArchivedPage]:
    """The pages of a file, one by one (a HAR is read as a whole first).

    Raises:
        ConfigurationError: it is no such file, or warcio is not installed.
    """
    return _read_har(path) if is_har(path) else _read_warc(path)


def _read_warc(path: Path) -> Iterator[ArchivedPage]:
    warcio = _warcio()
    asked: dict[str, tuple[bytes, Fields, bytes]] = {}  # by URL, until its response comes
    with path.open("rb") as file:
        try:
            for record in warcio.archiveiterator.ArchiveIterator(file):
                url = record.rec_headers.get_header("WARC-Target-URI")
                if record.rec_type == "request" and record.http_headers is not None:
                    method = record.http_headers.protocol or "GET"
                    fields = _fields(record.http_headers.headers)
                    asked = {url: (method.encode("latin-1"), fields, record.content_stream().read())}
                elif record.rec_type == "response" and record.http_headers is not None:
                    yield _warc_page(record, url, asked.pop(url, None))
        except warcio.exceptions.ArchiveLoadFailed as error:
            raise ConfigurationError(str(path), f"it is no WARC: {error}", "Give a file of that format") from error


def _warc_page(record: Any, url: str, asked: tuple[bytes, Fields, bytes] | None) -> ArchivedPage:
    head = record.rec_headers
    at = datetime.fromisoformat(head.get_header("WARC-Date").replace("Z", "+00:00")).timestamp()
    status = int(record.http_headers.get_statuscode())
    answer = Answer(
        status,
        _fields(record.http_headers.headers),
        record.content_stream().read(),
        head.get_header("Mocra-Response-Url") or url,
    )
    method, fields, body = asked or (b"GET", {}, b"")
    selecting = head.get_header(_SELECTING)
    if selecting:
        fields = {**fields, **_selected(selecting)}
    return archived(Ask(method, url, fields), answer, at, body=body, known=asked is not None or selecting is not None)


def _read_har(path: Path) -> Iterator[ArchivedPage]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))["log"]["entries"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(str(path), f"it is no HAR: {error}", "Give a file of that format") from error
    for entry in entries:
        with suppress(KeyError, TypeError, ValueError):  # what a browser did not get
            yield _har_page(entry)


def _har_page(entry: dict[str, Any]) -> ArchivedPage:
    request, response, content = entry["request"], entry["response"], entry["response"]["content"]
    text = content.get("text", "")
    body = base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
    took = max(0.0, float(entry.get("time") or 0) / 1000)
    begun = datetime.fromisoformat(entry["startedDateTime"].replace("Z", "+00:00")).timestamp()
    fields = _fields([(one["name"], one["value"]) for one in request["headers"]])
    if "_selecting" in entry:
        fields = {**fields, **_selected(entry["_selecting"])}
    asked = Ask(request["method"].encode("latin-1"), request["url"], fields)
    sent = request.get("postData", {}).get("text", "")
    headers = _fields([(one["name"], one["value"]) for one in response["headers"]])
    answer = Answer(int(response["status"]), headers, body, request["url"])
    return archived(asked, answer, begun + took, took, sent.encode("latin-1", "replace"), known=True)


# ---------------------------------------------------------------- fields


def _pairs(fields: Fields) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), line.decode("latin-1")) for name, lines in fields.items() for line in lines]


def _named(fields: Fields) -> list[dict[str, str]]:
    return [{"name": name, "value": line} for name, line in _pairs(fields)]


def _fields(pairs: list[tuple[str, str]]) -> Fields:
    found: Fields = {}
    for name, value in pairs:
        if not name.startswith(":"):  # HTTP/2, as browsers write it
            found.setdefault(name.lower().encode("latin-1", "replace"), []).append(value.encode("latin-1", "replace"))
    return found


def _selecting_text(one: Stored) -> str:
    return json.dumps(
        {name.decode("latin-1"): value and value.decode("latin-1") for name, value in one.selecting.items()}
    )


def _selected(text: str) -> Fields:
    return {
        name.encode("latin-1"): members([value.encode("latin-1")]) or [b""]
        for name, value in json.loads(text).items()
        if value is not None
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
