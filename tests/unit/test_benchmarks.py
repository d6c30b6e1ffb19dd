"""The benchmarks can be started: nothing else imports them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_owners_of_the_profile_are_there() -> None:
    """A file that moved would be counted for somebody else."""
    for part, _ in importlib.import_module("benchmarks.sampling").OWNERS:
        if part.startswith("mocra_scrapy/"):
            assert any(f"{part}" in path.as_posix() for path in (FOLDER.parent / "mocra_scrapy").rglob("*.py")), part


def test_the_look_at_the_wire_is_measured() -> None:
    """It is made of a worker's parts, which move."""
    assert importlib.import_module("benchmarks.limits").wire_check(100) > 0


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"))
def test_each_module_is_imported(name: str) -> None:
    if name == "__main__":
        return  # imports the others when it is read, and runs
    importlib.import_module(f"benchmarks.{name}")
