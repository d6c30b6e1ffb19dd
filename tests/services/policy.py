"""What to do when a server is not installed: locally skip and say so once; with
``MOCRA_REQUIRE_SERVICES=1`` (CI) fail.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

ABSENT = "is not installed"


def need(name: str, present: bool, how: str) -> None:
    """Skip or fail the running test unless *present*; *how* says how to install it."""
    if present:
        return
    if os.environ.get("MOCRA_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{name} is required (MOCRA_REQUIRE_SERVICES=1) but not installed: {how}", pytrace=False)
    pytest.skip(f"{name} {ABSENT}: {how}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Counted by what was reported: the tests may have run in other processes."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ()) if report.longrepr]
    names = Counter(r.removeprefix("Skipped: ").partition(f" {ABSENT}")[0] for r in reasons if ABSENT in r)
    for name, count in names.items():
        terminalreporter.write_line(
            f"NOT TESTED: {count} tests need {name}; `make setup` installs it", yellow=True, bold=True
        )
