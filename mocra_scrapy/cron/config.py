"""The jobs file: found, read, checked, and read again when it changes.

``MOCRA_CRON`` says where it is, or is it; else ``cron.toml`` in the project's folder; else
``[tool.mocra.cron]`` in its ``pyproject.toml``. Every error names the file, the line, the key and
the fix.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from mocra_scrapy.cron.jobs import KEYS, NAME, Job
from mocra_scrapy.cron.schedule import BadSchedule, Schedule
from mocra_scrapy.cron.suggestions import did_you_mean
from mocra_scrapy.cron.toml_lines import line_of
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.wording import counted
from mocra_scrapy.settings.checks import WrongValue

logger = logging.getLogger(__name__)

FILE = "cron.toml"
SECTIONS = ("defaults", "jobs")


@dataclass(frozen=True, slots=True)
class Source:
    """Where jobs are written. ``table`` is the path of the tables in the file; ``data``: they are
    in the settings instead.
    """

    path: Path | None
    table: tuple[str, ...] = ()
    data: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return "MOCRA_CRON" if self.path is None else str(self.path)

    def place(self, path: tuple[str, ...], text: str | None = None) -> str:
        """``cron.toml:12: jobs.prices.spider``; *text*: the file's content, if it is known."""
        if text is None:
            text = "" if self.path is None else self.path.read_text(encoding="utf-8", errors="replace")
        line = line_of(text, self.table + path)
        return f"{self}{f':{line}' if line else ''}: {'.'.join(path) or 'file'}"

    def stamp(self) -> str:
        """Changes when the content does: the hash of it, since two writes within one tick of the
        file system's clock look the same.
        """
        if self.path is None:
            return ""
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError as error:
            return f"unreadable: {error.strerror}"


def find_source(setting: Any, folder: Path) -> Source:
    """Where the jobs of the project in *folder* are; *setting* is the value of ``MOCRA_CRON``.

    Raises:
        ConfigurationError: nowhere.
    """
    if isinstance(setting, Mapping):
        return Source(None, data=setting)
    if isinstance(setting, (str, Path)) and str(setting).strip():
        path = folder / setting
        return Source(path, ("tool", "mocra", "cron") if path.name == "pyproject.toml" else ())
    if setting is not None:
        raise ConfigurationError(
            "MOCRA_CRON",
            f"{setting!r} is neither a path nor a dict",
            'Set a path, or {"jobs": {"prices": {"spider": …, "schedule": …}}}',
        )
    if (folder / FILE).is_file():
        return Source(folder / FILE)
    project = folder / "pyproject.toml"
    if project.is_file() and _has_jobs(project):
        return Source(project, ("tool", "mocra", "cron"))
    raise ConfigurationError(
        str(folder / FILE),
        "there is no jobs file",
        f"Write {FILE} with a table [jobs.NAME] for each job, or [tool.mocra.cron.jobs.NAME] in pyproject.toml, or set MOCRA_CRON",
    )


def _toml() -> Any:
    return import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def _has_jobs(project: Path) -> bool:
    """Whether a ``pyproject.toml`` has a part of ours; one that can't be read has none, and is
    others' business.
    """
    try:
        data: Any = _toml().loads(project.read_text(encoding="utf-8", errors="replace"))
    except ValueError:
        return False
    for name in ("tool", "mocra", "cron"):
        data = data.get(name) if isinstance(data, Mapping) else None
    return data is not None


def load_jobs(source: Source) -> dict[str, Job]:
    """The jobs by name, in the order of the file.

    Raises:
        ConfigurationError: names the file, the line, the key, and the fix.
    """
    return _Tables(*_read(source)).jobs()


def check_jobs(source: Source) -> tuple[dict[str, Job], list[ConfigurationError]]:
    """The jobs that are right, and all mistakes of the others.

    Raises:
        ConfigurationError: there are no tables at all.
    """
    mistakes: list[ConfigurationError] = []
    return _Tables(*_read(source), mistakes).jobs(), mistakes


def _read(source: Source) -> tuple[str, Source, Any]:
    """Text of the file, where it is, its tables."""
    if source.path is None:
        assert source.data is not None
        return "", source, source.data
    try:
        text = source.path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{source}:{line}", "it is not UTF-8", "Save the file as UTF-8") from error
    except OSError as error:
        raise ConfigurationError(str(source), f"it can't be read: {error.strerror}", "Name a file that can") from error
    toml = _toml()
    try:
        data: Any = toml.loads(text)
    except toml.TOMLDecodeError as error:
        problem, _, place = str(error).partition(" (at ")
        at = place.removeprefix("line ").partition(",")[0]
        at = f"{source}:{at if at.isdigit() else text.count(chr(10)) + 1}"
        raise ConfigurationError(
            at, f"it is not valid TOML: {problem}", "See https://toml.io for how it is written"
        ) from error
    for name in source.table:
        data = data.get(name, {}) if isinstance(data, Mapping) else {}
    return text, source, data


