"""Sitemaps that nobody would write: each costs itself, at most, and opens nothing but the web."""

from __future__ import annotations

from typing import Any

import pytest

from mocra_scrapy.seeds import sitemaps
from mocra_scrapy.seeds.sitemaps import Reading
from tests.unit.seeds.test_sitemaps import Site, index, packed, pages_of, site_of, urls_in, urlset

#: What a file says of its encoding; all but the last are no text, or none in which that can be said.
ENCODINGS = "base64 rot13 hex zlib undefined idna punycode utf-16 unicode_escape raw_unicode_escape none iso-8859-1"


@pytest.mark.parametrize(
    "name",
    ENCODINGS.split(" "),
)
def test_whatever_a_file_says_of_its_encoding_it_is_text(name: str) -> None:
    body = urlset("http://s.test/caf\\u00e9", "http://s.test/b").replace(b"UTF-8", name.encode())
    assert urls_in(body) == (["http://s.test/caf\\u00e9", "http://s.test/b"], [])


def test_an_address_that_is_none_costs_its_entry() -> None:
    found, problems = urls_in(urlset("//[foo", "http://[bad/", "http://s.test/" + "x" * 9000, "http://s.test/good"))
    assert found == ["http://s.test/good"]
    assert problems == ["3 of its addresses are none"]


def test_compressed_parts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemaps, "MOST_MEMBERS", 100)
    found, problems = urls_in(packed(b"http://s.test/1\n") + packed(b"") * 100)
    assert found == ["http://s.test/1"]
    assert "more than 100 compressed parts" in problems[0]
    large = [packed(urlset(first=i * 1000, count=1000)) + packed(b"") for i in range(3)]
    assert len(urls_in(b"".join(large))[0]) == 3000, "wherever the pieces in which it is read end"


async def test_only_the_web_is_fetched(caplog: pytest.LogCaptureFixture) -> None:
    bad = ["file:///etc/passwd", "ftp://s.test/x.xml", "s3://bucket/x.xml", "data:text/xml,x", "javascript:x"]
    site = Site(
        {
            "http://s.test/index.xml": index(*bad, *bad, "http://s.test/good.xml"),
            "http://s.test/good.xml": urlset("http://s.test/page"),
            "http://t.test/robots.txt": b"Sitemap: file:///etc/passwd\nSitemap: //[x\nSitemap: http://s.test/good.xml",
            **dict.fromkeys(bad, urlset("http://s.test/secret")),
        }
    )
    source = site.source()
    await source.begin(None, 1)
    assert await pages_of(source) == ["http://s.test/page"]
    assert site.counts["mocra/seeds/sitemap_failed"] == len(bad)
    assert caplog.text.count("file:///etc/passwd is left out: it is no http(s) address") == 1
    of_site = site.source("http://t.test/")
    await of_site.begin(None, 1)
    assert await pages_of(of_site) == ["http://s.test/page"]
    assert site.counts["mocra/seeds/sitemap_failed"] == len(bad) + 2
    assert set(site.asked) & set(bad) == set()


async def test_whatever_breaks_a_file_the_others_are_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entries = Reading._entries

    def broken(reading: Reading) -> Any:
        yield from entries(reading)
        if reading.url.endswith("/1.xml"):
            raise RuntimeError("nobody thought of that")

    monkeypatch.setattr(Reading, "_entries", broken)
    site = site_of(3, 10)
    source = site.source()
    await source.begin(None, 1)
    assert await pages_of(source) == [f"http://s.test/{i}" for i in (*range(10), *range(20, 30))]
    assert site.counts["mocra/seeds/sitemap_failed"] == 1
    assert "The rest of sitemap http://s.test/1.xml is left out" in caplog.text
    assert "nobody thought of that" in caplog.text
