"""What a leader says of runs."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from scrapy.signalmanager import SignalManager

from mocra_scrapy import signals
from mocra_scrapy.cron.run_log import RunLog, sends_signals
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


def test_signals_for_what_alerts_are_for() -> None:
    runner = object()
    manager, heard = SignalManager(runner), list[tuple[str, str]]()
    names = {name: value for name, value in vars(signals).items() if name.startswith("cron_run_")}
    assert len(names) == 4

    def listen(name: str) -> Any:
        def handler(job: str, run: dict[str, Any], sender: Any) -> None:
            assert (job, sender) == ("shop", runner)
            heard.append((name.removeprefix("cron_run_"), run["id"]))

        return handler

    handlers = [listen(name) for name in names]  # weakly connected
    for name, handler in zip(names, handlers, strict=True):
        manager.connect(handler, names[name])
    log = RunLog(lambda: 1000.0)
    log.listeners.append(sends_signals(manager))
    runs: tuple[Run, ...] = ()
    for instant, outcome in ((1, "failed"), (2, "missed"), (3, "succeeded"), (4, "succeeded"), (5, "cancelled")):
        ended = 990.0 + instant
        runs += (Run(f"shop@{instant}", instant, 1.0, state=ENDED, outcome=outcome, ended=ended),)
        log.look("shop", JobState(runs=runs))
    expected = ["failed:1", "missed:2", "recovered:3"]
    assert sorted(heard) == sorted(
        [("ended", f"shop@{i}") for i in range(1, 6)]
        + [(name, f"shop@{i}") for name, i in (one.split(":") for one in expected)]
    )
