"""Whose spiders these are: by setting, settings module, spider, script."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from scrapy.settings import Settings

from mocra_scrapy.settings.crawl import read_options
from mocra_scrapy.settings.identity import project_name, settings_project
from tests.services import warm

ENVVAR = "SCRAPY_SETTINGS_MODULE"


@pytest.fixture(autouse=True)
def _no_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVVAR, raising=False)


@pytest.mark.parametrize(
    ("module", "settings", "project"),
    [
        ("shop.settings", {}, "shop"),
        ("shop.settings", {"BOT_NAME": "bot"}, "shop"),
        ("shop.config.staging", {}, "shop"),
        ("settings", {}, "settings"),
        ("settings", {"BOT_NAME": "bot"}, "bot"),
        ("shop.settings", {"MOCRA_PROJECT": "store"}, "store"),
    ],
)
def test_the_settings_module_names_the_project(
    module: str, settings: dict[str, str], project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVVAR, module)
    assert settings_project(Settings(settings)) == project
    assert project_name(Settings(settings), "other.spiders") == project, "whatever module the spider is in"


@pytest.mark.parametrize(
    ("module", "settings", "project"),
    [
        ("shop.spiders.books", {}, "shop"),
        ("books", {"BOT_NAME": "bot"}, "books"),
        ("books", {"MOCRA_PROJECT": "store"}, "store"),
        (None, {"BOT_NAME": "bot"}, "bot"),
    ],
)
def test_without_one_the_spiders_module_does(module: str | None, settings: dict[str, str], project: str) -> None:
    assert settings_project(Settings(settings)) == settings.get("MOCRA_PROJECT")
    assert project_name(Settings(settings), module) == project


@pytest.mark.slow
def test_a_script_has_its_files_name(tmp_path: Path) -> None:
    text = "from scrapy.settings import Settings\nfrom mocra_scrapy.settings.identity import project_name\n"
    text += 'print(project_name(Settings(), "__main__"))\n'
    (tmp_path / "nightly.py").write_text(text)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__main__.py").write_text(text)
    for how, name in (
        (["nightly.py"], "nightly"),
        (["-m", "nightly"], "nightly"),
        (["-m", "pack"], "pack"),
        (["-c", text], "script"),
    ):
        done = warm.run([sys.executable, *how], tmp_path, 150)
        assert done.stdout == f"{name}\n", done.stderr


def test_a_crawl_is_named_by_project_and_spider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVVAR, "shop.settings")
    assert read_options(Settings(), "books").crawl == "shop:books"
    assert read_options(Settings({"MOCRA_CRAWL": "mine"}), "books").crawl == "mine"
