"""``docs/architecture`` shows the package as it is: its picture, its table and its tree."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import mocra_scrapy

from .test_floors import SHELLS, TABLE

ROOT = Path(__file__).parents[2]
CODE = Path(mocra_scrapy.__file__).parent
PAGE = (ROOT / "docs" / "architecture.rst").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def source() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "pictures" / "rooms.py"))


def test_the_picture_is_that_of_its_source(source: dict[str, Any]) -> None:
    drawn = source["TARGET"].read_text(encoding="utf-8")
    assert drawn == source["draw"](), "run python docs/pictures/rooms.py"
    assert PAGE.index("_static/rooms.svg") < PAGE.index("\n----"), "the page begins with it"


def test_each_room_is_drawn(source: dict[str, Any]) -> None:
    names = {name.rpartition(".")[2] for name in (*TABLE, *SHELLS)}
    assert source["rooms"]() == names
    shown = {text.text for text in ElementTree.fromstring(source["draw"]()).iter("{http://www.w3.org/2000/svg}text")}
    assert names <= shown


def test_boxes_stand_beside_each_other(source: dict[str, Any]) -> None:
    boxes = source["BOXES"]
    for at, one in enumerate(boxes):
        assert one.x + one.width <= source["WIDTH"]
        for other in boxes[:at]:
            beside = one.x >= other.x + other.width or other.x >= one.x + one.width
            assert beside or one.y >= other.y + other.height or other.y >= one.y + one.height, (one, other)


def test_the_steps_are_counted_and_told(source: dict[str, Any]) -> None:
    steps = sorted([source["YIELD"][2], *(box.step for box in source["BOXES"] if box.step)])
    assert steps == list(range(1, len(steps) + 1))
    assert [int(number) for number in re.findall(r"^(\d)\. ", PAGE, re.MULTILINE)] == steps


def test_the_table_of_imports_is_the_one_that_is_asserted() -> None:
    rows = re.findall(r"^   \* - ``([\w.]+)``\n     - (.*)\n", PAGE[: PAGE.index("Folder by folder")], re.MULTILINE)
    told = {room: set(re.findall(r"``([\w.]+)``", others)) for room, others in rows}
    open_to_all = {"models", "exceptions", "signals", "_lazy", "_tasks", "_version"}
    assert told == {room: others for room, others in TABLE.items() if room not in open_to_all}


def test_the_tree_names_every_folder() -> None:
    tree = PAGE[PAGE.index("   mocra_scrapy/\n") : PAGE.index("``dupefilters.py``, ``scheduler.py``")]
    path: list[str] = []
    told = set()
    for spaces, name in re.findall(r"^( {5,})(\w+)/ ", tree, re.MULTILINE):
        path[(len(spaces) - 5) // 2 :] = [name]
        told.add("/".join(path))
    files = [*CODE.rglob("*.py"), *CODE.rglob("*.lua")]
    folders = {path.parent.relative_to(CODE).as_posix() for path in files} - {"."}
    assert told == {name for name in folders if not name.startswith("project_template")}


def test_each_file_of_a_worker_is_described() -> None:
    for path in (CODE / "worker").glob("*.py"):
        assert path.name == "__init__.py" or f"``{path.name}``" in PAGE, path.name


def test_nothing_is_left_of_a_merge() -> None:
    """Neither its marks nor two tables in place of one."""
    for path in CODE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^(={7}|[<>|]{7}( .*)?)$", text, re.MULTILINE), path
    for path in CODE.rglob("__init__.py"):
        rows = re.findall(r"^(``[\w*/]+\.py``) ", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(rows) == len(set(rows)), path
