"""What to do when a server is not installed: locally skip and say so once; with ``MOCRA_REQUIRE_SERVICES=1`` (CI) fail."""

from __future__ import annotations

import os
from typing import Any

import pytest

_missing: dict[str, int] = {}


def need(name: str, present: bool, how: str) -> None:
    """Skip or fail the running test unless *present*; *how* says how to install it."""
    if present:
        return
    if os.environ.get("MOCRA_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{name} is required (MOCRA_REQUIRE_SERVICES=1) but not installed: {how}", pytrace=False)
    _missing[name] = _missing.get(name, 0) + 1
    pytest.skip(f"{name} is not installed: {how}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for name, count in _missing.items():
        terminalreporter.write_line(
            f"NOT TESTED: {count} tests need {name}; `make setup` installs it", yellow=True, bold=True
        )
