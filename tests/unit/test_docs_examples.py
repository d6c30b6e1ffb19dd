"""Code blocks of the docs run, each in a process of its own; settings blocks are read by a real
crawler.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

import pytest
from scrapy.settings import Settings

from mocra_scrapy.backends import open_backend
from mocra_scrapy.commands import cron
from mocra_scrapy.cron.config import Source, load_jobs
from mocra_scrapy.settings.crawl import read_options
from tests.services import warm

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n(?:   :.*\n)*\n((?:   .*\n|\n)+)", re.MULTILINE)
PAGES = sorted(p for p in (ROOT / "docs").rglob("*.rst"))
MARKDOWN = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[tuple[str, str]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return [("python", code) for code in MARKDOWN.findall(text)]
    return [(kind, textwrap.dedent(code)) for kind, code in BLOCK.findall(text)]


def test_there_are_examples() -> None:
    assert sum(len(blocks(page)) for page in PAGES) >= 10


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_examples_run(page: Path, tmp_path: Path) -> None:
    for kind, code in blocks(page):
        assert kind in {"python", "console", "text", "yaml", "toml"}, (
            f"{page.name}: a block of kind {kind!r} that nobody checks"
        )
        if kind == "toml":
            file = tmp_path / "cron.toml"
            file.write_text(code, encoding="utf-8")
            assert load_jobs(Source(file))
        if kind != "python":
            continue
        names: dict[str, object] = {}
        if re.fullmatch(r"(?:\s*(?:#.*|[A-Z_]+ = .*|[ }\])].*)?\n)+", code):
            exec(compile(code, str(page), "exec"), names)
            values = {name: value for name, value in names.items() if name.isupper()}
            options = read_options(Settings(values), "docs")
            open_backend(options.backend, prefix=options.key_prefix, options=options.redis_options)
        else:
            strict = f"import warnings\nwarnings.simplefilter('error')\n{code}"
            done = warm.run([sys.executable, "-c", strict], tmp_path, 150)
            assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stderr}"


def test_commands_of_the_docs_exist(tmp_path: Path) -> None:
    """``scrapy …`` lines name commands that there are."""
    done = warm.run([sys.executable, "-m", "scrapy", "mocra", "help"], tmp_path, 150)
    known = {"crawl", "startproject", "shell", "mocra", "runspider", "fetch", "genspider", "cron"}
    for page in PAGES:
        for kind, code in blocks(page):
            if kind == "console":
                for command in re.findall(r"^\$ .*?\bscrapy (\w+)", code, re.MULTILINE):
                    assert command in known, f"{page.name}: scrapy {command}"
                for verb in re.findall(r"scrapy cron (\w+)", code):
                    assert verb in cron.VERBS, f"{page.name}: scrapy cron {verb}"
                for verb in re.findall(r"scrapy mocra (\w+)", code):
                    assert verb in done.stdout + done.stderr
