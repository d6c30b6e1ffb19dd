"""A list in a JSON file is read member by member, wherever the pieces that are read begin and end."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.cache.httpcache import json_entries
from mocra_scrapy.cache.httpcache.archive_reading import Unread, read_archive
from mocra_scrapy.cache.httpcache.archives import ArchivedPage, HarWriter
from mocra_scrapy.cache.httpcache.json_entries import EntriesOfJson
from tests.unit.cache.httpcache.exchanges import ask, stored

ENTRIES: list[Any] = [
    {"a": [1, {"b": None}]},
    't\u00e4xt \\ " \u20ac \U0001f600',
    -12.5e3,
    123456789,
    True,
    [],
    {},
    "x" * 300,
]
LOG = {"log": {"version": "1.2", "pages": [{"entries": [0]}], "entries": ENTRIES, "after": {}}, "more": 1}


def read(text: str) -> list[Any]:
    return list(EntriesOfJson(StringIO(text), "log", "entries"))


@pytest.mark.parametrize("ascii", [True, False])
@pytest.mark.parametrize("indent", [None, 3])
@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 100_000])
def test_members_are_what_json_says(
    piece: int, indent: int | None, ascii: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_entries, "PIECE", piece)
    assert read(json.dumps(LOG, indent=indent, ensure_ascii=ascii)) == ENTRIES
    assert read('{"log": {"entries": [ ]}}') == []


@pytest.mark.parametrize("piece", [1, 50, 100_000])
def test_wherever_it_ends_what_is_whole_comes_before(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_entries, "PIECE", piece)
    parts = [one for one in ENTRIES if not isinstance(one, float)]  # one that is cut at its point looks whole
    text = json.dumps({"log": {"entries": parts}})
    heads = [json.dumps({"log": {"entries": parts[: n + 1]}})[:-3] for n in range(len(parts))]
    # A number is whole when something comes behind it.
    ends = [len(head) + (type(one) is int) for head, one in zip(heads, parts, strict=True)]
    for end in range(len(text) - 2):
        entries = iter(EntriesOfJson(StringIO(text[:end]), "log", "entries"))
        whole = [at for at in ends if at <= end]
        assert [next(entries) for _ in whole] == parts[: len(whole)], end
        with pytest.raises(ValueError, match="the file ends within it"):
            next(entries)


def test_damage_is_found_where_it_is_and_not_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file that is no JSON is not read to its end."""
    monkeypatch.setattr(json_entries, "PIECE", 100)
    file = StringIO('{"log": {"entries": [{"a": 1}, {"a" 2}' + ' "b"' * 100_000)
    entries = iter(EntriesOfJson(file, "log", "entries"))
    assert next(entries) == {"a": 1}
    with pytest.raises(ValueError, match="Expecting ':'"):
        next(entries)
    assert file.tell() < 1000


def test_pages_before_the_end_of_a_har_that_is_cut_off_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    with HarWriter(path) as writer:
        for n in range(5):
            writer.write(ArchivedPage(ask(url=f"http://a.test/{n}"), stored(body=b"x" * 1000)))
    whole = path.read_bytes()
    for end in (len(whole) - 900, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:end])
        *pages, last = read_archive(path)
        assert [page.ask.url for page in pages if isinstance(page, ArchivedPage)] == [
            f"http://a.test/{n}" for n in range(len(pages))
        ]
        assert pages
        if isinstance(last, Unread):
            assert (last.number, last.cut) == (len(pages) + 1, True)
        else:
            assert len(pages) == 4, "only the brackets are missing"
