"""``scrapy mocra startproject NAME [DIR]``."""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
from pathlib import Path

from scrapy.commands import ScrapyCommand
from scrapy.commands import startproject as scrapy_startproject

import mocra_scrapy


def template_folder() -> Path:
    """What ``TEMPLATES_DIR`` has to be: the folder that holds ``project``, in an installed package
    or beside the sources.
    """
    package = Path(mocra_scrapy.__file__).parent
    installed = package / "project_template"
    return installed if installed.is_dir() else package.parent / "project_template"


NEXT = """\
New project {name} in {where}. What comes next:

  cd {folder}
  scrapy mocra site     in another terminal: something to crawl, served on this machine
  scrapy crawl docs     crawls it, without any server; the items are in items/docs.jsonl

Several workers, once there is a Redis (`docker compose up -d` starts one). In each terminal:
  export MOCRA_BACKEND=redis://localhost:6379/0
  scrapy crawl docs
"""


class _FromOurTemplate(scrapy_startproject.Command):
    @property
    def templates_dir(self) -> str:
        return str(template_folder() / "project")


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Make a ready project: settings with every choice explained, a spider, an item, a pipeline,
    jobs for `scrapy cron`, a compose file.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="letters, digits and underscores")
        parser.add_argument("dir", nargs="?", help="where to put it (default: NAME)")
        parser.add_argument("--where", action="store_true", help="print the template's folder, for -s TEMPLATES_DIR=…")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        if options.where:
            print(template_folder())
            return 0
        if options.name is None:
            print("Error: a name is needed: scrapy mocra startproject NAME [DIR]")
            return 2
        scrapys = _FromOurTemplate()
        scrapys.settings = command.settings
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            scrapys.run([part for part in (options.name, options.dir) if part is not None], options)
        if scrapys.exitcode:
            print(said.getvalue(), end="")  # why not
        else:
            folder = options.dir or options.name
            print(NEXT.format(name=options.name, where=Path(folder).resolve(), folder=shlex.quote(folder)), end="")
        return scrapys.exitcode
