"""The public surface and ``docs/reference`` are the same list, both ways."""

from __future__ import annotations

import argparse
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

import mocra_scrapy
from mocra_scrapy import exceptions, interfaces, signals
from mocra_scrapy.commands import cron
from mocra_scrapy.commands.mocra import VERBS
from mocra_scrapy.commands.verbs import dead
from mocra_scrapy.cron.alert_rules import EVENTS
from mocra_scrapy.cron.jobs import KEYS, Job
from mocra_scrapy.cron.state import ENDED, INTENDED, OUTCOMES, QUEUED, RUNNING, WAITING
from mocra_scrapy.events.envelope import Record, Source
from mocra_scrapy.events.records import EVENTS as EVENTS_TOLD
from mocra_scrapy.events.records import CrawlFinished
from mocra_scrapy.models import REASONS, DeadLetter
from mocra_scrapy.models.failure_kinds import GROUPS, KINDS
from mocra_scrapy.settings import default_settings
from mocra_scrapy.settings.budgets import BUDGETS
from mocra_scrapy.settings.traps import TrapRules
from mocra_scrapy.worker.deliveries import GRAVITY
from mocra_scrapy.worker.settlement import STATS

CODE = Path(mocra_scrapy.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"


def reference(name: str) -> str:
    return (DOCS / "reference" / f"{name}.rst").read_text(encoding="utf-8")


def sources() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in CODE.rglob("*.py"))


def test_settings() -> None:
    documented = dict(re.findall(r"^``(MOCRA_\w+)`` \(default ``(.*?)``", reference("settings"), re.MULTILINE))
    defaults = {name: getattr(default_settings, name) for name in dir(default_settings) if name.startswith("MOCRA_")}
    assert set(documented) == set(defaults)
    for name, value in defaults.items():
        assert documented[name].replace('"', "'") == repr(value), name
    used = set(re.findall(r"\bMOCRA_[A-Z_]+[A-Z]\b", sources()))
    assert used <= set(defaults), "a setting that no default names"


def test_stats() -> None:
    documented = re.findall(r"``(mocra/[\w/]+)``", reference("stats"))
    assert len(documented) == len(set(documented))
    counted = set(re.findall(r'"(mocra/[\w/]+)"', sources()))
    families = set(re.findall(r'f"(mocra/[^"]*)"', sources()))
    members = {
        "mocra/breaker/failures/{kind}": {f"mocra/breaker/failures/{kind}" for kind in KINDS},
        "mocra/trap/filtered/{rule}": {f"mocra/trap/filtered/{rule.name}" for rule in fields(TrapRules)},
        "mocra/budget/refused/{which}": {f"mocra/budget/refused/{budget}" for budget in BUDGETS},
        "mocra/scheduler/unserializable/{part}": set(),
    }
    assert families == set(members), "a family of stats that nobody compares"
    assert set(documented) == counted.union(*members.values())


def test_kinds_of_failures() -> None:
    text = (DOCS / "guides" / "failing-sites.rst").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^   \* - ``(\w+)``\n     - .*\n     - (.*)$", text, re.MULTILINE))
    assert list(rows) == list(KINDS)
    for kind, group in rows.items():
        assert {name for name, kinds in GROUPS.items() if kind in kinds} == set(re.findall(r"``(\w+)``", group))


def test_meta_keys() -> None:
    code = set(re.findall(r'meta(?:\.get\(|\.pop\(|\[)"(\w+)"', sources())) | set(
        re.findall(r'"(mocra_\w+)" in \w*meta', sources())
    )
    heads = re.findall(r"^(``\w+``(?:, ``\w+``)*)$", reference("meta"), re.MULTILINE)
    documented = {key for head in heads for key in re.findall(r"\w+", head)}
    assert {key for key in code if not key.startswith("_")} <= documented | {"proxy"}
    assert documented <= code | {"proxy", "download_slot", "max_retry_times"}  # the last one only Scrapy's code reads


def test_signals() -> None:
    documented = set(re.findall(r"^   \* - ``(\w+)``", reference("signals"), re.MULTILINE))
    assert documented == {name for name, value in vars(signals).items() if type(value) is object}


def test_events() -> None:
    text = reference("events")
    rows = re.findall(r"^   \* - ``([a-z]+\.[a-z_]+)``\n     -(.*)\n     -(.*)$", text, re.MULTILINE)
    assert [name for name, *_ in rows] == list(EVENTS_TOLD), "in the order of the code"
    for name, told, sent in rows:
        kind = EVENTS_TOLD[name]
        shown = re.findall(r"``(\w+)``", re.sub(r"\(.*?\)", "", told))
        assert shown == [spec.name for spec in fields(kind)], name
        assert kind.bulk == sent.endswith("; sampled"), name
    heads = re.findall(r"^   \* - ``(\w+)``$", text, re.MULTILINE)
    assert heads == list(Record(CrawlFinished(), Source("w"), 1, 0.0).told())


def test_commands() -> None:
    documented = set(re.findall(r"^``scrapy mocra (\w+)", reference("commands"), re.MULTILINE))
    assert documented == set(VERBS)


def test_cron_verbs() -> None:
    assert set(re.findall(r"^``scrapy cron (\w+)", reference("commands"), re.MULTILINE)) == set(cron.VERBS)


