"""How the Lua scripts are put together: libraries in front, each once; few names of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mocra_scrapy.backends.redis import (
    audit,
    breaker,
    budget_blocks,
    budgets_look,
    cache,
    cache_sets,
    dead_letters,
    dictionaries,
    election,
    inspection,
    limiter,
    locks,
    logged,
    proxies,
    queue,
    reset,
    seed_keys,
    shards,
    shared,
    stalls,
    workers,
)
from mocra_scrapy.backends.redis.connection.scripts import Script, load_script, uses_of

FOLDER = Path(queue.__file__).parent / "lua"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.lua"))
LIBRARIES = sorted(path.stem for path in (FOLDER / "lib").glob("*.lua"))
MODULES = (
    audit,
    breaker,
    budget_blocks,
    budgets_look,
    cache,
    cache_sets,
    dead_letters,
    dictionaries,
    election,
    inspection,
    limiter,
    locks,
    logged,
    proxies,
    queue,
    reset,
    seed_keys,
    shards,
    shared,
    stalls,
    workers,
)


def source(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")


def names(text: str) -> list[str]:
    """The local names at the top level. Lua allows 200 of them, and 60 from outside a function."""
    functions = re.findall(r"^local function (\w+)", text, re.MULTILINE)
    values = re.findall(r"^local (?!function)([\w, ]+?)(?: =|$| *--)", text, re.MULTILINE)
    return functions + [name.strip() for some in values for name in some.split(",")]


def mentioned(text: str) -> set[str]:
    """The libraries whose functions or values a file uses."""
    code = re.sub(r"--.*|'[^']*'", "", text)
    return {name for name in LIBRARIES if re.search(rf"(?<![\w.:])(?<!function ){name}(?:\.\w|\()", code)}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_few_names_of_its_own(name: str) -> None:
    assert len(names(source(name))) <= 25
    assert len(names(load_script(name).text)) <= 55


@pytest.mark.parametrize("name", [*SCRIPTS, *(f"lib/{name}" for name in LIBRARIES)])
def test_a_file_names_what_it_uses(name: str) -> None:
    text = source(name)
    own = {name.removeprefix("lib/")} if name.startswith("lib/") else set()
    assert set(uses_of(text)) == mentioned(text) - own
    assert len(text.splitlines()) <= 330
    assert max(map(len, text.splitlines())) <= 130


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_is_one_name(name: str) -> None:
    assert names(source(f"lib/{name}")) == [name]


def test_libraries_come_once_and_after_what_they_use() -> None:
    text = load_script("breaker_report").text
    order = [name for name in names(text) if name in LIBRARIES]
    assert len(order) == len(set(order))
    for i, name in enumerate(order):
        assert set(uses_of(source(f"lib/{name}"))) <= set(order[:i])
    assert text.endswith(source("breaker_report"))


def test_every_script_is_somebodys() -> None:
    loaded = [one.name for module in MODULES for one in vars(module).values() if isinstance(one, Script)]
    assert set(loaded) == set(SCRIPTS)
    used = {name for script in SCRIPTS for name in names(load_script(script).text)}
    assert used >= set(LIBRARIES)
