"""Code blocks of the docs run, each in a process of its own; settings blocks are read by a real
crawler.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from scrapy.commands import ScrapyCommand
from scrapy.settings import Settings
from scrapy.settings import default_settings as scrapys_settings

from mocra_scrapy.backends.by_role import open_by_role
from mocra_scrapy.commands import cron, mocra
from mocra_scrapy.cron.config import Source, load_jobs
from mocra_scrapy.settings import default_settings
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


def is_setting(name: str) -> bool:
    return hasattr(default_settings if name.startswith("MOCRA_") else scrapys_settings, name)


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each ``scrapy …`` that a page has one type, without what is the shell's."""
    for kind, code in blocks(page):
        for line in re.findall(r"^\$ (.*)", code, re.MULTILINE) if kind == "console" else ():
            words = shlex.split(line, comments=True)
            if "scrapy" in words:
                rest = words[words.index("scrapy") + 1 :]
                yield rest[: next((n for n, word in enumerate(rest) if word in ("&", "|", ">", ">>")), len(rest))]


def parser_of(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The command's own parser, and what it is to parse."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    family = {"mocra": mocra, "cron": cron}.get(words[0])
    if family is not None:
        module, _, attribute = family.VERBS[words[1]][0].partition(":")
        verb = getattr(import_module(f"mocra_scrapy.commands.verbs.{module}"), attribute or "verb")()
        verb.add_options(parser)
        parser.add_argument("-s", "--set", action="append", default=[])
        return parser, words[2:]
    command: ScrapyCommand = import_module(f"scrapy.commands.{words[0]}").Command()
    command.settings = Settings()
    command.add_options(parser)
    parser.add_argument("arguments", nargs="*")
    return parser, words[1:]


def test_there_are_examples() -> None:
    assert sum(len(blocks(page)) for page in PAGES) >= 10


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_examples_run(page: Path, tmp_path: Path) -> None:
    for kind, code in blocks(page):
        assert kind in {"python", "console", "text", "yaml", "toml", "json"}, (
            f"{page.name}: a block of kind {kind!r} that nobody checks"
        )
        if kind == "toml":
            file = tmp_path / "cron.toml"
            file.write_text(code, encoding="utf-8")
            assert load_jobs(Source(file))
        if kind == "json":
            json.loads(code)
        if kind != "python":
            continue
        names: dict[str, object] = {}
        if re.fullmatch(r"(?:\s*(?:#.*|[A-Z_]+ = .*|[ }\])].*)?\n)+", code):
            exec(compile(code, str(page), "exec"), names)
            values = {name: value for name, value in names.items() if name.isupper()}
            assert [name for name in values if not is_setting(name)] == [], f"{page.name}:\n{code}"
            options = read_options(Settings(values), "docs")
            open_by_role(options.backends)
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


@pytest.mark.parametrize("page", [p for p in PAGES if list(commands(p))], ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_of_the_docs_are_understood(page: Path) -> None:
    """Their options and arguments are the command's, and ``-s`` sets what there is."""
    for words in commands(page):
        parser, rest = parser_of(words)
        try:
            options = parser.parse_args(rest)
        except (SystemExit, argparse.ArgumentError) as error:
            raise AssertionError(f"{page.name}: scrapy {shlex.join(words)}") from error
        given = [value.partition("=")[0] for value in options.set]
        assert [name for name in given if not is_setting(name)] == [], f"{page.name}: scrapy {shlex.join(words)}"


def test_an_option_that_there_is_not_is_found() -> None:
    for words in (["mocra", "dead", "list", "books", "--resaon", "x"], ["crawl", "books", "--fresh"]):
        parser, rest = parser_of(words)
        with pytest.raises((SystemExit, argparse.ArgumentError)):
            parser.parse_args(rest)
