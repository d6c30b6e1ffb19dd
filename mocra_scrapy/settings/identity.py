"""Which process this is, and whose: a worker with a name of its own, or a command that fetches a page
for a person; the project that it works for.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.reader import SettingsReader

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

#: Commands that fetch a page or two for a person. They must not join a crawl that runs elsewhere
#: under the same name.
ONE_OFF_COMMANDS = frozenset({"bench", "check", "fetch", "parse", "shell", "view"})


def one_off_command() -> str | None:
    """The name of the ``scrapy`` command that runs this process, if it is a one-off; such commands
    never touch the shared queue.

    Scrapy takes the command's name out of ``sys.argv``, so the process's original arguments are
    looked at.
    """
    if os.environ.get("SCRAPY_CHECK"):
        return "check"
    arguments = sys.orig_argv
    for i in range(1, len(arguments)):
        program = Path(arguments[i])
        module = arguments[i - 1] == "-m" and arguments[i] in ("scrapy", "scrapy.cmdline")
        if module or program.name.removesuffix(".exe") == "scrapy" or program.parts[-2:] == ("scrapy", "cmdline.py"):
            # Scrapy's own rule: the first word that is no option.
            command = next((word for word in arguments[i + 1 :] if not word.startswith("-")), None)
            return command if command in ONE_OFF_COMMANDS else None
    return None


def worker_name() -> str:
    """A name that no other run of any process has: host, pid, and 32 random bits."""
    host = "".join(c if c.isalnum() or c in ".-" else "-" for c in socket.gethostname())[:60]
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


def project_name(settings: BaseSettings, spider_module: str | None = None) -> str:
    """Whose spiders these are: :func:`settings_project`; else the top package of the spider's module, as
    with ``scrapy runspider`` and in scripts; without a spider ``BOT_NAME``.

    Raises:
        ConfigurationError: ``MOCRA_PROJECT`` is no name.
    """
    known = settings_project(settings)
    if known is not None:
        return known
    if spider_module == "__main__":
        return _script_name()
    return spider_module.partition(".")[0] if spider_module else str(settings.get("BOT_NAME"))


def settings_project(settings: BaseSettings) -> str | None:
    """``MOCRA_PROJECT``; else the top package of the settings module, which Scrapy finds by
    ``SCRAPY_PROJECT`` and ``scrapy.cfg``; ``None`` where there is no such module.

    A settings module that is in no package is called ``settings`` in many projects: then
    ``BOT_NAME`` says more, where a project sets it.

    Raises:
        ConfigurationError: ``MOCRA_PROJECT`` is no name.
    """
    read = SettingsReader(settings)
    if read.value("MOCRA_PROJECT") is not None:
        name = read.text("MOCRA_PROJECT", "a name")
        if ":" in name:
            fix = "Use a name without one: a colon stands between project and spider"
            raise ConfigurationError("MOCRA_PROJECT", f"{name!r} has a colon", fix)
        return name
    top, _, inside = os.environ.get("SCRAPY_SETTINGS_MODULE", "").partition(".")
    if inside or not top:
        return top or None
    return str(settings.get("BOT_NAME")) if settings.getpriority("BOT_NAME") else top


def _script_name() -> str:
    """What the program was started as: ``python -m NAME``, or the name of its file."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None and spec.name != "__main__":
        return str(spec.name).partition(".")[0]
    return Path(file).stem if file else "script"
