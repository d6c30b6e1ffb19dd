"""The wrong lines of ``lua.txt``, put one at a time into the Lua scripts, and the rules of the queue
tried on a real Redis.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.backends.redis.connection.scripts import uses_of
from tests.mutation.copy import ROOT, Copy

SCRIPTS = ROOT / "mocra_scrapy" / "backends" / "redis" / "lua"
LIST = Path(__file__).parent / "lua.txt"
TESTS = [
    "tests/conformance",
    "tests/integration/backends/test_audit.py",
    "tests/integration/backends/test_redis_keys.py",
    "tests/integration/backends/test_seed_keys.py",
]
#: On one server: others run the same scripts.
OPTIONS = ["-m", "redis and not other_server and not alone", "-k", "not cluster"]


@dataclass(frozen=True)
class LuaMutant:
    """One wrong place: *old*, which a file has once, is *new*."""

    file: str
    old: str
    new: str

    @property
    def name(self) -> str:
        return f"{self.file} | {self.old} | {self.new}".rstrip()

    def source(self) -> str:
        text = (SCRIPTS / self.file).read_text("utf-8")
        assert text.count(self.old) == 1, f"{self.file} has {self.old!r} {text.count(self.old)} times"
        return text.replace(self.old, self.new)


def lua_mutants() -> list[LuaMutant]:
    lines = [line for line in LIST.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return [LuaMutant(*(part.strip() for part in f"{line} ".split(" | ", 2))) for line in lines]


class RunScripts:
    """Notes which tests run which scripts, and how long they take."""

    def __init__(self) -> None:
        self.tests: dict[str, set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self._now = ""

    def pytest_collection_finish(self) -> None:
        from mocra_scrapy.backends.redis.connection.client import RedisClient

        run, note = RedisClient.run, self.tests

        async def noted(client: Any, script: Any, *args: Any) -> Any:
            note[script.name].add(self._now)
            return await run(client, script, *args)

        RedisClient.run = noted  # type: ignore[method-assign]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._now = nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


class LuaCopy(Copy):
    """The tree, whose scripts are broken."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.options = OPTIONS
        self._tests: dict[str, list[str]] = {}

    def measure_scripts(self) -> bool:
        """Run the tests as they are, and note which scripts each runs. ``False``: some fail."""
        found = self.folder / "scripts.json"

        def run() -> int:
            noted = RunScripts()
            code = int(pytest.main(self.arguments(*TESTS), plugins=[noted]))
            tests = {script: sorted(names) for script, names in noted.tests.items()}
            found.write_text(json.dumps({"seconds": noted.seconds, "tests": tests}), "utf-8")
            return code

        if self.fork(run, 1800, talks=True) != 0:
            return False
        told = json.loads(found.read_text("utf-8"))
        self.seconds, self._tests = told["seconds"], told["tests"]
        self.must_run()
        return True

    def tests_of(self, file: str) -> list[str]:
        """The tests that run a script that has *file* in it, the fastest first."""
        name = file.removesuffix(".lua")
        scripts = {name} if "/" not in file else {s for s in self._tests if name.removeprefix("lib/") in libraries(s)}
        tests = {test for script in scripts for test in self._tests.get(script, ())}
        return sorted(tests, key=lambda test: self.seconds[test])

    def notices_lua(self, mutant: LuaMutant) -> bool:
        """Whether a test fails with it."""
        tests = self.tests_of(mutant.file)
        with self.broken((SCRIPTS / mutant.file).relative_to(ROOT), mutant.source()):
            return bool(tests) and not self.passes(tests)


def libraries(script: str) -> set[str]:
    """All that a script uses."""
    found: set[str] = set()
    open_ = uses_of((SCRIPTS / f"{script}.lua").read_text("utf-8"))
    while open_:
        if (name := open_.pop()) not in found:
            found.add(name)
            open_ += uses_of((SCRIPTS / "lib" / f"{name}.lua").read_text("utf-8"))
    return found
