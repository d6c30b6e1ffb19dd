"""Which tests run which lines: a pytest plugin for the first run, and one that selects for the others."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest


class Reach:
    """Notes for each test which lines of *folder* it ran, and how long it took. What is run by an
    import belongs to no test.
    """

    TOOL = 4  # not the numbers of debuggers, coverage and profilers

    def __init__(self, folder: Path) -> None:
        self.folder = f"{folder}/"
        self.lines: dict[str, set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self._now: set[str] = set()

    def pytest_sessionstart(self) -> None:
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
        events = monitoring.events
        monitoring.use_tool_id(self.TOOL, "tests.mutation")

        def began(code: CodeType, _: int) -> Any:
            if code.co_filename.startswith(self.folder):
                monitoring.set_local_events(self.TOOL, code, events.LINE)
            return monitoring.DISABLE

        def line(code: CodeType, number: int) -> Any:
            self._now.add(f"{code.co_filename.removeprefix(self.folder)}:{number}")
            return monitoring.DISABLE

        monitoring.register_callback(self.TOOL, events.PY_START, began)
        monitoring.register_callback(self.TOOL, events.LINE, line)
        monitoring.set_events(self.TOOL, events.PY_START)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._now = set()
        sys.monitoring.restart_events()  # type: ignore[attr-defined, unused-ignore]
        began = time.monotonic()
        answer = yield
        self.seconds[item.nodeid] = time.monotonic() - began
        for reached in self._now:
            self.lines[reached].add(item.nodeid)
        return answer

    def write(self, path: Path) -> None:
        lines = {line: sorted(tests) for line, tests in self.lines.items()}
        path.write_text(json.dumps({"seconds": self.seconds, "lines": lines}), "utf-8")


class Select:
    """Runs *tests* in this order, and no others."""

    def __init__(self, tests: list[str]) -> None:
        self.order = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.order), key=lambda item: self.order[item.nodeid])
