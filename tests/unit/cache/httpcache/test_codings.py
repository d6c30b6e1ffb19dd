"""Codings are undone, wherever a page leaves the way on which its site sent it; else it stays as it came."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from pathlib import Path

import brotli
import pytest

from mocra_scrapy.cache.httpcache.archive_reading import Unread, read_archive
from mocra_scrapy.cache.httpcache.archives import ArchivedPage, HarWriter, WarcWriter
from mocra_scrapy.cache.httpcache.codings import decoded
from tests.unit.cache.httpcache.exchanges import answer, ask, stored

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"<p>a line of the page</p>\n" * 200
CODED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "Deflate": zlib.compress(TEXT)[2:-4],  # as some servers send it
    "br": brotli.compress(TEXT),
    "zstd": zstd.compress(TEXT),
    "br, gzip": gzip.compress(brotli.compress(TEXT)),
    "identity": TEXT,
}
NAMES = ("a.har", "a.warc", "a.warc.gz")


def written(path: Path, coding: str, body: bytes) -> ArchivedPage | Unread:
    """What is read of a page that is stored as it came."""
    with HarWriter(path) if path.name.endswith("har") else WarcWriter(path) as writer:
        writer.write(ArchivedPage(ask(), stored(body=body, content_encoding=coding)))
    (found,) = read_archive(path)
    return found


@pytest.mark.parametrize("coding", CODED)
def test_a_coding_is_undone(coding: str) -> None:
    coded = answer(body=CODED[coding], content_encoding=coding, content_length="1", etag='"1"')
    plain = decoded(coded, len(TEXT))
    assert plain is not None
    assert plain.body == TEXT
    assert plain.fields.keys() == {b"date", b"etag"}


@pytest.mark.parametrize("coding", [coding for coding in CODED if coding != "identity"])
def test_what_is_damaged_or_too_large_is_left_alone(coding: str) -> None:
    body = CODED[coding]
    for broken in (body[:-1], body[: len(body) // 2], body + b"more", b"\x00none\xff" * 9):
        assert decoded(answer(body=broken, content_encoding=coding), 100_000) is None, broken[:20]
    assert decoded(answer(body=body, content_encoding=coding), len(TEXT) - 1) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("coding", CODED)
def test_a_file_gives_the_page_back_whatever_its_coding(coding: str, name: str, tmp_path: Path) -> None:
    """A wrong page is worse than none: what is imported says no coding that its body does not have."""
    page = written(tmp_path / name, coding, CODED[coding])
    assert isinstance(page, ArchivedPage)
    assert page.variant is not None
    assert page.variant.answer.body == TEXT
    assert b"content-encoding" not in page.variant.fields


@pytest.mark.parametrize("name", NAMES)
def test_a_coding_that_nobody_knows_stays(name: str, tmp_path: Path) -> None:
    page = written(tmp_path / name, "compress", b"\x1f\x9d whatever")
    assert isinstance(page, ArchivedPage)
    assert page.variant is not None
    assert (page.variant.answer.body, page.variant.fields[b"content-encoding"]) == (b"\x1f\x9d whatever", [b"compress"])


@pytest.mark.parametrize("name", NAMES)
def test_a_body_that_is_not_coded_as_it_says_is_told(name: str, tmp_path: Path) -> None:
    unread = written(tmp_path / name, "br", CODED["br"][:-3])
    assert isinstance(unread, Unread)
    assert "Content-Encoding says (br)" in unread.why


def test_who_wrote_a_file_may_have_undone_it(tmp_path: Path) -> None:
    page = written(tmp_path / "a.warc", "gzip", TEXT)
    assert isinstance(page, ArchivedPage)
    assert page.variant is not None
    assert page.variant.answer.body == TEXT


def test_what_others_read_in_a_har_is_the_text(tmp_path: Path) -> None:
    written(tmp_path / "a.har", "br", CODED["br"])
    content = json.loads((tmp_path / "a.har").read_text())["log"]["entries"][0]["response"]["content"]
    assert content["size"] == len(TEXT)