def test_keys_of_the_jobs_file() -> None:
    heads = dict(re.findall(r"^``(\w+)`` \((.*)\)$", reference("cron"), re.MULTILINE))
    assert set(heads) == set(KEYS)
    assert {name for name, head in heads.items() if "required" in head} == {n for n, k in KEYS.items() if k.required}
    empty = {"args": "{}", "settings": "{}", "tags": "[]"} | dict.fromkeys(EVENTS, "[]")
    for spec in fields(Job):
        if spec.name in ("name", "success", "expect") or KEYS[spec.name].required:
            continue
        shown = empty.get(spec.name) or (f'"{spec.default}"' if isinstance(spec.default, str) else str(spec.default))
        assert f"default ``{shown if spec.name != 'enabled' else 'true'}``" in heads[spec.name], spec.name
    assert 'default ``"UTC"``' in heads["timezone"]


def test_states_of_cron_runs() -> None:
    documented = re.findall(r"^   \* - ``(\w+)``", reference("cron"), re.MULTILINE)
    assert set(documented) == {WAITING, QUEUED, INTENDED, RUNNING, ENDED, *OUTCOMES}


def test_dead_letter_reasons() -> None:
    text = reference("dead-letters").partition("Errors in callbacks")[0]
    documented = set(re.findall(r"^   \* - ``(\w+)``", text, re.MULTILINE))
    lua = "\n".join(path.read_text(encoding="utf-8") for path in CODE.rglob("*.lua"))
    given = set(re.findall(r'Burial\(\s*\w+, "(\w+)"', sources())) | set(
        re.findall(r"(?:bury|write)\(placed, count, '(\w+)'", lua)
    )
    given |= set(re.findall(r'\.fail\(\s*"(\w+)"', sources()))
    assert documented == set(REASONS) == given
    assert {f"mocra/dead/{reason}" for reason in STATS} == set(STATS.values())
    assert set(STATS) == set(REASONS) - {"deliveries", "seed", "stalled", "unreadable"}, "these have stats of their own"
    assert set(GRAVITY) == set(STATS) - {"item"}


def test_dead_letter_fields() -> None:
    text = reference("dead-letters").partition("Fields")[2]
    heads = re.findall(r"^   \* - (``\w+``(?:, ``\w+``)*)$", text, re.MULTILINE)
    assert {name for head in heads for name in re.findall(r"\w+", head)} == {f.name for f in fields(DeadLetter)}


def test_options_of_the_dead_command() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    dead.verb().add_options(parser)
    flags = {flag for action in parser._actions for flag in action.option_strings}
    text = reference("commands")
    assert flags <= set(re.findall(r"(?<![\w-])(--?[a-z]+)", text))
    actions = next(action for action in parser._actions if action.dest == "action")
    assert f"``scrapy mocra dead {'|'.join(actions.choices or ())} " in text
    assert set(re.findall(r"^   ``(\w+)(?: ID …)?``$", text, re.MULTILINE)) == set(actions.choices or ())


def test_keys_on_the_server() -> None:
    library = next(CODE.rglob("lua/lib"))
    meta = (library / "meta.lua").read_text(encoding="utf-8")
    table = set(re.findall(r"^--   (\S+?)(?::<.*)? +(?:zset|hash|list|set|string) ", meta, re.MULTILINE))
    coordination = (library / "coordination.lua").read_text(encoding="utf-8")
    table |= set(re.findall(r"^--   (?:\{\+.*?\}|…) (\w+) +(?:zset|hash|string) ", coordination, re.MULTILINE)) - {
        "skew"
    }
    assert {"meta", "ready", "dead:at", "f", "term"} <= table
    documented = set(re.findall(r"^   \* - ``(\w+)", reference("keys"), re.MULTILINE))
    assert documented == {name.partition(":")[0] for name in table}


@pytest.mark.parametrize("name", [n for n, v in vars(exceptions).items() if inspect.isclass(v)])
def test_exceptions_are_drawn_in_the_tree(name: str) -> None:
    assert name in (exceptions.__doc__ or "")


def test_interfaces_are_documented() -> None:
    shown = set(re.findall(r"literalinclude:: ../../mocra_scrapy/interfaces/(\w+)\.py", reference("interfaces")))
    for name in interfaces.__all__:
        getattr(interfaces, name)  # imported when asked for
    assert shown == {
        Path(module.__file__ or "").stem for module in vars(interfaces).values() if inspect.ismodule(module)
    }
    assert set(interfaces.__all__) == {name for name, value in vars(interfaces).items() if hasattr(value, "names")}
    for name in interfaces.__all__:
        for method in vars(interfaces)[name].names():
            assert vars(interfaces)[name][method].getDoc(), f"{name}.{method} has no docstring"


@pytest.mark.parametrize("page", ["guarantees.rst", "testing.rst"])
def test_pages_name_tests_that_exist(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    named = re.findall(r"``(test_\w+)``", text)
    assert len(named) >= 10
    assert [name for name in named if f"def {name}(" not in tests] == []
    assert [p for p in re.findall(r"``(tests/[\w/]+\.py)``", text) if not (DOCS.parent / p).is_file()] == []


def test_links_of_the_readme_lead_somewhere() -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (DOCS.parent / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (DOCS.parent / target).exists(), f"{page}: {target}"


def test_changes_name_the_version() -> None:
    assert mocra_scrapy.__version__ in (DOCS.parent / "CHANGES.md").read_text(encoding="utf-8")
