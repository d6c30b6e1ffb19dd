"""What another process does between two steps of this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def make_what_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on: whoever asks whether a directory is there is told no, and then it is."""
    exists = Path.exists

    def look(path: Path, **options: Any) -> bool:
        there = exists(path, **options)
        if not there:
            path.mkdir(parents=True)
        return there

    monkeypatch.setattr(Path, "exists", look)
