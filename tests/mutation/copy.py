"""A copy of the tree, to be broken, and its tests. Each run is a fork of a process that has imported
everything but the tree: it starts at once.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.mutants import Mutant, text_of
from tests.mutation.reach import Reach, Select

ROOT = Path(__file__).parents[2]
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what was imported before the fork
#: Longer than any test takes that is run here, also on a busy machine: s.
ONE_TEST = 30
#: Exit codes of pytest by which a wrong line is noticed. The others say that the tests could not run.
FAILED = {
    int(pytest.ExitCode.TESTS_FAILED),
    int(pytest.ExitCode.INTERRUPTED),  # a file of tests can't be imported
    int(pytest.ExitCode.USAGE_ERROR),  # a conftest can't be imported
}


class CannotRun(Exception):
    """The tests could not be run, whatever they would have said."""


class Copy:
    """Attributes:
    options: which tests count, for pytest.
    seconds: of each test, as it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options = ["-m", "not redis and not e2e and not alone"]
        for name in ("mocra_scrapy", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGES.md", "Makefile"):
            shutil.copy(ROOT / name, folder)
        (folder / "docs").symlink_to(ROOT / "docs")
        self.seconds: dict[str, float] = {}
        self._lines: dict[str, list[str]] = {}
        _import_what_tests_need()

    def arguments(self, *more: str) -> list[str]:
        """For ``pytest.main``."""
        return [*OPTIONS, *self.options, *more]

    def measure(self, tests: list[str]) -> bool:
        """Run all of *tests* as they are, and note which lines each reaches. ``False``: some fail."""
        found = self.folder / "reach.json"

        def run() -> int:
            reach = Reach(self.folder / "mocra_scrapy")
            code = int(pytest.main(self.arguments(*tests), plugins=[reach]))
            reach.write(found)
            return code

        code = self.fork(run, 1800, talks=True)
        if code == 0:
            told = json.loads(found.read_text("utf-8"))
            self.seconds, self._lines = told["seconds"], told["lines"]
            self.must_run()
        return code == 0

    def must_run(self) -> None:
        """Otherwise each wrong line would look as if it were noticed."""
        if not self.passes([min(self.seconds, key=lambda test: self.seconds[test])]):
            raise CannotRun("a test that passed beside others fails alone")

    def near(self, mutant: Mutant) -> list[str]:
        """The tests that run its line, the fastest first; all for a line that an import runs."""
        path = str(mutant.path.relative_to(ROOT / "mocra_scrapy"))
        first, last = statement(text_of(mutant.path), mutant.line())
        tests = {test for number in range(first, last + 1) for test in self._lines.get(f"{path}:{number}", ())}
        if not tests and first == 0:
            tests = {test for line, reached in self._lines.items() if line.startswith(f"{path}:") for test in reached}
        return sorted(tests, key=lambda test: self.seconds[test])

    def notices(self, mutant: Mutant) -> bool:
        """Whether a test fails with it."""
        tests, source = self.near(mutant), mutant.source()
        if not tests or source is None:
            return source is None
        with self.broken(mutant.path.relative_to(ROOT), source):
            return not self.passes(tests)

    @contextmanager
    def broken(self, path: Path, source: str) -> Iterator[None]:
        """The file at *path* of the copy is *source* meanwhile."""
        target = self.folder / path
        kept, times = target.read_bytes(), target.stat()
        try:
            target.write_text(source, encoding="utf-8")
            yield
        finally:
            target.write_bytes(kept)
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))  # the byte code of it stays true

    def passes(self, tests: list[str]) -> bool:
        """Whether *tests* pass; what hangs doesn't."""
        files = sorted({test.partition("::")[0] for test in tests})

        def run() -> int:
            sys.dont_write_bytecode = True
            return int(pytest.main(self.arguments(f"--timeout={ONE_TEST}", *files), plugins=[Select(tests)]))

        code = self.fork(run, 2 * ONE_TEST + 5 * sum(self.seconds[test] for test in tests))
        if code not in (0, None) and code not in FAILED:
            raise CannotRun(f"pytest answered {code}")
        return code == 0

    def fork(self, run: Any, seconds: float, *, talks: bool = False) -> int | None:
        """Its exit code; ``None``: it was ended after *seconds*."""
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            self._be_the_copy(talks)
            os._exit(run())
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None
            time.sleep(0.02)
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return None

    def _be_the_copy(self, talks: bool) -> None:
        os.setsid()
        os.chdir(self.folder)
        os.environ["PYTHONPATH"] = str(self.folder)
        sys.path.insert(0, str(self.folder))
        for name in list(sys.modules):
            if name.partition(".")[0] in ("tests", "mocra_scrapy"):
                del sys.modules[name]
        if not talks:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)


def _import_what_tests_need() -> None:
    for name in ("croniter", "hypothesis", "msgpack", "redis.asyncio", "twisted.internet.asyncioreactor"):
        importlib.import_module(name)
    for name in ("scrapy.core.engine", "scrapy.crawler", "scrapy.exporters", "scrapy.http", "zope.interface"):
        importlib.import_module(name)


def statement(text: str, line: int) -> tuple[int, int]:
    """First and last line of the innermost statement at *line*, of the head of one that has a body;
    (0, 0) if an import runs it.
    """
    best, inside = (0, 0), False
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.stmt) or not node.lineno <= line <= (node.end_lineno or 0):
            continue
        head = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        body: Any = getattr(node, "body", None)
        last = (node.end_lineno or 0) if body is None else max(node.lineno, body[0].lineno - 1)
        if head and line > last and not isinstance(node, ast.ClassDef):
            inside = True
        elif not head and node.lineno >= best[0]:
            best = (node.lineno, max(last, line))
    return best if inside else (0, 0)
