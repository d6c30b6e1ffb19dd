"""``setup.cfg`` names every package and every kind of file that the code needs (``make wheel-test``
installs and tests the result).
"""

from __future__ import annotations

import configparser
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]


def config() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_every_package_is_named() -> None:
    named = set(config()["options"]["packages"].split())
    package = ROOT / "mocra_scrapy"
    folders = {p.parent for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert named == found | {"mocra_scrapy.project_template"}


def test_every_file_is_named() -> None:
    data = {name: value.split() for name, value in config()["options.package_data"].items()}
    for path in (ROOT / "mocra_scrapy").rglob("*"):
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
            patterns = data.get(".".join(path.parent.relative_to(ROOT).parts), [])
            assert any(fnmatch(path.name, pattern) for pattern in patterns), path
    template = ROOT / "project_template"
    hidden = [str(p.relative_to(template)) for p in template.rglob(".*") if p.is_file()]
    assert set(hidden) <= set(data["mocra_scrapy.project_template"])
