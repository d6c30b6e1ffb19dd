"""``scrapy cron status``, ``list`` and ``check``: what they find."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mocra_scrapy.commands.verbs import cron_look
from mocra_scrapy.commands.verbs.cron_check import shared_crawls, unknown_spiders, unknown_stats
from mocra_scrapy.commands.verbs.cron_shown import moment, span
from mocra_scrapy.commands.verbs.cron_status import _oddities, facts_of, problems
from mocra_scrapy.cron.config import Source, check_jobs
from mocra_scrapy.cron.job_store import Stored
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.leader_note import LeaderNote, jobs_digest
from mocra_scrapy.cron.run_json import run_json
from mocra_scrapy.cron.schedule import Schedule
from mocra_scrapy.cron.state import ENDED, INTENDED, RUNNING, JobState, Part, Run, utc
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from mocra_scrapy.models import Term

T = 1_795_392_000 - 1_795_392_000 % 86_400
TERM = Term("cron", "w", 7, 10.0)


def job(**values: Any) -> Job:
    return Job(name="shop", spider="shop", schedule=Schedule("*/10 * * * *"), **values)


def note(jobs: dict[str, Job]) -> LeaderNote:
    return LeaderNote("w", "host", 1, 7, T, jobs_digest(jobs), "cron.toml", tuple(jobs))


def stored(**values: Any) -> dict[str, Stored]:
    return {"shop": Stored(JobState(last=T, identity="x", **values))}


def test_all_is_well() -> None:
    jobs = {"shop": job()}
    assert problems(jobs, stored(), TERM, note(jobs), T + 599) == []
    assert problems(jobs, {}, TERM, note(jobs), T + 10_000) == [], "never seen: nothing is late"


def test_what_is_not_well() -> None:
    jobs = {"shop": job()}
    assert problems(jobs, stored(), None, None, T + 10) == ["no runner leads: start `scrapy cron run`"]
    (late,) = problems(jobs, stored(), TERM, note(jobs), T + 700)
    assert late == f"shop: nobody has decided on {utc(T + 600)}, 1min 40s ago"
    assert problems({"shop": job(enabled=False)}, stored(), TERM, None, T + 7000) == []
    assert problems(jobs, stored(paused=True), TERM, note(jobs), T + 7000) == []
    run = Run(id="shop@x", instant=T, due=T, state=INTENDED)
    assert "shop@x: intended, was due 9min 50s ago" in problems(jobs, stored(runs=(run,)), TERM, note(jobs), T + 590)
    assert problems(jobs, stored(runs=(replace(run, state=RUNNING, parts=(Part("w"),)),)), TERM, None, T + 590) == []
    assert "can't be read" in problems(jobs, {"shop": Stored(JobState(broken=True))}, TERM, None, T)[0]
    assert "has other jobs" in problems(jobs, stored(), TERM, note({}), T + 10)[0]


def test_list_does_not_tell_to_forget_the_jobs_of_another_file() -> None:
    jobs = {"shop": job()}
    states = {**stored(), "other": Stored(JobState(last=T)), "gone": Stored(JobState(last=T))}
    others = note({"other": job()})
    lines = _oddities(jobs, states, others, T + 1)
    assert "has other jobs" in lines[0]
    assert "other: a job of that runner, not of this file" in lines
    assert any(line.startswith("gone: ") and "forget gone" in line for line in lines)
    assert _oddities(jobs, stored(), note(jobs), T + 1) == []
    assert "is in the future" in _oddities(jobs, stored(), None, T - 3600)[0]


def test_what_list_tells() -> None:
    good = Run(id="shop@a", instant=T, due=T, state=ENDED, outcome="succeeded", ended=T + 10.0)
    bad = Run(id="shop@b", instant=T, due=T, state=ENDED, outcome="failed", ended=T + 20.0)
    facts = facts_of(job(), JobState(runs=(bad, good), missed=2), T + 60)
    assert (facts["next"], facts["left"], facts["state"]) == (utc(T + 600), 540.0, "scheduled")
    assert (facts["last_success"], facts["last_outcome"], facts["missed"]) == (utc(T + 10), "failed", 2)
    skipped = Run(id="shop@c", instant=T, due=T, state=ENDED, outcome="skipped", ended=T + 30.0)
    assert facts_of(job(), JobState(runs=(good, bad, skipped)), T + 60)["last_outcome"] == "failed", "a skip hides it"
    assert facts_of(job(), JobState(runs=(skipped,)), T + 60)["last_outcome"] == "skipped"
    resting = facts_of(job(), JobState(paused=True), T + 60)
    assert (resting["state"], resting["next"], resting["left"]) == ("paused", None, None)


def test_moments_are_iso_times() -> None:
    part = Part("w", started=T + 1.5, ended=T + 2.0, items=3)
    told = run_json("shop", Run(id="shop@a", instant=T, due=T + 0.5, state=ENDED, ended=T + 2.0, parts=(part,)))
    assert (told["instant"], told["ended"], told["parts"][0]["started"]) == (utc(T), utc(T + 2), utc(T + 1))
    assert (told["job"], told["items"], told["intended"]) == ("shop", 3, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.4, "59s"), (60, "1min"), (3661, "1h 1min"), (86_400, "1d"), (90_000, "1d 1h"), (86_405, "1d")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_keys_are_shown_as_the_file_says_them() -> None:
    told = [cron_look._as_written(value) for value in (("a", "b c"), 300.0, 0.5, True, {"x": "1"}, Schedule("@daily"))]
    assert told == ['["a", "b c"]', "300", "0.5", "true", "{ x = 1 }", "@daily"]


def test_moments_may_be_spans_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    assert [moment("--since", text) for text in ("90s", "30m", "2h", "7d")] == [999_910, 998_200, 992_800, 395_200]


@pytest.mark.parametrize("text", ["", "yesterday", "2027-13-01", "2 h", "h", "-2h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--since"):
        moment("--since", text)


def test_every_mistake_is_told(tmp_path: Path) -> None:
    file = tmp_path / "cron.toml"
    file.write_text(
        """\
