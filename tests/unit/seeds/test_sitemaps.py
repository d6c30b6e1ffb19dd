"""Sitemaps as sites have them: read whatever their name and type say, bounded, and gone on with in the
middle.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import datetime, timezone
from typing import Any

import pytest

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.seeds import sitemaps
from mocra_scrapy.seeds.sitemaps import Reading, moment, sitemaps_in_robots
from mocra_scrapy.seeds.sources.sitemap import DEPTH, SitemapSource

XMLNS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def urlset(*pages: str, first: int = 0, count: int = 0, lastmod: str = "") -> bytes:
    more = f"<lastmod>{lastmod}</lastmod>" if lastmod else ""
    urls = [*pages, *(f"http://s.test/{i}" for i in range(first, first + count))]
    body = "".join(f"<url><loc>{url}</loc>{more}<priority>0.5</priority></url>" for url in urls)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset {XMLNS}>{body}</urlset>'.encode()


def index(*files: str, lastmod: str = "2024-01-01") -> bytes:
    body = "".join(f"<sitemap><loc>{url}</loc><lastmod>{lastmod}</lastmod></sitemap>" for url in files)
    return f'<?xml version="1.0"?><sitemapindex {XMLNS}>{body}</sitemapindex>'.encode()


def packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)  # the same in every process: tests are named by it


def urls_in(body: bytes) -> tuple[list[str], list[str]]:
    reading = Reading("http://s.test/sitemap.xml", body)
    return [entry.url for entry in reading], reading.problems


PAGES = ["http://s.test/", "http://s.test/a?x=1&amp;y=2", "http://s.test/b"]
READ = ["http://s.test/", "http://s.test/a?x=1&y=2", "http://s.test/b"]


@pytest.mark.parametrize(
    ("body", "urls"),
    [
        (urlset(*PAGES), READ),
        (packed(urlset(*PAGES)), READ),  # whatever it is called, and whatever type it has
        (b"\xef\xbb\xbf\n  " + urlset(*PAGES), READ),
        (urlset(*PAGES).replace(XMLNS.encode(), b'xmlns="http://www.google.com/schemas/sitemap/0.84"'), READ),
        (urlset(*PAGES).replace(XMLNS.encode(), b""), READ),
        (urlset("<![CDATA[http://s.test/cdata?a=1&b=2]]>"), ["http://s.test/cdata?a=1&b=2"]),
        (urlset("\n     http://s.test/pretty\n  "), ["http://s.test/pretty"]),
        (urlset("/relative"), ["http://s.test/relative"]),
        (
            urlset("http://s.test/x").replace(b"<loc>", b"<image:loc xmlns:image='i'>http://i</image:loc><loc>"),
            ["http://s.test/x"],
        ),
        (
            b"http://s.test/1\r\nhttps://s.test/2\n\nnonsense\nhttp://s.test/3",
            ["http://s.test/1", "https://s.test/2", "http://s.test/3"],
        ),
        (packed(b"http://s.test/1\n"), ["http://s.test/1"]),
        (
            packed(b"http://s.test/1\n") + packed(b"") + packed(b"http://s.test/2\n"),
            ["http://s.test/1", "http://s.test/2"],
        ),
        (packed(b"http://s.test/1\n") + b"\x00" * 500, ["http://s.test/1"]),
        (index("http://s.test/1.xml", "http://s.test/2.xml.gz"), ["http://s.test/1.xml", "http://s.test/2.xml.gz"]),
        (b"", []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_files_of_every_kind_are_read(body: bytes, urls: list[str]) -> None:
    assert urls_in(body)[0] == urls


@pytest.mark.parametrize(
    ("body", "urls", "problem"),
    [
        (b"<html><body><a href='x'>no sitemap</a></body></html>", 0, "it is no sitemap"),
        (urlset(count=3) + b"<rubbish", 3, ""),
        (b"<urlset>" + b"<url>" * 200_000, 0, "an entry of more than 256 kB"),
        (b"<urlset>" + b"<url" * 200_000, 0, "it has no entries"),
        (b"<urlset>" + b"<!--" * 200_000, 0, "an entry of more than 256 kB"),
        (urlset(count=1000)[:30_000], 300, ""),
        (packed(urlset(count=1000))[:30], 0, "ends too early"),
        (packed(urlset(count=5000))[:8000], 500, "ends too early"),
        (packed(urlset(count=10))[:60] + b"x" * 60, 0, "its compressed data"),
        (b"\x00" * 200_000, 0, "neither XML nor a list"),
        (b"<urlset><url><loc>http://s.test/</loc><url></urlset>", 1, ""),
        (
            b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><urlset><url><loc>http://s.test/&e;</loc></url></urlset>',
            1,
            "",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_broken_gives_what_can_be_read(body: bytes, urls: int, problem: str) -> None:
    found, problems = urls_in(body)
    assert len(found) >= urls
    assert not any("root:" in url for url in found)
    assert problem in "; ".join(problems)


def test_entries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sitemaps.MOST_ENTRIES == 50_000
    monkeypatch.setattr(sitemaps, "MOST_ENTRIES", 100)
    found, problems = urls_in(urlset(count=101))
    assert len(found) == 100
    assert "more than 100 entries" in problems[0]
    assert urls_in(urlset(count=100))[1] == []


def test_a_bomb_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemaps, "MOST_BYTES", 2**20)
    bomb = packed(urlset(*PAGES) + b" " * 30 * 2**20)
    assert len(bomb) < 100_000
    found, problems = urls_in(bomb)
    assert found == READ
    assert "the rest is left out" in problems[0]
    laughs = (
        b'<!DOCTYPE l [<!ENTITY a "'
        + b"x" * 10_000
        + b'">'
        + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(8))
        + b"]><urlset><url><loc>&i;</loc></url></urlset>"
    )
    assert [len(url) < 50 for url in urls_in(laughs)[0]] == [True], "entities are not expanded"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2005", (2005, 1, 1, 0, 0, 0)),
        ("2005-02", (2005, 2, 1, 0, 0, 0)),
        (" 2005-02-03\n", (2005, 2, 3, 0, 0, 0)),
        ("2004-12-23T18:00:15+00:00", (2004, 12, 23, 18, 0, 15)),
        ("2004-12-23T18:00:15.123Z", (2004, 12, 23, 18, 0, 15)),
        ("2004-12-23T18:00-0130", (2004, 12, 23, 19, 30, 0)),
        ("2004-12-23 18:00:15", (2004, 12, 23, 18, 0, 15)),
        ("yesterday", None),
        ("2004-13-01", None),
        ("", None),
    ],
)
def test_moments(text: str, at: Any) -> None:
    assert moment(text) == (None if at is None else datetime(*at, tzinfo=timezone.utc))


def test_robots_names_sitemaps() -> None:
    body = b"User-agent: *\nDisallow: /x\nSitemap: http://s.test/a.xml\n  SITEMAP :http://s.test/b.xml # new\nsitemap: /c.xml\nSitemap: http://s.test/a.xml"
    assert sitemaps_in_robots(body) == ["http://s.test/a.xml", "http://s.test/b.xml", "/c.xml"]


class Site:
    """Files by address; counts what is asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked, self.counts = files, Counter[str](), Counter[str]()

    async def get(self, url: str, is_guess: bool = False) -> bytes | None:
        self.asked[url] += 1
        return self.files.get(url)

    def source(self, url: str = "http://s.test/index.xml", **options: Any) -> SitemapSource:
        def count(name: str) -> None:
            self.counts[name] += 1

        return SitemapSource(url, "sitemap:s", options, fetch=self.get, robots=self.get, count=count)


