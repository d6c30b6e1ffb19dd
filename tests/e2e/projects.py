"""Scrapy projects as their users have them, written by a test: none of them knows of the suite but
for the one line.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from tests.services import warm
from tests.services.processes import unmeasured

ONE_LINE = 'ADDONS = {"mocra_scrapy.Addon": 300}\n'
SETTINGS = """\
BOT_NAME = "shop"
SPIDER_MODULES = ["shop.spiders"]
NEWSPIDER_MODULE = "shop.spiders"
TELNETCONSOLE_ENABLED = False
"""


def write_project(folder: Path, spider: str, settings: str = ONE_LINE, **files: str) -> Path:
    """A project ``shop`` with one module of spiders; more files of its package by name."""
    package = folder / "shop"
    (package / "spiders").mkdir(parents=True)
    (folder / "scrapy.cfg").write_text("[settings]\ndefault = shop.settings\n")
    for init in (package, package / "spiders"):
        (init / "__init__.py").write_text("")
    (package / "settings.py").write_text(SETTINGS + textwrap.dedent(settings))
    (package / "spiders" / "first.py").write_text(textwrap.dedent(spider))
    for name, text in files.items():
        (package / f"{name}.py").write_text(textwrap.dedent(text))
    return folder


def rewrite(file: Path, *replacements: tuple[str, str], more: str = "") -> None:
    """Change a module between two crawls: each text of *replacements*, then *more* at its end.

    Python takes byte code for current when size and second of its source are, so an "old" that
    becomes "new" within a second would be run as "old".
    """
    text = file.read_text()
    for old, new in replacements:
        assert old in text, f"{file.name} has no {old!r}"
        text = text.replace(old, new)
    file.write_text(text + more)
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def scrapy(
    project: Path, *arguments: str, seconds: float = 300, stdin: str = "", cold: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run one command of Scrapy in *project*, to its end. See :mod:`tests.services.warm` for *cold*."""
    return run([sys.executable, "-m", "scrapy", *arguments], project, seconds, stdin, cold)


def run(
    command: Sequence[str], folder: Path, seconds: float = 300, stdin: str = "", cold: bool = False
) -> subprocess.CompletedProcess[str]:
    short = {"mocra", "cron"} & set(command) and "once" not in command  # no crawl comes of it
    return warm.run(command, folder, seconds, None if short else unmeasured(), stdin, cold)
