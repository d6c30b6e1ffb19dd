"""The rules of ``mocra_scrapy.interfaces`` and the tests of this folder are the same list."""

from __future__ import annotations

import re
from pathlib import Path

from mocra_scrapy import interfaces

HERE = Path(__file__).parent


def _contracts() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path(interfaces.__file__).parent.glob("*.py")))


def rules() -> list[str]:
    return re.findall(r"\[([a-z0-9]+(?:_[a-z0-9]+)+)\]", _contracts())


def covered() -> list[str]:
    sources = [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("test_*_rules.py"))]
    return re.findall(r"^(?:async )?def test_(\w+)\(", "\n".join(sources), re.MULTILINE)


def test_no_rule_is_named_twice() -> None:
    assert len(rules()) == len(set(rules())) >= 48
    assert len(covered()) == len(set(covered()))


def test_every_rule_has_a_test() -> None:
    assert set(rules()) - set(covered()) == set()


def test_every_test_has_a_rule() -> None:
    assert set(covered()) - set(rules()) == set()


def test_every_rule_is_judged_on_every_backend() -> None:
    for path in HERE.glob("test_*_rules.py"):
        for head in re.findall(r"^(?:async )?def test_\w+\(.*$", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert "harness: Harness" in head
