"""A warm interpreter that becomes any ``python -m …``, ``python -c …`` or ``python script …`` within
a few hundredths of a second: it has imported Scrapy and the suite, and forks a child for each order.

Run as a script by :mod:`tests.services.warm`. It has no thread, no event loop and no reactor, so
nothing is lost in a fork. A child is like a process of its own: its working folder, environment,
files, arguments and path are what the order says, and it ends as interpreters end (:func:`finish`). What a project
brings (settings, spiders) is imported in the child only.

An order comes on the socket with number FD: its length in four bytes, four descriptors (a socket to
answer on, standard input, output and error), JSON. The answers, a line each: the child's pid; its
exit status. A child is reaped when its answer's reader has closed, as it is by ``Popen.wait``: its
pid is nobody else's until then. When FD ends, its owner has died: all children are killed.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import functools
import gc
import importlib
import importlib.metadata
import io
import json
import os
import pkgutil
import random
import selectors
import signal
import socket
import sys
import threading
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

#: Packages whose modules are imported; what can't be imported here (an optional client is missing)
#: isn't in a child either.
PACKAGES = (
    "scrapy",
    "mocra_scrapy",
    "msgpack",
    "redis.asyncio",
    "twisted.internet.asyncioreactor",
    "twisted.internet.epollreactor",
    "twisted.web.client",
    "coverage",
)
#: Programs: ``runpy`` warns of what is run and imported; and what belongs to no installation.
PROGRAMS = ("__main__", "launcher_main", "crawl_main", "project_template")


def warm() -> None:
    # Each crawl looks for commands in the metadata of all installed packages, and for the versions of some, which
    # takes a fifth of its start: they are what they were when this process looked.
    for name in ("entry_points", "version"):
        setattr(importlib.metadata, name, functools.cache(getattr(importlib.metadata, name)))
    for name in PACKAGES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from scrapy.exceptions import ScrapyDeprecationWarning
    from scrapy.utils.versions import get_versions

    importlib.metadata.entry_points(group="scrapy.commands")
    get_versions()
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("redis")

    with warnings.catch_warnings():
        # What warns when it is imported is left to the children that want it: each shall say so.
        warnings.simplefilter("error", ScrapyDeprecationWarning)
        for name in ("scrapy", "mocra_scrapy"):
            may_fail = (ImportError, ScrapyDeprecationWarning) if name == "scrapy" else ImportError
            for module in pkgutil.walk_packages(sys.modules[name].__path__, f"{name}.", onerror=lambda _: None):
                if not set(module.name.split(".")) & set(PROGRAMS):
                    with contextlib.suppress(may_fail):
                        importlib.import_module(module.name)
    scripts = sys.modules.get("mocra_scrapy.backends.redis.connection.scripts")
    for one in gc.get_objects() if scripts else ():
        if type(one) is scripts.Script:  # type: ignore[union-attr]
            _ = one.sha, one.function  # read once for all children
    assert "twisted.internet.reactor" not in sys.modules, "it would be shared by all children"
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()  # the children's collections leave these pages alone


class Zygote:
    """The parent: children by the socket on which they are answered for."""

    def __init__(self, orders: socket.socket) -> None:
        self.orders = orders
        self.children: dict[socket.socket, int] = {}
        self.ended: set[int] = set()
        self.deserted: set[int] = set()
        self.selector = selectors.DefaultSelector()
        self.woken, self._wake = os.pipe()
        for end in (self.woken, self._wake):
            os.set_blocking(end, False)

    def serve(self) -> dict[str, Any]:
        """Returns in each child, with its order."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # A Ctrl-C at the terminal is for the children; they have what this process inherited, since a
        # shell's background jobs, and what these start, ignore it.
        self.interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.selector.register(self.orders, selectors.EVENT_READ)
        self.selector.register(self.woken, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.orders:
                    order = self.take()
                    if order is not None:
                        return order
                elif key.fileobj == self.woken:
                    os.read(self.woken, 4096)
                elif isinstance(key.fileobj, socket.socket):
                    self.desert(key.fileobj)
            self.look()

    def take(self) -> dict[str, Any] | None:
        head, files, _, _ = socket.recv_fds(self.orders, 4, 4)
        if not head:
            self.end()
        length, text = int.from_bytes(head, "big"), b""
        while len(text) < length:
            part = self.orders.recv(length - len(text))
            if not part:
                self.end()
            text += part
        order: dict[str, Any] = json.loads(text)
        pid = os.fork()
        answers = socket.socket(fileno=files[0])
        if not pid:
            self.leave(answers, files[1:])
            return order
        for file in files[1:]:
            os.close(file)
        self.children[answers] = pid
        self.selector.register(answers, selectors.EVENT_READ)
        self.tell(answers, pid)
        return None

    def leave(self, answers: socket.socket, files: list[int]) -> None:
        """In the child: nothing of the parent's stays open, and signals do what they do at first."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, self.interrupt)
        for number, file in enumerate(files):
            os.dup2(file, number)
        self.selector.close()
        for one in (self.orders, answers, *self.children):
            one.close()
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))

    def look(self) -> None:
        """Who has ended? Who was told it and may be buried?"""
        for answers, pid in list(self.children.items()):
            if pid not in self.ended:
                end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if end is None:
                    continue
                self.ended.add(pid)
                self.tell(answers, end.si_status if end.si_code == os.CLD_EXITED else -end.si_status)
            if pid in self.deserted:
                os.waitpid(pid, 0)
                self.ended.discard(pid)
                self.deserted.discard(pid)
                del self.children[answers]
                answers.close()

    def desert(self, answers: socket.socket) -> None:
        self.selector.unregister(answers)
        self.deserted.add(self.children[answers])

    @staticmethod
    def tell(answers: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            answers.sendall(b"%d\n" % number)

    def end(self) -> None:
        for pid in self.children.values():
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def become(order: dict[str, Any], path: list[str]) -> None:
    """What an interpreter does from its start on."""
    command, environment = order["command"], order["environment"]
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    random.seed()
    if environment.get("PYTHONUNBUFFERED"):
        sys.stdin.reconfigure(write_through=True)  # type: ignore[union-attr]
        for name, number in (("stdout", 1), ("stderr", 2)):
            like = getattr(sys, name)
            raw: Any = io.FileIO(number, "w", closefd=False)
            raw.name = f"<{name}>"
            new = io.TextIOWrapper(raw, like.encoding, like.errors, write_through=True)
            setattr(sys, name, new)
            setattr(sys, f"__{name}__", new)
    faulthandler.register(signal.SIGUSR2)  # for tests that ask where it hangs
    sys.path[:] = [order["folder"], *absolute(environment.get("PYTHONPATH", "")), *path]
    importlib.invalidate_caches()
    sys.orig_argv[:] = command
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    if "COVERAGE_PROCESS_CONFIG" in environment or "COVERAGE_PROCESS_START" in environment:
        import coverage

        coverage.process_startup()
    _, kind, *rest = command
    sys.argv[:] = [kind, *rest[1:]] if kind.startswith("-") else [kind, *rest]
    if kind == "-m":
        import runpy

        runpy._run_module_as_main(rest[0])  # type: ignore[attr-defined]
    elif kind == "-c":
        sys.path[0] = ""
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.path[0] = str(Path(kind).parent)
        main.__dict__["__file__"] = kind
        exec(compile(Path(kind).read_bytes(), kind, "exec"), main.__dict__)


def exit_status(end: SystemExit) -> int:
    """As an interpreter takes it."""
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def finish(status: int, known: set[str]) -> None:
    """What an interpreter does at its end, but for taking down what it had in common with its parent: that is a
    tenth of a second of CPU, more than half of a short crawl, for each page of memory is copied first.

    What this child brought is taken down: *known* are the modules that it did not.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.modules["__main__"].__dict__.clear()
    for name in set(sys.modules) - known:
        del sys.modules[name]
    gc.collect()  # what is left open is told
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(status)  # which tells that, and what else there is to be said of it
    os._exit(status)


def absolute(path: str) -> list[str]:
    """Folders of a PYTHONPATH as ``site`` writes them; links stay links."""
    return [os.path.abspath(part) for part in path.split(os.pathsep) if part]  # noqa: PTH100


def run() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    sys.path.pop(0)  # this script's folder
    given = set(absolute(os.environ.get("PYTHONPATH", "")))
    warm()
    known = set(sys.modules)
    orders.sendall(b"warm\n")
    order = Zygote(orders).serve()
    status = 0
    try:
        become(order, [entry for entry in sys.path if entry not in given])
    except SystemExit as end:  # whatever else is raised, the interpreter tells it and ends in its own way
        status = exit_status(end)
    finish(status, known)


if __name__ == "__main__":
    run()
