"""Pages as WARC and HAR: what is written comes back, and files of others are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mocra_scrapy.cache.httpcache.archives import ArchivedPage, HarWriter, WarcWriter, read_archive
from mocra_scrapy.exceptions import ConfigurationError
from tests.unit.cache.httpcache.exchanges import NOW, ask, stored

BODY = "<p>ä page</p>".encode("latin-1") + bytes(range(256))


def pages() -> list[ArchivedPage]:
    one = ask(foo="1, 2", accept_language="de")
    return [
        ArchivedPage(ask(), stored(body=BODY, cache_control="max-age=60", set_cookie=["a=1; Path=/", "b=2"])),
        ArchivedPage(ask(url="http://a.test/v?q=1"), stored(body=b"v", vary="Foo, Accept-Language", asked=one)),
        ArchivedPage(ask("POST"), stored(302, body=b"", location="/x"), body=b"sent=\xff"),
    ]


@pytest.mark.parametrize("name", ["a.har", "a.warc", "A.WARC.GZ"])
def test_what_is_written_comes_back(name: str, tmp_path: Path) -> None:
    path, written = tmp_path / name, pages()
    with HarWriter(path) if name.endswith("har") else WarcWriter(path) as writer:
        for page in written:
            writer.write(page)
    read = list(read_archive(path))
    assert len(read) == len(written)
    for got, page in zip(read, written, strict=True):
        assert got.variant is not None
        assert page.variant is not None
        assert (got.ask.method, got.ask.url, got.body) == (page.ask.method, page.ask.url, page.body)
        assert got.variant.answer.fields == page.variant.fields
        assert (got.variant.answer.body, got.variant.status) == (page.variant.answer.body, page.variant.status)
        assert got.variant.selecting == page.variant.selecting
        assert got.variant.received == pytest.approx(NOW, abs=0.002)
    with pytest.raises(FileExistsError):
        HarWriter(path) if name.endswith("har") else WarcWriter(path)


def test_a_browsers_har(tmp_path: Path) -> None:
    entry = {
        "startedDateTime": "2030-01-01T00:00:00.000Z",
        "time": 250.0,
        "request": {"method": "GET", "url": "http://a.test/", "headers": [{"name": ":path", "value": "/"}]},
        "response": {
            "status": 200,
            "headers": [
                {"name": "content-encoding", "value": "br"},
                {"name": "Vary", "value": "Accept-Encoding"},
                {"name": "ETag", "value": '"1"'},
            ],
            "content": {"text": "täxt", "mimeType": "text/plain"},
        },
    }
    broken = {"request": {"method": "GET", "url": "http://a.test/x"}, "response": {"status": 0}}
    path = tmp_path / "browser.har"
    path.write_text(json.dumps({"log": {"entries": [broken, entry]}}), encoding="utf-8-sig")
    (page,) = read_archive(path)
    assert page.variant is not None
    assert page.variant.answer.body == "täxt".encode()
    assert page.variant.fields == {b"etag": [b'"1"']}, "its coding is undone, so it does not vary by that"
    assert (page.variant.received, page.variant.took) == (NOW + 0.25, 0.25)


def test_what_varies_by_what_nobody_knows_is_no_page(tmp_path: Path) -> None:
    import warcio.statusandheaders
    import warcio.warcwriter

    path = tmp_path / "foreign.warc"
    with path.open("wb") as file:
        writer = warcio.warcwriter.WARCWriter(file, gzip=False)
        for vary in ("cookie", "*", "accept-encoding"):
            headers = warcio.statusandheaders.StatusAndHeaders("200 OK", [("Vary", vary)], protocol="HTTP/1.1")
            record = writer.create_warc_record("http://a.test/", "response", http_headers=headers)
            writer.write_record(record)
            record.raw_stream.close()
    assert [page.variant is not None for page in read_archive(path)] == [False, False, True]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.zip", b"", "neither HAR nor WARC"),
        ("a.har", b"no json", "is no HAR"),
        ("a.har", b'{"log": {}}', "is no HAR"),
        ("a.har", b"[]", "is no HAR"),
        ("a.warc", b"no archive at all\r\n\r\n", "is no WARC"),
    ],
)
def test_what_is_no_archive_is_refused(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=says):
        list(read_archive(path))


def test_without_warcio_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "warcio.archiveiterator", None)
    with pytest.raises(ConfigurationError, match=r"mocra-scrapy\[warc\]"):
        WarcWriter(tmp_path / "a.warc")
    assert not (tmp_path / "a.warc").exists()
