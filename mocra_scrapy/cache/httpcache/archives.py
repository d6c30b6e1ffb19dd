"""Pages as files: WARC (ISO 28500, what archives and crawlers keep) and HAR 1.2 (what browsers save).
They are read by :mod:`mocra_scrapy.cache.httpcache.archive_reading`.
"""

from __future__ import annotations

import base64
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TextIO

from mocra_scrapy._version import __version__
from mocra_scrapy.cache.httpcache.codings import decoded
from mocra_scrapy.cache.httpcache.fields import Fields
from mocra_scrapy.cache.httpcache.messages import Ask, Stored
from mocra_scrapy.exceptions import ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Self

#: Ours in a WARC record and in a HAR entry: what selected a variant, as JSON of the fields of its request.
SELECTING: Final = "Mocra-Selecting"
#: Bytes of a body whose codings are undone, at most.
MOST: Final = 2**28


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


def warcio_modules() -> Any:
    try:
        import warcio.archiveiterator
        import warcio.bufferedreaders
        import warcio.recordloader
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
        self._warcio = warcio_modules()
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
        head = {"WARC-Date": at, SELECTING: _selecting_text(page.variant)}
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
        one = page.variant
        plain = decoded(one.answer, MOST)  # what a HAR has of a body is its text
        answer = plain or one.answer
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
            **({"_coded": True} if plain is None else {}),
        }
        self._file.write(f"{self._comma}\n{json.dumps(entry)}")
        self._comma = ","

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.write("\n]}}\n")
        self._file.close()


# ---------------------------------------------------------------- fields


def _pairs(fields: Fields) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), line.decode("latin-1")) for name, lines in fields.items() for line in lines]


def _named(fields: Fields) -> list[dict[str, str]]:
    return [{"name": name, "value": line} for name, line in _pairs(fields)]


def _selecting_text(one: Stored) -> str:
    return json.dumps(
        {name.decode("latin-1"): value and value.decode("latin-1") for name, value in one.selecting.items()}
    )


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