class JobsFile:
    """The jobs of a source, read again when it changes; a wrong one is told of, and the old jobs
    are kept.

    Raises:
        ConfigurationError: it is wrong from the beginning.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._stamp = source.stamp()
        self.jobs = load_jobs(source)

    def reload(self) -> bool:
        """Whether the jobs are new."""
        stamp = self.source.stamp()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            jobs = load_jobs(self.source)
        except ConfigurationError as error:
            logger.error("The new jobs file has an error, the old jobs are kept: %s", error)
            return False
        old, self.jobs = self.jobs, jobs
        new, gone = sorted(jobs.keys() - old.keys()), sorted(old.keys() - jobs.keys())
        changed = sorted(name for name in jobs.keys() & old.keys() if repr(jobs[name]) != repr(old[name]))
        logger.info(
            "Read %s again: %s, new: %s, changed: %s, gone: %s",
            self.source,
            counted(len(jobs), "job"),
            ", ".join(new) or "none",
            ", ".join(changed) or "none",
            ", ".join(gone) or "none",
        )
        return True


class _Tables:
    """The tables of one file on their way to jobs."""

    def __init__(self, text: str, source: Source, data: Any, mistakes: list[ConfigurationError] | None = None) -> None:
        self._text, self._source, self._data, self._mistakes = text, source, data, mistakes

    def _wrong(self, error: ConfigurationError) -> None:
        """A mistake: the end, unless all of them are collected."""
        if self._mistakes is None:
            raise error
        self._mistakes.append(error)

    def _error(self, path: tuple[str, ...], problem: str, fix: str) -> ConfigurationError:
        return ConfigurationError(self._source.place(path, self._text), problem, fix)

    def jobs(self) -> dict[str, Job]:
        for section in self._section((), self._data):
            if section not in SECTIONS:
                nested = section in KEYS
                fix = "Write it below [defaults] or [jobs.NAME]" if nested else did_you_mean(section, SECTIONS)
                self._wrong(self._error((section,), "unknown key", fix or "There are [defaults] and [jobs.NAME]"))
        defaults = self._values(("defaults",), self._data.get("defaults", {}))
        tables = self._section(("jobs",), self._data.get("jobs", {}))
        if not tables:
            raise self._error(("jobs",), "no job is named", 'Write [jobs.NAME] with spider = "…" and schedule = "…"')
        jobs = {}
        for name, table in tables.items():
            try:
                jobs[name] = self._job(name, table, defaults)
            except ConfigurationError as error:
                self._wrong(error)
        return jobs

    def _section(self, path: tuple[str, ...], value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise self._error(path, f"{value!r} is not a table", f"Write it as a table, [{'.'.join((*path, 'NAME'))}]")
        return value

    def _values(self, path: tuple[str, ...], table: Any) -> dict[str, Any]:
        values = {}
        for name, value in self._section(path, table).items():
            if name not in KEYS:
                fix = did_you_mean(name, KEYS) or f"There are {', '.join(KEYS)}"
                self._wrong(self._error((*path, name), "unknown key", fix))
                continue
            try:
                values[name] = KEYS[name].check(value)
            except WrongValue as error:
                wrong = self._error((*path, name), error.problem, error.fix)
                wrong.__cause__ = error
                self._wrong(wrong)
        return values

    def _job(self, name: str, table: Any, defaults: dict[str, Any]) -> Job:
        path = ("jobs", name)
        if not NAME.fullmatch(name):
            raise self._error(
                path,
                f"{name!r} can't be the name of a job",
                "Use letters, digits, _ . and -, 100 at most: it names files",
            )
        own = self._values(path, table)
        values = {**defaults, **own}
        for key in ("args", "settings"):
            if key in values:
                values[key] = {**defaults.get(key, {}), **own.get(key, {})}
        for key, spec in KEYS.items():
            if spec.required and key not in values:
                raise self._error(path, f"{key} is missing", f"Add a line {key} = …")
        zone = values.pop("timezone", "UTC")
        key = "schedule"
        try:
            Schedule("@daily", zone)  # so that the error names the right key
            values["schedule"] = Schedule(values["schedule"], zone, name)
        except BadSchedule as error:
            key = "timezone" if "time zone" in error.problem else "schedule"
            where = (*path, key) if key in own else ("defaults", key)
            raise self._error(where, error.problem, error.fix) from error
        job = Job(name=name, **values)
        if job.workers > 1 and job.executor != "queue":
            raise self._error(
                (*path, "workers"),
                "several workers need waiting ones",
                'Add executor = "queue", and start `scrapy mocra worker` that often',
            )
        return job
