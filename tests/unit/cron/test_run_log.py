"""What a leader says of runs."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from mocra_scrapy.cron.run_log import RunLog
from mocra_scrapy.cron.state import ENDED, RUNNING, JobState, Part, Run

RUN = Run(id="shop@a", instant=10, due=10.0)


def test_each_change_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log, heard = RunLog(lambda: 1000.0), list[tuple[str, dict[str, Any]]]()
    log.listeners += [lambda event, run: 1 / 0, lambda event, run: heard.append((event, run))]
    going_on = replace(RUN, state=RUNNING, parts=(Part("w", log="x.log"),))
    failed = replace(going_on, state=ENDED, outcome="failed", reason="exit code 1", ended=990.0)
    for run in (RUN, RUN, going_on, going_on, failed, failed):
        log.look("shop", JobState(runs=(run,)))
    assert [line.split(" is ")[-1] for line in caplog.messages if " is " in line] == [
        "waiting, due 1970-01-01T00:00:10Z",
        "going on, log x.log",
    ]
    assert caplog.messages.count("Run shop@a failed: exit code 1") == 1
    assert [(event, run["job"], run["ended"]) for event, run in heard] == [
        ("on_failure", "shop", "1970-01-01T00:16:30Z")
    ]
    assert "A listener for the end of shop@a failed" in caplog.text


def test_old_history_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    RunLog(lambda: 1000.0).look("shop", JobState(runs=(replace(RUN, state=ENDED, outcome="failed", ended=900.0),)))
    assert caplog.messages == []
