from __future__ import annotations

from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.traps import TrapRules, read_traps


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://a.test/", ""),
        ("http://a.test/a/b/a/b/a/b", ""),
        ("http://a.test/a/b/a/b/a/b/a", "segment_repeats"),
        ("http://a.test/a/a/a/a/", "segment_repeats"),
        ("http://a.test/x//y////z", "segment_repeats"),
        ("http://a.test/?a=/b/b/b/b/b/", ""),
        ("http://a.test/" + "/".join(map(str, range(20))), ""),
        ("http://a.test/" + "/".join(map(str, range(20))) + "/", ""),
        ("http://a.test/" + "/".join(map(str, range(21))), "path_depth"),
        ("http://a.test/?" + "&".join(f"p{n}={n}" for n in range(20)), ""),
        ("http://a.test/?" + "&".join(f"p{n}={n}" for n in range(21)), "parameters"),
        ("http://a.test/?" + ";".join(f"p{n}={n}" for n in range(21)), "parameters"),
        ("http://a.test/" + "x" * (1000 - len("http://a.test/")), ""),
        ("http://a.test/" + "x" * (1001 - len("http://a.test/")), "url_length"),
    ],
)
def test_what_looks_like_a_trap(url: str, rule: str) -> None:
    assert TrapRules().broken_by(url) == rule
    assert TrapRules(0, 0, 0, 0).broken_by(url) == "", "0 is no bound"


@pytest.mark.parametrize(
    ("value", "rules"),
    [
        (None, None), (False, None), ("0", None), ("False", None), ("", None),
        (True, TrapRules()), ("1", TrapRules()), ("true", TrapRules()), ({}, TrapRules()),
        ({"path_depth": 30}, TrapRules(path_depth=30)), ('{"path_depth": 30}', TrapRules(path_depth=30)),
        ({"parameters": None, "url_length": 0}, TrapRules(parameters=0, url_length=0)),
    ],
)  # fmt: skip
def test_the_setting(value: Any, rules: TrapRules | None) -> None:
    assert read_traps(Settings({"MOCRA_TRAPS": value})) == rules


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("perhaps", "neither true, false nor a dict"),
        ("[1]", "neither true, false nor a dict"),
        ({"depth": 1}, "'depth' is unknown"),
        ({"path_depth": -1}, r"MOCRA_TRAPS\['path_depth'\]"),
        ({"path_depth": "deep"}, r"MOCRA_TRAPS\['path_depth'\]"),
    ],
)
def test_what_is_wrong_is_named_with_the_fix(value: Any, told: str) -> None:
    settings = Settings()
    settings.set("MOCRA_TRAPS", value)
    with pytest.raises(ConfigurationError, match=told):
        read_traps(settings)
