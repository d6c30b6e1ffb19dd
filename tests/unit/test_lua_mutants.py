"""The wrong lines that are tried on the Lua scripts fit the scripts as they are."""

from __future__ import annotations

import pytest

from tests.mutation.lua import SCRIPTS, lua_mutants

MUTANTS = lua_mutants()


@pytest.mark.parametrize("file", sorted(str(path.relative_to(SCRIPTS)) for path in SCRIPTS.rglob("*.lua")))
def test_each_file_has_some_that_change_it(file: str) -> None:
    mine = [mutant for mutant in MUTANTS if mutant.file == file]
    assert mine
    before = (SCRIPTS / file).read_text("utf-8")
    assert all(mutant.source() != before for mutant in mine), "each is there once, and is changed"


def test_none_is_there_twice() -> None:
    assert len(set(MUTANTS)) == len(MUTANTS)
