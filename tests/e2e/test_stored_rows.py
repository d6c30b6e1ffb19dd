"""Rows of a table while workers die: one for each key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import need_redis
from tests.e2e.stored import crawl
from tests.services import policy, postgres_server

pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.postgres]


def test_a_row_for_each_key_though_workers_die_before_they_acknowledge(tmp_path: Path) -> None:
    """Two workers, and two kills: between a write and its acknowledgement, and somewhere."""
    need_redis()
    policy.need("postgresql", postgres_server.installed(), postgres_server.HOW)
    report, workers = crawl("postgres", tmp_path, pages=60, items=20, crowd=2)
    logs = "\n".join(workers.log(n)[-2000:] for n in range(len(workers.all)))
    assert report.kills >= 1, logs
    assert (report.lost, report.repeats, report.strange, report.stored) == (0, 0, 0, 1200), logs
