"""The jobs file: what it may say, and what ``scrapy cron check`` tells about thirty wrong ones."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.commands.cron import Command
from mocra_scrapy.commands.verbs.cron_check import Check
from mocra_scrapy.cron.config import JobsFile, Source, find_source, load_jobs
from mocra_scrapy.cron.jobs import KEYS
from mocra_scrapy.cron.toml_lines import line_of
from mocra_scrapy.exceptions import ConfigurationError

GOOD = """\
[defaults]
timezone = "Europe/Berlin"
settings = { LOG_LEVEL = "INFO", RETRY_TIMES = 3 }
args = { lang = "de" }

[jobs.prices]
spider = "prices"
schedule = "30 2 * * *"
args = { depth = 3, full = true }
settings = { LOG_LEVEL = "DEBUG" }
concurrency = "queue"
max_queued = 3
misfire_grace = 600
catch_up = "last"
jitter = 60
timeout = 7200
stop_grace = 60
retries = 2
retry_delay = 300
success = "item_scraped_count > 0 and log_count/ERROR == 0"
tags = ["daily"]
history = 20

[jobs."shop.de"]
spider = "shop"
schedule = "@hourly"
timezone = "UTC"
executor = "queue"
workers = 3
enabled = false
"""


def test_a_good_file(tmp_path: Path) -> None:
    (tmp_path / "cron.toml").write_text(GOOD)
    jobs = load_jobs(find_source(None, tmp_path))
    assert list(jobs) == ["prices", "shop.de"]
    prices, shop = jobs.values()
    assert prices.args == {"lang": "de", "depth": "3", "full": "true"}
    assert prices.settings == {"LOG_LEVEL": "DEBUG", "RETRY_TIMES": 3}
    assert (prices.schedule.text, prices.schedule.zone.key) == ("30 2 * * *", "Europe/Berlin")
    assert (prices.concurrency, prices.catch_up, prices.misfire_grace, prices.timeout) == (
        "queue",
        "last",
        600.0,
        7200.0,
    )
    assert prices.success is not None
    assert prices.success.holds({"item_scraped_count": 1})
    assert (shop.executor, shop.workers, shop.enabled, shop.schedule.zone.key) == ("queue", 3, False, "UTC")
    assert (shop.concurrency, shop.catch_up, shop.retries, shop.history) == ("forbid", "none", 0, 50)


def test_other_places(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\nname = "x"\n[tool.mocra.cron.jobs.a]\nspider = "s"\nschedule = "@daily"\n')
    assert list(load_jobs(find_source(None, tmp_path))) == ["a"]
    (tmp_path / "other.toml").write_text('[jobs.b]\nspider = "s"\nschedule = "@daily"\n')
    assert list(load_jobs(find_source("other.toml", tmp_path))) == ["b"]
    data = {"jobs": {"c": {"spider": "s", "schedule": "@daily"}}}
    assert list(load_jobs(find_source(data, tmp_path))) == ["c"]
    (tmp_path / "cron.toml").write_text('[jobs.d]\nspider = "s"\nschedule = "@daily"\n')
    assert list(load_jobs(find_source(None, tmp_path))) == ["d"], "cron.toml goes before pyproject.toml"


def test_errors_in_other_places(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\nname = "x"\n\n[tool.mocra.cron.jobs.a]\nspider = "s"\nschedule = "@dialy"\n')
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml:6: jobs\.a\.schedule: .*Did you mean '@daily'"):
        load_jobs(find_source(None, tmp_path))
    with pytest.raises(
        ConfigurationError, match=r"MOCRA_CRON: jobs\.c\.sheldule: unknown key. Did you mean 'schedule'"
    ):
        load_jobs(find_source({"jobs": {"c": {"spider": "s", "sheldule": "@daily"}}}, tmp_path))
    with pytest.raises(ConfigurationError, match="MOCRA_CRON: 3 is neither a path nor a dict"):
        find_source(3, tmp_path)
    with pytest.raises(ConfigurationError, match=r"gone\.toml: it can't be read"):
        load_jobs(find_source("gone.toml", tmp_path))


def job(*lines: str) -> str:
    return "\n".join(["[jobs.a]", 'spider = "first"', 'schedule = "@daily"', *lines, ""])


#: A wrong file; the line that is to be named; words of the message.
WRONG: dict[str, tuple[str, int | None, str]] = {
    "no TOML": ("[jobs.a\nspider = 1\n", 1, "it is not valid TOML"),
    "a value without quotes": ("[jobs.a]\nspider = first\n", 2, "it is not valid TOML"),
    "the same table twice": (job() + "[jobs.a]\n", 4, "it is not valid TOML"),
    "an end that is missing": ('[jobs.a]\nspider = """first\n', 3, "it is not valid TOML"),
    "empty": ("", None, "no job is named"),
    "no job": ("[defaults]\njitter = 3\n", None, "no job is named"),
    "an unknown table": (job() + "[job.b]\n", 4, "Did you mean 'jobs'"),
    "a key outside": ('timezone = "UTC"\n' + job(), 1, "Write it below [defaults]"),
    "an unknown key": (job('concurency = "forbid"'), 4, "Did you mean 'concurrency'"),
    "an unknown key that is like none": (job("xyzzy = 1"), 4, "There are spider, schedule"),
    "an unknown default": ("[defaults]\nretrys = 1\n" + job(), 2, "Did you mean 'retries'"),
    "no spider": ('[jobs.a]\nschedule = "@daily"\n', 1, "spider is missing"),
    "no schedule": ('[jobs.a]\nspider = "first"\n', 1, "schedule is missing"),
    "a job that is not a table": ('jobs.a = "first"\n', 1, "is not a table"),
    "jobs that are no table": ('jobs = "first"\n', 1, "is not a table"),
    "a name for no file": (job() + '[jobs."a/b"]\nspider = "first"\nschedule = "@daily"\n', 4, "can't be the name of a job"),
    "a bad field": ('[jobs.a]\nspider = "first"\nschedule = "0 25 * * *"\n', 3, "'25' is not a valid hour"),
    "an impossible date": ('[jobs.a]\nschedule = "0 0 31 2 *"\nspider = "first"\n', 2, "never comes"),
    "too few fields": ('[jobs.a]\nspider = "first"\n# the schedule\nschedule = "* * * *"\n', 4, "4 fields"),
    "an unknown zone": (job('timezone = "Europe/Berln"'), 4, "Did you mean 'Europe/Berlin'"),
    "an unknown default zone": ('[defaults]\ntimezone = "Mars"\n' + job(), 2, "there is no time zone"),
    "an unknown policy": (job('concurrency = "Forbid"'), 4, "Did you mean 'forbid'"),
    "an unknown catch-up": (job('catch_up = "everything"'), 4, "Write one of 'none', 'last', 'all'"),
    "a time with a unit": (job('timeout = "15m"'), 4, "15 minutes are 900"),
    "a negative time": (job("jitter = -1"), 4, "from 0 to 86400"),
    "no whole number": (job("retries = 1.5"), 4, "a whole number"),
    "a flag in quotes": (job('enabled = "no"'), 4, "without quotes"),
    "a nested argument": (job("args = { a = [1] }"), 4, "Spiders are given texts"),
    "arguments as a list": (job('args = ["a=1"]'), 4, "is not a table"),
    "a setting in small letters": (job("settings = { log_level = 'INFO' }"), 4, "Write 'LOG_LEVEL'"),
    "tags as a text": (job('tags = "daily"'), 4, 'Write ["daily", "shop"]'),
    "code in the expression": (job('success = "__import__(1)"'), 4, "has no meaning"),
    "half an expression": (job('success = "items >"'), 4, "can't be read"),
    "several workers without a queue": (job("workers = 3"), 4, 'Add executor = "queue"'),
    "a spider that is not there": ('[jobs.a]\nspider = "frist"\nschedule = "@daily"\n', 2, "Did you mean 'first'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_check_tells_what_is_wrong(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, line, words = WRONG[name]
    (tmp_path / "cron.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert check() == 1
    told = capsys.readouterr().err
    assert told.startswith(f"Error: {tmp_path / 'cron.toml'}{f':{line}: ' if line else ': '}"), told
    assert words in told
    assert "Traceback" not in told


def test_there_are_enough_wrong_files() -> None:
    assert len(WRONG) >= 20


def check() -> int:
    command = Command()
    command.settings = Settings({"SPIDER_MODULES": ["tests.unit.cron.cron_spiders"]})
    return Check().run(argparse.Namespace(file=None), command)


def test_check_is_content_with_a_good_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cron.toml").write_text(
        GOOD.replace('"prices"', '"first"').replace('spider = "shop"', 'spider = "first"')
    )
    monkeypatch.chdir(tmp_path)
    assert check() == 0
    assert "2 jobs, nothing wrong" in capsys.readouterr().out


def test_check_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert check() == 1
    assert "there is no jobs file" in capsys.readouterr().err


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "cron.toml").write_bytes(b'[jobs.a]\nspider = "\xff"\n')
    with pytest.raises(ConfigurationError, match=r"cron\.toml:2: it is not UTF-8"):
        load_jobs(find_source(None, tmp_path))


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2", ("b",), 2),
        ("[x]\na = 1\n[y]\na = 2", ("y", "a"), 4),
        ("[x]\na = 1", ("x", "gone"), 1),
        ("[x]\na.b = 1", ("x", "a", "b"), 2),
        ('["x y".z]\na = 1', ("x y", "z", "a"), 2),
        ("[x]\nt = '''\na = 2\n'''\na = 1", ("x", "a"), 5),
        ('[x]\nt = """one line"""\na = 1', ("x", "a"), 3),
        ("a = 1", ("z",), None),
        ("[x] # why\na=1", ("x", "a"), 2),
    ],
)
def test_lines(text: str, path: tuple[str, ...], line: int | None) -> None:
    assert line_of(text, path) == line


def test_a_wrong_new_file_leaves_the_old_jobs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "cron.toml"
    path.write_text(job())
    file = JobsFile(Source(path))
    assert not file.reload()
    path.write_text(job("retries = -1"))
    assert not file.reload()
    assert "cron.toml:4: jobs.a.retries" in caplog.text
    assert "the old jobs are kept" in caplog.text
    assert list(file.jobs) == ["a"]
    path.unlink()
    assert not file.reload()
    assert list(file.jobs) == ["a"]
    path.write_text(job("retries = 1") + '[jobs.b]\nspider = "first"\nschedule = "@daily"\n')
    with caplog.at_level(logging.INFO):
        assert file.reload()
    assert "2 jobs, new: b, changed: a, gone: none" in caplog.text
    assert file.jobs["a"].retries == 1
    assert not file.reload()


def test_every_key_has_a_field() -> None:
    from dataclasses import fields

    from mocra_scrapy.cron.jobs import Job

    names: set[Any] = {field.name for field in fields(Job)} - {"name"}
    assert names | {"timezone"} == set(KEYS)
