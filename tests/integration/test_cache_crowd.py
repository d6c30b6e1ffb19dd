"""The cache with real processes, one of them killed while it computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cache_crowd import CALLERS, PROCESSES, TIMES
from tests.services.processes import unmeasured

pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]


def test_four_processes_count_and_compute_once(redis_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.integration.cache_crowd", redis_url, str(tmp_path)]
    done = subprocess.run(command, env=unmeasured(), timeout=200, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    assert len(found) == PROCESSES - 1, "one was killed"
    # It was killed behind its last increment.
    assert max(one["n"] for one in found) == PROCESSES * TIMES
    once = (tmp_path / "once").read_text().split()
    assert len(once) == 1
    assert {value for one in found for value in one["once"]} == {int(once[0])}
    fatal = (tmp_path / "fatal").read_text().split()
    assert len(fatal) == 2, "the one that was killed, and one more"
    assert [value for one in found for value in one["fatal"]] == [int(fatal[1])] * CALLERS * (PROCESSES - 1)
