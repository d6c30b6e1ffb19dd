"""Limits by settings: what Scrapy's own mean, what ``MOCRA_THROTTLE`` adds, and what is wrong with
a rule.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import APART, Quota, RuleSet, SlotLimit, digest_of, slot_name
from mocra_scrapy.settings.crawl import read_options
from mocra_scrapy.settings.throttle import read_limits
from mocra_scrapy.settings.throttle_rules import PRESETS, Pace, parse_rate

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("60/m", 1),
        ("5/s", 0.2),
        ("1/10s", 10),
        ("0.2/s", 5),
        ("30/min", 2),
        (" 3600 / hour ", 1),
        ("2/d", 43_200),
        (4, 0.25),
        (0.5, 2),
    ],
)
def test_rates(text: Any, interval: float) -> None:
    assert parse_rate(text, "x") == pytest.approx(interval)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast",
        "60",
        "60/",
        "/m",
        "60/m/s",
        "60/y",
        "0/s",
        "-1/s",
        "1e9/s",
        "inf/s",
        "nan/s",
        0,
        -1,
        True,
        None,
        [],
        "1/99999d",
        1e12,
        float("nan"),
        float("inf"),
    ],
)
def test_a_malformed_rate_is_told(text: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^MOCRA_THROTTLE\['s'\]: ") as raised:
        read_limits(Settings({"MOCRA_THROTTLE": {"s": text}}))
    assert raised.value.fix


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ({"rates": "1/s"}, "'rates' is unknown"),
        ({"rate": "1/s", "delay": 1}, "a rate and a delay"),
        ({"delay": -1}, "['delay']: -1 is out of range"),
        ({"delay": "soon"}, "['delay']"),
        ({"delay": 1e9}, "['delay']"),
        ({"burst": 0}, "['burst']"),
        ({"burst": 1.5}, "['burst']"),
        ({"concurrency": -1}, "['concurrency']"),
        ({"concurrency": True}, "['concurrency']"),
        ({"jitter": 1.1}, "['jitter']"),
        ({"scopes": 7}, "['scopes']"),
        ({"scopes": ["nobody"]}, "there is no '@nobody'"),
    ],
)
def test_a_wrong_rule_is_told(rule: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_limits(Settings({"MOCRA_THROTTLE": {"s": rule}}))
    assert part in str(raised.value)
    assert raised.value.subject.startswith("MOCRA_THROTTLE['s']")


def test_scopes_have_no_scopes_and_need_one_shard() -> None:
    with pytest.raises(ConfigurationError, match="a scope has scopes"):
        read_limits(Settings({"MOCRA_THROTTLE": {"@a": {"rate": "1/s", "scopes": ["b"]}, "@b": "1/s"}}))
    with pytest.raises(ConfigurationError, match="MOCRA_SHARDS: scopes"):
        read_options(Settings({"MOCRA_THROTTLE": {"@a": "1/s"}, "MOCRA_SHARDS": 2}), "books")
    assert read_options(Settings({"MOCRA_THROTTLE": {"@a": "1/s"}, "MOCRA_SHARDS": 1}), "books").queue.scopes


def test_rules_need_the_cluster() -> None:
    with pytest.raises(ConfigurationError, match='is "worker"'):
        read_limits(Settings({"MOCRA_THROTTLE": {"s": "1/s"}, "MOCRA_THROTTLE_SCOPE": "worker"}))
    assert read_options(Settings({"MOCRA_THROTTLE_SCOPE": "worker"}), "books").queue.rules is None


@pytest.mark.parametrize("name", ["DOWNLOAD_DELAY", "DOWNLOAD_SLOTS"])
def test_negative_delays_of_scrapy_are_told(name: str) -> None:
    value: Any = -1 if name == "DOWNLOAD_DELAY" else {"s": {"delay": -1}}
    with pytest.raises(ConfigurationError) as raised:
        read_limits(Settings({name: value}))
    assert raised.value.subject.startswith(name)


def test_what_scrapys_settings_mean() -> None:
    settings = {
        "DOWNLOAD_DELAY": 2,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 3,
        "DOWNLOAD_SLOTS": {"slow": {"delay": 9, "concurrency": 1, "randomize_delay": False}, "few": {"concurrency": 2}},
    }
    limits = read_limits(Settings(settings))
    assert limits.default == SlotLimit(2, 1, 3, 0.5, floor=2)
    assert limits.of("slow") == SlotLimit(9, 1, 1, 0, floor=9)
    assert limits.of("few") == SlotLimit(2, 1, 2, 0.5, floor=2)
    assert limits.of("other") == limits.default
    assert limits.rule_set() == RuleSet(limits.default, {name: limits.of(name) for name in ("slow", "few")})
    assert read_limits(Settings({"RANDOMIZE_DOWNLOAD_DELAY": False})).default.jitter == 0


def test_a_delay_of_the_spider_counts_where_it_is_given() -> None:
    assert read_limits(Settings({"DOWNLOAD_DELAY": 2}), 7).default.interval == 7
    assert read_limits(Settings({"DOWNLOAD_DELAY": 2}), 0).default.interval == 0


def test_rules_over_scrapys_settings() -> None:
    rules = {
        "api.test": "60/m",
        "*.test": {"rate": "2/s", "burst": 5, "concurrency": 2, "scopes": "gateway"},
        "x*": {"delay": 4, "jitter": 0.25},
        "*": {"concurrency": 6},
        "@gateway": {"concurrency": 10},
        "@account": "1/s",
    }
    limits = read_limits(Settings({"MOCRA_THROTTLE": rules, "DOWNLOAD_DELAY": 3}))
    assert limits.of("api.test") == SlotLimit(1, 1, 8, 0, floor=1), (
        "an exact name wins; a rate is meant as it is written"
    )
    assert limits.of("shop.test") == SlotLimit(0.5, 5, 2, 0, floor=0.5)
    assert limits.of("xyz") == SlotLimit(4, 1, 8, 0.25, floor=4), "the first pattern that matches"
    assert limits.of("abc") == SlotLimit(3, 1, 6, 0.5, floor=3)
    assert limits.of("@gateway") == SlotLimit(0, 1, 10, 0)
    plain = Request("http://shop.test/")
    named = Request("http://api.test/", meta={"mocra_scopes": ["account", "gateway"]})
    assert limits.scopes_of("shop.test", plain) == ("@gateway",)
    assert limits.scopes_of("api.test", plain) == ()
    assert limits.scopes_of("api.test", named) == ("@account", "@gateway")
    assert limits.scopes_of("abc", Request("http://abc/", meta={"mocra_scopes": "account"})) == ("@account",)
    with pytest.raises(ConfigurationError, match="no scope 'acount'"):
        limits.scopes_of("abc", Request("http://abc/", meta={"mocra_scopes": "acount"}))


def test_other_rules_have_another_name() -> None:
    def digest(**settings: Any) -> str:
        return digest_of(read_limits(Settings(settings)).rule_set())

    assert digest(MOCRA_THROTTLE_SCOPE="worker") == APART
    assert digest(DOWNLOAD_DELAY=1) == digest(DOWNLOAD_DELAY=1.0) != digest()
    ruled = [digest(MOCRA_THROTTLE={"a": rate}) for rate in ("1/s", "60/m", "2/s")]
    assert ruled[0] == ruled[1] != ruled[2]


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("http://www.Example.com:8000/x", "Write 'www.example.com'"),
        ("//example.com", "Write 'example.com'"),
        ("http://[", "Write 'www.example.com'"),
        ("Example.com:8000", "Write 'example.com'"),
        ("localhost:80", "Write 'localhost'"),
        ("[::1]:80", "Write '::1'"),
    ],
)
def test_a_key_that_no_slot_can_have_is_refused(key: str, fix: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_limits(Settings({"MOCRA_THROTTLE": {key: "1/s"}}))
    assert raised.value.subject == f"MOCRA_THROTTLE[{key!r}]"
    assert fix in str(raised.value)


def test_a_pattern_that_the_store_can_not_evaluate_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="other than ASCII"):
        read_limits(Settings({"MOCRA_THROTTLE": {"[äö]*.test": "1/s"}}))
    assert read_limits(Settings({"MOCRA_THROTTLE": {"ä?[a-z]*": "1/s"}})).of("äöab").interval == 1


@pytest.mark.parametrize(
    ("key", "slots"),
    [
        ("WWW.Example.com", ["www.example.com", "WWW.Example.com"]),
        ("LocalHost", ["localhost"]),
        ("*.Example.com", ["www.example.com"]),
        ("[::1]", ["::1"]),
        ("[0:0::1]", ["::1", "0:0::1"]),
        ("::1", ["::1"]),
        ("Account:eu", ["Account:eu"]),
    ],
)
def test_keys_name_hosts_as_people_write_them(key: str, slots: list[str]) -> None:
    limits = read_limits(Settings({"MOCRA_THROTTLE": {key: "1/s"}}))
    assert {limits.of(slot).interval for slot in slots} == {1}


def test_the_exact_key_goes_before_the_one_that_stands_for_it() -> None:
    limits = read_limits(
        Settings({"MOCRA_THROTTLE": {"A.test": "1/s", "*.T.test": "4/s", "*": "8/s", "a.test": "2/s"}})
    )
    assert [limits.of(name).interval for name in ("a.test", "A.test", "b.t.test", "b")] == [0.5, 1, 0.25, 0.125]


def test_a_slot_is_never_taken_for_a_scope() -> None:
    name = slot_name("@acc")
    settings = {"DOWNLOAD_DELAY": 3, "MOCRA_THROTTLE": {"@acc": "1/s"}, "DOWNLOAD_SLOTS": {"@acc": {"delay": 7}}}
    limits = read_limits(Settings(settings))
    assert (limits.of(name).interval, limits.of("@acc").interval) == (7, 1)
    assert read_limits(Settings({"DOWNLOAD_DELAY": 3})).of(name).interval == 3


@pytest.mark.parametrize("scope", ["cluster", "worker"])
def test_a_scope_without_rules_is_told(scope: str) -> None:
    limits = read_limits(Settings({"MOCRA_THROTTLE_SCOPE": scope}))
    with pytest.raises(ConfigurationError, match="no scope 'acc'"):
        limits.scopes_of("a.test", Request("http://a.test/", meta={"mocra_scopes": "acc"}))


def test_quotas_stand_beside_the_rest() -> None:
    rules = {
        "a.test": {"quota": "1000/day"},
        "*.test": {"rate": "1/s", "quota": ["1000/d", "100 / 10min", "900/1d"]},
        "@account": {"quota": "5/s"},
    }
    limits = read_limits(Settings({"MOCRA_THROTTLE": rules, "DOWNLOAD_DELAY": 3}))
    assert limits.of("a.test").quotas == (Quota(1000, 86_400.0),)
    assert limits.of("a.test").interval == 3
    assert limits.of("b.test").quotas == (Quota(100, 600.0), Quota(900, 86_400.0))
    assert limits.of("@account") == SlotLimit(quotas=(Quota(5, 1.0),))
    rule_set = limits.rule_set()
    assert rule_set is not None
    assert rule_set.has_quotas
    assert RuleSet.from_text(rule_set.to_text()) == rule_set
    assert RuleSet.from_text(rule_set.to_text()).of("b.test") == limits.of("b.test")
    assert not RuleSet(SlotLimit(interval=1)).has_quotas


@pytest.mark.parametrize(
    "quota",
    ["", "1000", 1000, "0/day", "1.5/day", "5/y", "1/400d", [], ["1/s", 3], ["1/s", "2/m", "3/h", "4/d", "5/2d"]],
)
def test_a_wrong_quota_is_refused(quota: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"MOCRA_THROTTLE\['a'\]\['quota'\]"):
        read_limits(Settings({"MOCRA_THROTTLE": {"a": {"quota": quota}}}))


def test_presets_stand_for_whole_rules() -> None:
    rules = {"*": "heritrix", "a.test": "Nutch", "b.test": {"preset": "heritrix", "delay_max": 60, "concurrency": 2}}
    limits = read_limits(Settings({"MOCRA_THROTTLE": rules}))
    assert limits.of("x.test") == SlotLimit(interval=3.0, concurrency=1, floor=3.0)
    pace = limits.pace_of("x.test")
    assert pace == Pace(5.0, 3.0, 30.0)
    assert [pace.interval(latency) for latency in (0.25, 2.0, 20.0)] == [3.25, 12.0, 50.0], "from end to beginning"
    nutch = limits.pace_of("a.test")
    assert nutch is not None
    assert [nutch.interval(latency) for latency in (0.5, 60.0)] == [5.5, 65.0]
    assert limits.pace_of("b.test") == Pace(5.0, 3.0, 60.0)
    assert limits.of("b.test").concurrency == 2
    own = read_limits(Settings({"MOCRA_THROTTLE": {"a": {"delay_factor": 2}, "b": "1/s"}}))
    assert (own.pace_of("a"), own.pace_of("b"), own.pace_of("c")) == (Pace(2.0, 0.0, 60.0), None, None)
    assert (own.of("a").interval, own.of("a").jitter) == (0, 0)
    assert read_limits(Settings()).pace_of("a") is None


@pytest.mark.parametrize(
    ("name", "rule", "says"),
    [
        ("a", "5/ms", "'5/ms' is not a rate.*units of time are s, sec"),
        ("a", {"quota": "5/month"}, "'5/month' is not a number of requests in a time.*days"),
        ("a", "googlebot", "'googlebot' is not a rate or preset"),
        ("a", {"preset": 7}, "7 is not a rate or preset"),
        ("a", {"preset": "nutch", "delay": 3}, "it has a delay and a delay_factor"),
        ("a", {"delay_factor": 1, "rate": "1/s"}, "it has a rate and a delay_factor"),
        ("a", {"delay_min": 3}, "no delay_factor"),
        ("a", {"delay_factor": 1, "delay_min": 9, "delay_max": 3}, "delay_max"),
        ("a", {"delay_factor": -1}, "delay_factor"),
        ("@a", "heritrix", "a scope has a delay_factor"),
    ],
)
def test_wrong_presets_are_refused(name: str, rule: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_limits(Settings({"MOCRA_THROTTLE": {name: rule}}))


def test_presets_are_documented() -> None:
    guide = (ROOT / "docs" / "guides" / "be-polite.rst").read_text("utf-8")
    assert all(f'"{name}"' in guide for name in PRESETS)
