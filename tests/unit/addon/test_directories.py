"""Workers that make one directory at the same moment."""

from __future__ import annotations

from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
from scrapy import Spider
from scrapy.exceptions import NotConfigured
from scrapy.extensions.spiderstate import SpiderState
from scrapy.pipelines.files import FilesPipeline, FSFilesStore
from scrapy.pipelines.images import ImagesPipeline
from scrapy.settings import Settings
from scrapy.utils.test import get_crawler

from mocra_scrapy import Addon
from mocra_scrapy.pipelines.files_store import SharedFilesStore
from tests.unit.races import make_what_is_looked_for

FILES = "scrapy.pipelines.files.FilesPipeline"


class OwnStore(FSFilesStore):
    pass


class Derived(FilesPipeline):
    pass


class OwnSchemes(FilesPipeline):
    STORE_SCHEMES: ClassVar[dict[str, Any]] = {"": FSFilesStore, "mine": OwnStore}


@pytest.fixture(autouse=True)
def schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of Scrapy, which a test before may have changed, and which this one gives back."""
    theirs = {
        name: FSFilesStore if store is SharedFilesStore else store
        for name, store in FilesPipeline.STORE_SCHEMES.items()
    }
    monkeypatch.setattr(FilesPipeline, "STORE_SCHEMES", theirs)
    monkeypatch.setattr(OwnSchemes, "STORE_SCHEMES", {"": FSFilesStore, "mine": OwnStore})


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker makes what is looked for between the look and what follows; pytest its own folder before."""
    make_what_is_looked_for(monkeypatch)


def with_the_addon(pipelines: dict[Any, Any], **settings: Any) -> Settings:
    given = Settings({"MOCRA_BACKEND": "memory://", "ITEM_PIPELINES": pipelines, **settings})
    Addon(type("C", (), {"spidercls": Spider})()).update_settings(given)  # type: ignore[arg-type]
    return given


@pytest.mark.parametrize("uri", ["{}", "file://{}"])
@pytest.mark.usefixtures("late")
def test_a_files_store_that_another_worker_has_just_made(tmp_path: Path, uri: str) -> None:
    with_the_addon({FILES: 1})
    crawler = get_crawler(settings_dict={"FILES_STORE": uri.format(tmp_path / "in" / "files")})
    store = FilesPipeline.from_crawler(crawler).store
    for name in ("full/one.pdf", "full/two.pdf", "other/three.pdf"):
        store.persist_file(name, BytesIO(name.encode()), None)  # type: ignore[arg-type]
    written = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.pdf")}
    assert written == {f"in/files/{name}": name for name in ("full/one.pdf", "full/two.pdf", "other/three.pdf")}


@pytest.mark.usefixtures("late")
def test_scrapys_own_store_fails_then(tmp_path: Path) -> None:
    """Else ours would have no reason to be, and the test above would show nothing."""
    with pytest.raises(FileExistsError):
        FSFilesStore(tmp_path / "files")


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "full").touch()
    store = SharedFilesStore(tmp_path)
    with pytest.raises((FileExistsError, NotADirectoryError)):
        store.persist_file("full/one.pdf", BytesIO(b"1"), None)  # type: ignore[arg-type]
    with pytest.raises((FileExistsError, NotADirectoryError)):
        SharedFilesStore(tmp_path / "full" / "files")


@pytest.mark.parametrize("pipeline", [FILES, "scrapy.pipelines.images.ImagesPipeline", Derived, ImagesPipeline])
def test_the_store_of_each_media_pipeline_is_ours(pipeline: Any) -> None:
    with_the_addon({pipeline: 1})
    assert FilesPipeline.STORE_SCHEMES[""] is FilesPipeline.STORE_SCHEMES["file"] is SharedFilesStore
    assert SharedFilesStore not in [FilesPipeline.STORE_SCHEMES[scheme] for scheme in ("s3", "gs", "ftp")]


def test_a_store_of_the_projects_own_stays() -> None:
    with_the_addon({OwnSchemes: 1})
    schemes = OwnSchemes.STORE_SCHEMES
    assert schemes == {"": SharedFilesStore, "mine": OwnStore}


@pytest.mark.parametrize(
    ("pipelines", "settings"),
    [({FILES: 1}, {"MOCRA_ENABLED": False}), ({FILES: None}, {}), ({}, {})],
    ids=["disabled", "pipeline switched off", "no pipeline"],
)
def test_without_need_scrapys_stays(pipelines: dict[Any, Any], settings: dict[str, Any]) -> None:
    given = Settings({"MOCRA_BACKEND": "memory://", "ITEM_PIPELINES": pipelines, **settings})
    addon = Addon(type("C", (), {"spidercls": Spider})())  # type: ignore[arg-type]
    with pytest.raises(NotConfigured) if settings else nullcontext():
        addon.update_settings(given)
    assert FilesPipeline.STORE_SCHEMES[""] is FSFilesStore


def test_a_pipeline_that_cannot_be_loaded_is_left_to_scrapy() -> None:
    with_the_addon({"nowhere.Pipeline": 1, FILES: 2})
    assert FilesPipeline.STORE_SCHEMES[""] is SharedFilesStore


@pytest.mark.usefixtures("late")
def test_a_jobdir_that_another_worker_has_just_made(tmp_path: Path) -> None:
    jobdir = tmp_path / "jobs" / "one"
    with_the_addon({}, MOCRA_BACKEND="redis://127.0.0.1:1/0", JOBDIR=str(jobdir))
    assert jobdir.is_dir()
    assert SpiderState.from_crawler(get_crawler(settings_dict={"JOBDIR": str(jobdir)})).jobdir == str(jobdir)


def test_a_jobdir_that_cannot_be_made_is_left_to_scrapy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with_the_addon({}, MOCRA_BACKEND="redis://127.0.0.1:1/0", JOBDIR=str(tmp_path / "file" / "jobs"))
