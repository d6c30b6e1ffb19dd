"""What a package index shows: links that lead somewhere, each Python version that is tested, and no
extra that nothing needs. ``make wheel-test`` has twine look at what is built.
"""

from __future__ import annotations

import ast
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.backends.kafka.client import OLDEST

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")
PYTHON = re.compile(r"Programming Language :: Python :: 3\.(\d+)")
BOUND = re.compile(r"(?P<name>[\w.-]+)(\[.*\])?>=(?P<version>[\d.]+)")
#: Extras for work on the project, not for its users.
OURS = {"test", "docs", "bench"}


@pytest.fixture(scope="module")
def setup_file() -> Any:
    spec = spec_from_file_location("setup_of_mocra_scrapy", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def relative(text: str) -> set[str]:
    return {target for _, target in LINK.findall(text) if "://" not in target}


def test_an_index_page_has_no_link_that_leads_nowhere(setup_file: Any, readme: str) -> None:
    assert len(relative(readme)) > 20
    shown = setup_file.readme_for_index(readme)
    assert not relative(shown)
    assert "[Scrapy](https://scrapy.org)" in shown
    assert "[Quickstart]" not in shown
    assert "Quickstart" in shown
    assert "![" not in shown
    assert setup_file.ELSEWHERE in shown


def test_with_a_place_for_the_tree_each_link_leads_there(setup_file: Any, readme: str) -> None:
    tree = "https://example.com/tree/1.0/"
    shown = setup_file.readme_for_index(readme, tree)
    found = {target.removeprefix(tree) for _, target in LINK.findall(shown) if target.startswith(tree)}
    assert found == relative(readme)
    assert not relative(shown)


def test_each_link_names_a_file(readme: str) -> None:
    missing = [target for target in relative(readme) if not (ROOT / target.partition("#")[0]).is_file()]
    assert not missing


def test_each_python_version_has_its_classifier() -> None:
    named = {int(minor) for line in PROJECT["classifiers"] if (minor := "".join(PYTHON.findall(line)))}
    least = int(PROJECT["requires-python"].removeprefix(">=3."))
    assert named == set(range(least, max(named) + 1)), "no gap, and none below requires-python"
    assert sys.version_info.minor in named, "what runs this test is tested"


def imported() -> set[str]:
    """The first names of all modules that the package imports, wherever it does."""
    found = set()
    for path in (ROOT / "mocra_scrapy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


@pytest.mark.slow
def test_each_extra_has_code_behind_it() -> None:
    names = imported()
    for extra, needs in PROJECT["optional-dependencies"].items():
        if extra in OURS:
            continue
        for need in needs:
            name = re.split(r"[\[<>=!~; ]", need)[0]
            if name == PROJECT["name"]:  # an extra made of others
                inside = set(re.findall(r"[\w-]+", need.partition("[")[2].partition("]")[0]))
                assert inside <= set(PROJECT["optional-dependencies"]), extra
            else:
                assert name.replace("-", "_") in names, f"{extra}: nothing imports {name}"


def bounds() -> dict[str, str]:
    """The oldest version of what users install with the project: name -> version, as it is written."""
    needs = list(PROJECT["dependencies"])
    for extra, more in PROJECT["optional-dependencies"].items():
        needs += more if extra not in {*OURS, "playwright"} else []  # the oldest lane has no browser
    found = [BOUND.match(need) for need in needs]
    return {one["name"]: one["version"] for one in found if one}


def test_the_oldest_version_of_each_dependency_is_what_the_oldest_lane_installs() -> None:
    """Or a bound is a guess."""
    pins = dict(
        line.split("==")
        for line in (ROOT / "tools" / "oldest.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    for name, version in bounds().items():
        assert pins[name].startswith(version), f"{name}>={version} in pyproject.toml"
        assert not pins[name][len(version) :].strip(".0"), f"{name}=={pins[name]} in tools/oldest.txt"


def test_a_client_of_kafka_that_is_too_old_is_refused_where_a_project_has_one() -> None:
    assert bounds()["confluent-kafka"] == ".".join(map(str, OLDEST))
