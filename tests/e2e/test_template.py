"""The project template, rendered both documented ways, crawls; and ``scrapy mocra``, as it is
installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mocra_scrapy
from tests.e2e.projects import run
from tests.mocksite import MockSite

pytestmark = pytest.mark.e2e

SCRAPY = shutil.which("scrapy", path=str(Path(sys.executable).parent)) or "scrapy"


def scrapy(folder: Path, *arguments: str, cold: bool = False) -> subprocess.CompletedProcess[str]:
    """The installed command, with the entry points of the installed package."""
    return run([SCRAPY, *arguments], folder, cold=cold)


def rendered(folder: Path, how: str) -> Path:
    if how == "mocra":
        done = scrapy(folder, "mocra", "startproject", "books", "there")
    else:
        where = scrapy(folder, "mocra", "startproject", "--where").stdout.strip()
        done = scrapy(folder, "startproject", "-s", f"TEMPLATES_DIR={where}", "books", "there")
    assert done.returncode == 0, done.stderr
    return folder / "there"


def crawled(project: Path, site: MockSite, *more: str) -> list[dict[str, object]]:
    done = scrapy(project, "crawl", "docs", "-a", f"start={site.url}/page/0", *more)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'finish_reason': 'finished'" in done.stderr
    files = list((project / "items").glob("docs-*.jsonl"))
    items = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    for file in files:
        file.unlink()
    return items


@pytest.mark.parametrize("how", ["mocra", "scrapy"])
def test_a_rendered_project_crawls(how: str, site: MockSite, tmp_path: Path) -> None:
    project = rendered(tmp_path, how)
    names = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    assert names == {
        ".gitignore",
        "scrapy.cfg",
        "compose.yaml",
        "cron.toml",
        "crontab",
        "books/__init__.py",
        "books/items.py",
        "books/middlewares.py",
        "books/pipelines.py",
        "books/settings.py",
        "books/spiders/__init__.py",
        "books/spiders/docs.py",
    }
    for name in names:
        text = (project / name).read_text()
        assert "${" not in text, name
        assert "project_name" not in text, name
    checked = scrapy(project, "cron", "check")
    assert (checked.returncode, "1 jobs, nothing wrong" in checked.stdout) == (0, True), checked.stderr
    items = crawled(project, site)
    assert {item["url"] for item in items} == {f"{site.url}/page/{n}" for n in range(site.pages)}
    assert set(items[0]) == {"url", "title", "words", "links"}


@pytest.mark.redis
def test_a_rendered_project_on_redis_by_its_environment(
    site: MockSite, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = rendered(tmp_path, "mocra")
    monkeypatch.setenv("MOCRA_BACKEND", redis_url)
    assert len(crawled(project, site)) == site.pages
    done = scrapy(project, "mocra", "version")
    assert done.returncode == 0
    assert f"Backend {redis_url}: server Redis" in done.stdout


def test_every_setting_that_the_template_explains_exists(tmp_path: Path) -> None:
    from scrapy.settings import default_settings as scrapys

    from mocra_scrapy.settings import default_settings as ours

    project = rendered(tmp_path, "mocra")
    text = (project / "books" / "settings.py").read_text()
    names = set(re.findall(r"^#? ?([A-Z][A-Z_]+) = ", text, re.MULTILINE))
    assert len(names) > 20
    assert [n for n in names if not hasattr(ours, n) and not hasattr(scrapys, n)] == []
    # What is commented out as a default is the default, where it is one value.
    for name, value in re.findall(r"^# (MOCRA_\w+) = ([\w.\"]+)$", text, re.MULTILINE):
        if name not in ("MOCRA_CRAWL", "MOCRA_SEEN_TTL"):
            assert eval(value) == getattr(ours, name), name


def test_its_middlewares_work(site: MockSite, tmp_path: Path) -> None:
    project = rendered(tmp_path, "mocra")
    settings = project / "books" / "settings.py"
    text = settings.read_text()
    for name in ("SPIDER_MIDDLEWARES", "DOWNLOADER_MIDDLEWARES"):
        assert f"# {name} = " in text
        text = text.replace(f"# {name} = ", f"{name} = ")
    settings.write_text(text)
    assert len(crawled(project, site)) == site.pages


def test_its_jobs_file_is_right(tmp_path: Path) -> None:
    project = rendered(tmp_path, "mocra")
    checked = scrapy(project, "cron", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    coming = scrapy(project, "cron", "next", "-n", "2")
    assert coming.returncode == 0
    assert "docs: 30 2 * * * in UTC" in coming.stdout


def test_the_spider_says_what_it_needs(tmp_path: Path) -> None:
    done = scrapy(rendered(tmp_path, "mocra"), "crawl", "docs")
    assert done.returncode != 0
    assert "say where to begin: scrapy crawl docs -a start=" in done.stderr


# ---------------------------------------------------------------------- scrapy mocra


def test_startproject_refuses_what_scrapy_refuses(tmp_path: Path) -> None:
    assert scrapy(tmp_path, "mocra", "startproject", "9books").returncode == 1
    assert scrapy(tmp_path, "mocra", "startproject").returncode == 2
    rendered(tmp_path, "mocra")
    again = scrapy(tmp_path, "mocra", "startproject", "books", "there")
    assert again.returncode == 1
    assert "already exists" in again.stdout


def test_version(tmp_path: Path) -> None:
    done = scrapy(tmp_path, "mocra", "version", cold=True)
    assert done.returncode == 0
    assert done.stdout.startswith(f"mocra_scrapy {mocra_scrapy.__version__}\n")
    assert "Backend memory://" in done.stdout
    bad = scrapy(tmp_path, "mocra", "version", "--timeout", "0.2", "-s", "MOCRA_BACKEND=redis://127.0.0.1:1/0")
    assert bad.returncode == 1
    assert "Nobody answered" in bad.stdout


@pytest.mark.parametrize("arguments", [["mocra"], ["mocra", "frobnicate"], ["mocra", "version", "-s", "x"]])
def test_wrong_calls_are_told(arguments: list[str], tmp_path: Path) -> None:
    done = scrapy(tmp_path, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout


def test_help(tmp_path: Path) -> None:
    assert "startproject" in scrapy(tmp_path, "mocra", "--help").stdout
    assert "--where" in scrapy(tmp_path, "mocra", "help", "startproject").stdout
    assert "mocra" in scrapy(tmp_path).stdout, "listed among Scrapy's commands"