async def pages_of(source: SitemapSource, most: int = 10**9) -> list[str]:
    found: list[str] = []
    while not source.is_over and len(found) < most:
        found += [json.loads(one.data)["url"] for one in await source.read(50)]
    return found


def site_of(files: int, each: int) -> Site:
    names = [f"http://s.test/{i}.xml" for i in range(files)]
    bodies = [packed(urlset(first=i * each, count=each)) for i in range(files)]
    return Site({"http://s.test/index.xml": index(*names), **dict(zip(names, bodies, strict=True))})


async def test_an_index_is_read_and_gone_on_with_in_the_middle() -> None:
    site = site_of(20, 300)
    every = [f"http://s.test/{i}" for i in range(6000)]
    whole = site.source()
    await whole.begin(None, 1)
    assert await pages_of(whole) == every, "in order, each once"
    for killed in (1, 299, 301, 2500, 5999):
        first, second = site.source(), site.source()
        await first.begin(None, 1)
        got = await pages_of(first, killed)
        position = first.position
        assert len(position) < 500, "a position is small, whatever the site"
        site.asked.clear()
        await second.begin(position, 1)
        assert got + await pages_of(second) == every
        assert sum(site.asked.values()) <= 1 + 20 - len(got) // 300 + 1, "files that were done are not fetched again"
    third = site.source()
    await third.begin(position, 2)
    assert await pages_of(third) == every, "the next run reads all of it again"
    for damaged in (b"x", b"[]", b'{"run": 1, "way": 7}', b'{"run": 1}'):
        await third.begin(damaged, 1)
        assert len(await pages_of(third, 100)) >= 100


