"""Who this process is: its name as a worker, and which of Scrapy's one-off commands it runs."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path

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
