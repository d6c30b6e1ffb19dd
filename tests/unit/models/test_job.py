"""Whose a crawl is: what is kept of arguments, and when two are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from mocra_scrapy.models import Job
from mocra_scrapy.settings.default_settings import MOCRA_SECRET_PARAMS


def job(**arguments: object) -> Job:
    return Job.of("shop", "books", arguments, MOCRA_SECRET_PARAMS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"n": "1"}, {"n": 1}),
        ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}),
        ({"_job": "x"}, {"_job": "y"}),
        ({"db": object()}, {"db": object()}),
        ({"many": {"x", "y", "z"}}, {"many": {"z", "y", "x"}}),
        ({"many": [object(), {"k": object()}]}, {"many": [object(), {"k": object()}]}),
        ({"folder": Path("a/b")}, {"folder": "a/b"}),
    ],
)
def test_the_same_job(one: dict[str, object], other: dict[str, object]) -> None:
    assert job(**one).digest == job(**other).digest
    assert job(**one).differences(job(**other)) == []


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        ({"n": "1"}, {"n": "2"}, ["n is '1', was '2'"]),
        ({"n": "1"}, {}, ["-a n=1 is new"]),
        ({}, {"n": "1"}, ["-a n=1 is missing"]),
        ({"API_KEY": "1"}, {"API_KEY": "2"}, ["API_KEY is another one"]),
        ({"my_Password": "1"}, {}, ["-a my_Password=*** is new"]),
        ({"url": "https://u:1@s/"}, {"url": "https://u:2@s/"}, ["url is another one"]),
        ({"n": "x" * 999}, {"n": "x" * 999 + "y"}, ["n is another one"]),
        ({"n": ["a", "b"]}, {"n": ["b", "a"]}, ["n is '[a, b]', was '[b, a]'"]),
    ],
)
def test_another_job(mine: dict[str, object], theirs: dict[str, object], told: list[str]) -> None:
    assert job(**mine).digest != job(**theirs).digest
    assert job(**mine).differences(job(**theirs)) == told


def test_it_comes_back_from_the_store() -> None:
    mine = job(n="1", token="t0p", surrogate="\udcff", long="ü" * 999)
    assert Job.from_text(mine.to_text()) == mine
    assert Job.from_text(mine.to_text()).digest == mine.digest
    assert "t0p" not in mine.to_text()
    for damaged in ("", "[]", "{}", "null", b"\xff", '{"project": 1, "spider": 2, "arguments": {"a": 3}}'):
        with pytest.raises(ValueError):
            Job.from_text(damaged)


def test_equal_values_look_different_in_another_crawl() -> None:
    digests = {
        Job.of(project, spider, {name: "secret"}).arguments[name].digest
        for project, spider, name in (("a", "b", "c"), ("x", "b", "c"), ("a", "x", "c"), ("a", "b", "x"))
    }
    assert len(digests) == 4


def test_a_refusal_names_the_ways_out() -> None:
    mine, theirs = job(n="1"), job(n="2")
    told = str(mine.refused_by(theirs, "shop:books"))
    for part in ("n is '1', was '2'", "(-a n=2)", "MOCRA_CRAWL=shop:books-2", "MOCRA_FRESH=1"):
        assert part in told
    assert "(without -a)" in str(mine.refused_by(job(), "shop:books"))
    assert "can't be read" in str(mine.refused_by(None, "shop:books"))
    assert "as it was begun" not in str(mine.refused_by(Job.of("x", "y", {}), "shop:books"))
