"""``docs/differences.rst`` says what the add-on sets in an ordinary project: that, and no more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from scrapy import Spider
from scrapy.settings import BaseSettings, Settings
from scrapy.utils.misc import load_object

from mocra_scrapy import Addon
from tests.scrapy_suite.switched_on import listed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "differences.rst").read_text(encoding="utf-8")
ROW = re.compile(r"^   \* - ``(\w+)``\n     - ``([\w.]+)``(?: \((\d+)\b.*\))?$", re.MULTILINE)
OWN: dict[Any, Any] = {"tests.unit.test_differences.Mine": 543}


class Mine:
    pass


def path(component: Any) -> str:
    cls = load_object(component)
    return f"{cls.__module__}.{cls.__qualname__}"


def flat(settings: BaseSettings) -> set[tuple[str, str, str]]:
    """Each setting, and each component of a setting that has several: ``(name, value, order)``."""
    found = set()
    for name, attribute in settings.attributes.items():
        value = attribute.value  # not by get(), which warns of deprecated ones
        if not isinstance(value, BaseSettings):
            found.add((name, str(value), ""))
        elif name.removesuffix("_BASE") in {"DOWNLOADER_MIDDLEWARES", "SPIDER_MIDDLEWARES", "EXTENSIONS"}:
            found |= {(name, path(key), str(order)) for key, order in value.items()}
        else:
            found.add((name, str(dict(value)), ""))
    return found


def test_the_page_says_what_is_set() -> None:
    project = {"BOT_NAME": "ordinary", "DOWNLOADER_MIDDLEWARES": OWN, "ITEM_PIPELINES": OWN, "HTTPCACHE_ENABLED": True}
    before, after = Settings(project), Settings(project)
    Addon(type("C", (), {"spidercls": Spider})()).update_settings(after)  # type: ignore[arg-type]
    added = {row for row in flat(after) - flat(before) if not row[0].startswith("MOCRA_")}
    assert added == {(name, value, order) for name, value, order in ROW.findall(PAGE)}
    gone = {(name, value) for name, value, _ in flat(before) - flat(after)}
    assert gone == {
        ("SCHEDULER", "scrapy.core.scheduler.Scheduler"),
        ("DUPEFILTER_CLASS", "scrapy.dupefilters.RFPDupeFilter"),
        ("DOWNLOADER_MIDDLEWARES_BASE", "scrapy.downloadermiddlewares.retry.RetryMiddleware"),
        ("DOWNLOADER_MIDDLEWARES_BASE", "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware"),
    }


@pytest.mark.parametrize("which", ["newest", "oldest"])
def test_each_difference_has_a_reason_and_a_file_that_is_run(which: str) -> None:
    folder = ROOT / "tests" / "scrapy_suite"
    run = {line.split()[0] for line in (folder / "files.txt").read_text().splitlines() if line.startswith("tests/")}
    found = listed.differences(which)
    assert found
    for pattern, reason in found:
        assert len(reason) > 20, pattern
        file = Path(pattern.partition("::")[0])
        assert any(file.match(one) for one in run), pattern


def test_what_is_left_out_of_make_test_has_a_reason() -> None:
    lines = (ROOT / "tests" / "scrapy_suite" / "files.txt").read_text(encoding="utf-8").splitlines()
    quick = {line.split()[0] for line in lines if line.endswith(" quick")}
    assert quick
    assert listed.left_out()
    for pattern, reason in listed.left_out():
        assert pattern.partition("::")[0] in quick, f"{pattern} is not run there: delete the line"
        assert len(reason) > 10, pattern