async def test_depth_and_circles_are_bounded() -> None:
    deep = {f"http://s.test/{i}.xml": index(f"http://s.test/{i + 1}.xml") for i in range(10)}
    deep["http://s.test/index.xml"] = index("http://s.test/0.xml", "http://s.test/index.xml", "http://s.test/pages.xml")
    deep["http://s.test/pages.xml"] = urlset("http://s.test/page")
    site = Site(deep)
    source = site.source()
    await source.begin(None, 1)
    assert await pages_of(source) == ["http://s.test/page"]
    assert max(site.asked.values()) == 1
    assert sum(site.asked.values()) == DEPTH + 1
    assert site.counts["mocra/seeds/sitemap_failed"] == 1


async def test_a_file_that_cant_be_had_costs_itself() -> None:
    site = site_of(3, 10)
    del site.files["http://s.test/1.xml"]
    source = site.source()
    await source.begin(None, 1)
    assert len(await pages_of(source)) == 20
    assert site.counts == {"mocra/seeds/sitemaps": 3, "mocra/seeds/sitemap_failed": 1}


async def test_since_include_and_callback() -> None:
    site = Site(
        {
            "http://s.test/index.xml": index("http://s.test/new.xml", lastmod="2024-05-05"),
            "http://s.test/new.xml": urlset(
                "http://s.test/book/1", "http://s.test/about", lastmod="2024-05-05T10:00:00Z"
            ),
        }
    )
    source = site.source(since="2024-05-01", include="/book/", callback="parse_book")
    await source.begin(None, 1)
    (found,) = [one for _ in range(3) for one in await source.read(10)]
    assert json.loads(found.data) == {
        "url": "http://s.test/book/1",
        "meta": {"mocra_lastmod": "2024-05-05T10:00:00+00:00"},
        "callback": "parse_book",
    }
    assert found.place == "http://s.test/new.xml 1"
    late = site.source(since="2024-06-01")
    await late.begin(None, 1)
    assert await pages_of(late) == []
    assert site.asked["http://s.test/new.xml"] == 1, "an old file is not fetched"


async def test_those_of_robots_txt_are_found_else_those_with_usual_names(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(
        {
            "http://s.test/robots.txt": b"Sitemap: http://s.test/a.xml\nSitemap: /b.xml",
            "http://s.test/a.xml": urlset("http://s.test/1"),
            "http://s.test/b.xml": urlset("http://s.test/2"),
            "http://t.test/sitemap.xml": index("http://t.test/3.xml"),
            "http://t.test/3.xml": urlset("http://t.test/3"),
            "http://t.test/sitemap_index.xml": b"<html>There is no such page.</html>",
            "http://t.test/sitemap.txt": b"http://t.test/3\nhttp://t.test/4",
        }
    )
    for url, pages in (
        ("http://s.test", ["http://s.test/1", "http://s.test/2"]),
        ("http://s.test/robots.txt", ["http://s.test/1", "http://s.test/2"]),
        ("http://t.test/", ["http://t.test/3", "http://t.test/3", "http://t.test/4"]),
    ):
        source = site.source(url)
        await source.begin(None, 1)
        assert await pages_of(source) == pages
    assert not caplog.messages, "what was only guessed need not be there"
    assert not site.counts["mocra/seeds/sitemap_failed"]
    del site.files["http://t.test/sitemap.xml"], site.files["http://t.test/sitemap.txt"]
    source = site.source("http://t.test/")
    await source.begin(None, 1)
    assert await pages_of(source) == []
    assert "No sitemap of http://t.test/ was found" in caplog.text
    assert site.counts["mocra/seeds/sitemap_failed"] == 1


async def test_what_is_named_and_not_there_is_told_and_so_is_what_is_broken(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(
        {
            "http://s.test/robots.txt": b"Sitemap: http://s.test/sitemap.xml",
            "http://t.test/sitemap.xml": packed(urlset(count=5000))[:8000],
        }
    )
    for url, failed in (("http://s.test/", 1), ("http://t.test/", 2)):
        source = site.source(url)
        await source.begin(None, 1)
        assert bool(await pages_of(source)) == (failed == 2)
        assert site.counts["mocra/seeds/sitemap_failed"] == failed
    assert [message[:40] for message in caplog.messages] == [
        "Sitemap http://s.test/sitemap.xml is lef",
        "Sitemap http://t.test/sitemap.xml was no",
    ]


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"since": "soon"}, "MOCRA_SEEDS['since']"),
        ({"include": "("}, "MOCRA_SEEDS['include']"),
        ({"callback": 7}, "MOCRA_SEEDS['callback']"),
        ({"url": "ftp://s.test"}, "MOCRA_SEEDS"),
        ({"url": "http://[bad/"}, "MOCRA_SEEDS"),
        ({"url": "http://s.test:99999/"}, "MOCRA_SEEDS"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], setting: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Site({}).source(**options)
    assert caught.value.subject == setting
