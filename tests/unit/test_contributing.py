"""CONTRIBUTING leads a newcomer to a folder that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (.+?) \| \[`([\w/]+)`\]\(([\w/]+)\) \| (.+) \|$", re.MULTILINE)
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TABLE = ROW.findall(TEXT[TEXT.index("| you want to… | look at… |") : TEXT.index("## How we work")])


def test_there_is_a_folder_for_each_of_twenty_wishes() -> None:
    assert len(TABLE) >= 20
    assert len({wish for wish, *_ in TABLE}) == len(TABLE)
    for wish, shown, target, _ in TABLE:
        assert shown == target, wish
        assert (ROOT / target).is_dir(), wish


def test_files_that_are_named_beside_it_exist() -> None:
    known = {path.name for folder in ("mocra_scrapy", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.*")}
    for wish, *_, hint in TABLE:
        for name in re.findall(r"`([\w/.]+)`", hint):
            path = Path(name)
            if path.suffix in {".py", ".lua"}:
                assert path.name in known, wish
            elif "/" in name:
                assert (ROOT / name).exists(), wish


def test_every_folder_of_the_package_is_somebodys_wish() -> None:
    """Nobody has to guess where a room is; those that need no row are named here."""
    rows = {target for _, _, target, _ in TABLE} | set(re.findall(r"`(mocra_scrapy/[\w/]+)`", TEXT))
    folders = {
        f"mocra_scrapy/{path.name}" for path in (ROOT / "mocra_scrapy").iterdir() if (path / "__init__.py").exists()
    }
    missing = {folder for folder in folders if not any(row.startswith(folder) for row in rows)}
    assert missing <= {"mocra_scrapy/models", "mocra_scrapy/spidermiddlewares"}