[defaults]
timeot = 5
[jobs.one]
spider = "a"
schedule = "61 * * * *"
[jobs.two]
spider = "b"
schedule = "@daily"
retries = -1
colour = "red"
[jobs.three]
schedule = "@daily"
[jobs.good]
spider = "c"
schedule = "@daily"
"""
    )
    jobs, mistakes = check_jobs(Source(file))
    assert list(jobs) == ["two", "good"]
    told = [str(mistake).removeprefix(f"{file}:").partition(". ")[0] for mistake in mistakes]
    assert [line.partition(":")[0] for line in told] == ["2", "5", "9", "10", "11"]
    assert "spider is missing" in told[-1]


def test_unknown_stats_spiders_and_shared_crawls(tmp_path: Path) -> None:
    file = tmp_path / "cron.toml"
    file.write_text(
        """\
[jobs.one]
spider = "a"
schedule = "@daily"
success = "item_scraped_coutn > 3 and downloader/response_status_count/200 > 3 and log_count/ERROR == 0"
expect = "items >= median(items, 5) and seconds < 30"
[jobs.two]
spider = "a"
schedule = "@daily"
[jobs.three]
spider = "a"
schedule = "@daily"
settings = { MOCRA_CRAWL = "third" }
"""
    )
    jobs, mistakes = check_jobs(Source(file))
    assert mistakes == []
    (line,) = unknown_stats(jobs, Source(file))
    assert ":4: jobs.one.success: 'item_scraped_coutn' is not a stat that is known here" in line
    assert "Did you mean 'item_scraped_count'?" in line
    (line,) = shared_crawls(jobs, "shop")
    assert line.startswith("one, two would work on one crawl, 'shop:a'")
    assert line.endswith("unless that is meant")
    jobs["two"] = replace(jobs["two"], args={"region": "eu"})
    (line,) = shared_crawls(jobs, "shop")
    assert line.endswith("or the later one is refused, because its args are others")
    assert len(list(unknown_spiders(jobs, Source(file), ["b"]))) == 3


@pytest.mark.parametrize("asked", ["shop", "shop@x"])
def test_following_a_log_begins_before_the_run_does(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the run before, and not "deleted" while the crawl has not written its first line."""
    before = Run(id="shop@a", instant=T, due=T, state=ENDED, parts=(Part("v", log=str(tmp_path / "old")),))
    (tmp_path / "old").write_text("the run before\n")
    coming = Run(id="shop@x", instant=T + 600, due=T + 600, state=INTENDED)
    log = tmp_path / "log"
    begun = replace(coming, state=RUNNING, parts=(Part("w", host=socket.gethostname(), log=str(log)),))
    looks: list[Any] = [coming, coming, begun, BackendUnavailable("away"), begun, begun, replace(begun, state=ENDED)]

    async def read_states(options: Any) -> dict[str, Stored]:
        now = looks.pop(0)
        if len(looks) == 3:
            log.write_text("one\n")
        if len(looks) == 0:
            log.write_text("one\ntwo\n")
        if isinstance(now, Exception):
            raise now
        return stored(runs=(before, now))

    monkeypatch.setattr(cron_look, "read_states", read_states)
    monkeypatch.setattr(cron_look.time, "sleep", lambda seconds: None)
    arguments: Any = SimpleNamespace(run=asked, follow=True)
    assert cron_look.Logs().show(arguments, None, None) == 0  # type: ignore[arg-type]
    assert capsys.readouterr().out == "one\ntwo\n"
    assert looks == []


def test_who_stops_following_gets_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_states(options: Any) -> dict[str, Stored]:
        raise KeyboardInterrupt

    monkeypatch.setattr(cron_look, "read_states", read_states)
    arguments: Any = SimpleNamespace(run="shop", follow=True)
    assert cron_look.Logs().show(arguments, None, None) == 0  # type: ignore[arg-type]


def test_a_run_that_never_started_has_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [INTENDED, ENDED]

    async def read_states(options: Any) -> dict[str, Stored]:
        state = looks.pop(0) if len(looks) > 1 else looks[0]
        run = Run(id="shop@x", instant=T, due=T, state=state, outcome="missed" if state == ENDED else "")
        return stored(runs=(run,))

    monkeypatch.setattr(cron_look, "read_states", read_states)
    arguments: Any = SimpleNamespace(run="shop@x", follow=True)
    with pytest.raises(ConfigurationError, match="shop@x: it never started: missed"):
        cron_look.Logs().show(arguments, None, None)  # type: ignore[arg-type]
