"""The project template, rendered both documented ways, crawls; and ``scrapy mocra``, as it is
installed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import mocra_scrapy
from tests.e2e.projects import run
from tests.mocksite import MockSite
from tests.services import warm
from tests.services.processes import eventually, free_port, unmeasured

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
    return [json.loads(line) for line in (project / "items" / "docs.jsonl").read_text().splitlines()]


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
    assert (checked.returncode, "1 job, nothing wrong" in checked.stdout) == (0, True), checked.stderr
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


def at_another_port(project: Path, port: int) -> None:
    """The port that the spider begins at is one that this test has to itself."""
    spider = project / "books" / "spiders" / "docs.py"
    text = spider.read_text()
    assert text.count("8000") == 2
    spider.write_text(text.replace("8000", str(port)))


def test_the_spider_says_what_is_missing(tmp_path: Path) -> None:
    project = rendered(tmp_path, "mocra")
    at_another_port(project, port := free_port())
    done = scrapy(project, "crawl", "docs")
    told = [line for line in done.stderr.splitlines() if "] ERROR: " in line]
    assert len(told) == 1
    assert f"Nothing is served at http://127.0.0.1:{port}/. Run `scrapy mocra site` in another terminal" in told[0]
    assert "Traceback" not in done.stderr
    assert "'finish_reason': 'nothing_served'" in done.stderr
    done = scrapy(project, "crawl", "docs", "-a", "start=docs.example.org")
    assert "start=docs.example.org is no URL. Write it whole" in done.stderr


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[str]:
    """``scrapy mocra site``; its address."""
    said = folder / "said"
    with said.open("wb") as out:
        site = warm.start([SCRAPY, "mocra", "site", *arguments], cwd=folder, env=unmeasured(), stdout=out)
    try:
        eventually(lambda: "Ctrl-C ends it" in said.read_text())
        yield said.read_text().partition(" ")[0]
        site.terminate()
        assert site.wait(90) == 0
    finally:
        site.kill()
        site.wait()


@pytest.mark.parametrize("backend", ["memory", pytest.param("redis", marks=pytest.mark.redis)])
def test_the_quickstart_can_be_followed(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commands, as they stand there, but for a smaller site on another port."""
    page = (Path(__file__).parents[2] / "docs" / "quickstart.rst").read_text()
    commands = re.findall(r"^   \$ (.*)$", page, re.MULTILINE)
    assert commands == [
        'pip install "mocra-scrapy[redis]"',
        "scrapy mocra startproject books",
        "cd books",
        "scrapy mocra site",
        "scrapy crawl docs",
        "wc -l items/docs.jsonl",
        "head -n 3 items/docs.jsonl",
        "export MOCRA_BACKEND=redis://localhost:6379/0",
        "scrapy crawl docs &",
        "scrapy crawl docs &",
        "scrapy crawl docs",
    ]
    begun = scrapy(tmp_path, "mocra", "startproject", "books")
    assert begun.returncode == 0
    assert f"New project books in {tmp_path / 'books'}." in begun.stdout
    for command in ("cd books", *commands[3:5], commands[7]):
        assert f"  {command}" in begun.stdout
    assert "items/docs.jsonl" in begun.stdout
    project, port = tmp_path / "books", free_port()
    at_another_port(project, port)
    if backend == "redis":
        monkeypatch.setenv("MOCRA_BACKEND", request.getfixturevalue("redis_url"))
    with served(tmp_path, "--port", str(port), "--pages", "200") as url:
        assert url == f"http://127.0.0.1:{port}/"
        for run in range(2):  # a second run begins with an empty file
            done = scrapy(project, "crawl", "docs")
            assert done.returncode == 0, done.stderr
            assert "ERROR" not in done.stderr
            items = [json.loads(line) for line in (project / "items" / "docs.jsonl").read_text().splitlines()]
            assert len({item["url"] for item in items}) == len(items) >= 180
            robots = 0 if run and backend == "redis" else 1  # kept for a day
            assert f"'downloader/response_status_count/200': {len(items) + robots}" in done.stderr


def test_the_site_can_be_asked(tmp_path: Path) -> None:
    with served(tmp_path, "--port", "0", "--pages", "50") as url:

        def ask(path: str, method: str = "GET") -> tuple[int, str]:
            address = urlsplit(url)
            connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
            try:
                connection.request(method, path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            finally:
                connection.close()

        assert ask("/")[0] == 200
        assert ask("/abc.html")[1].startswith("<!doctype html>")
        assert ask("/abc/ABC.html?x=1")[0] == 200
        assert ask("/abc.html", "HEAD") == (200, "")
        assert ask("/robots.txt") == (200, "User-agent: *\nAllow: /\n")
        for path in ("/nothing.html", "/../../etc/passwd", "/abc/Nothing.html", "//", "/%2e%2e/x"):
            assert ask(path)[0] == 404, path
        assert ask("/", "POST")[0] == 405
        taken = scrapy(tmp_path, "mocra", "site", "--port", url.rpartition(":")[2].strip("/"))
        assert taken.returncode == 1
        assert "Choose another --port" in taken.stderr
    assert scrapy(tmp_path, "mocra", "site", "--pages", "0").returncode == 2


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
