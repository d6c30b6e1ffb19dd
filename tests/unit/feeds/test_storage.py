"""The directory of a worker's own file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from scrapy import Spider
from scrapy.extensions import feedexport

from mocra_scrapy.feeds.component import Feeds
from mocra_scrapy.feeds.storage import FileFeedStorage
from tests.unit.races import make_what_is_looked_for

SPIDER = Spider("one")


def own(path: Path, **options: Any) -> FileFeedStorage:
    return FileFeedStorage(str(path), cast("Feeds", None), None, feed_options=options)


def test_another_worker_may_make_it_at_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out" / "items-1.json"
    make_what_is_looked_for(monkeypatch)
    with pytest.raises(FileExistsError):  # so ours has a reason to be
        feedexport.FileFeedStorage(str(tmp_path / "theirs" / "items-1.json")).open(SPIDER)
    with own(target).open(SPIDER) as file:
        file.write(b"[]")
    assert target.read_bytes() == b"[]"


@pytest.mark.parametrize(("overwrite", "expected"), [(True, b"new"), (False, b"oldnew")])
def test_such_a_file_is_as_scrapys(overwrite: bool, expected: bytes, tmp_path: Path) -> None:
    target = tmp_path / "items.json"
    target.write_bytes(b"old")
    storage = own(target, overwrite=overwrite)
    file = storage.open(SPIDER)
    file.write(b"new")
    storage.store(file)
    assert file.closed
    assert target.read_bytes() == expected


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises((FileExistsError, NotADirectoryError)):
        own(tmp_path / "out" / "items.json").open(SPIDER)
