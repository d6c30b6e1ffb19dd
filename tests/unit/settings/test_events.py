"""MOCRA_EVENTS and its like."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.events import SinkOptions, read_events
from mocra_scrapy.settings.webhooks import is_global

REDIS = "redis://localhost:6379/0"
HOOK = "https://hooks.test/crawl"


def read(value: Any, **more: Any) -> tuple[SinkOptions, ...]:
    options = read_events(Settings({"MOCRA_EVENTS": value, "MOCRA_BACKEND": REDIS, **more}))
    return () if options is None else options.sinks


@pytest.mark.parametrize("value", [None, "", "None", False, {}, [], "{}", {"log": False}])
def test_no_events(value: Any) -> None:
    assert read(value) == ()


@pytest.mark.parametrize(
    "value",
    ["log, redis", ["log", "redis"], {"log": {}, "redis": None}, '{"log": true, "redis": {}}', '["log", "redis"]'],
)
def test_names_are_enough(value: Any) -> None:
    assert read(value) == (SinkOptions("log", "log"), SinkOptions("redis", "redis"))


def test_options_of_sinks() -> None:
    value = {
        "log": {"level": "debug", "events": "crawl.*, worker.*"},
        "redis:mine": {"url": REDIS, "stream": "shop", "keep": 5, "events": ["*"]},
        "webhook": HOOK,
        "webhook:own": {
            "url": "http://localhost:8080/x",
            "private": True,
            "secret": "x" * 16,
            "timeout": "2",
            "headers": {"Authorization": "Bearer t"},
        },
    }
    log, redis, hook, own = read(value)
    assert (log.level, log.events) == ("DEBUG", ("crawl.*", "worker.*"))
    assert (redis.kind, redis.stream, redis.keep) == ("redis", "shop", 5)
    assert (hook.url, hook.private, hook.secret) == (HOOK, False, "")
    assert (own.private, own.timeout, own.headers) == (True, 2.0, {"Authorization": "Bearer t"})
    assert "xxxx" not in repr(own)
    assert "Bearer" not in repr(own)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("kafkaesque", "'kafkaesque' is no sink"),
        (17, "17 names no sinks"),
        ("{", "not valid JSON"),
        ({"log": 3}, "MOCRA_EVENTS['log']: 3 is no dict"),
        ({"log": {"levels": 1}}, "'levels' is unknown. Use events, level"),
        ({"log": {"level": "loud"}}, "MOCRA_EVENTS['log']['level']: 'loud' is unknown"),
        ({"log": {"events": []}}, "MOCRA_EVENTS['log']['events']: [] is no list of events"),
        ({"redis": {"keep": 0}}, "MOCRA_EVENTS['redis']['keep']: 0 is out of range"),
        ({"redis": {"url": "memory://"}}, "keeps no stream"),
        ({"redis": {"stream": ""}}, "MOCRA_EVENTS['redis']['stream']: '' is not a text"),
        ({"kafka": {"url": "kafka://h"}}, "MOCRA_EVENTS['kafka']: it has no topic"),
        ({"kafka": {"topic": "t"}}, "MOCRA_EVENTS['kafka']: it has no url"),
        ({"kafka": {"url": "kafka://h", "topic": ""}}, "MOCRA_EVENTS['kafka']['topic']: '' is not a text"),
        ({"webhook": {}}, "MOCRA_EVENTS['webhook']: it has no URL"),
        ({"webhook": "ftp://h/"}, "is no web address"),
        ({"webhook": "https://h\r\nx"}, "is no web address"),
        ({"webhook": "https://höst/"}, "percent-encoded"),
        ({"webhook": "https://[::1"}, "can't be read"),
        ({"webhook": "http://hooks.test/"}, "is not encrypted"),
        ({"webhook": "https://user:hunter2@hooks.test/"}, "has a user name"),
        ({"webhook": "https://127.0.0.1/"}, 'is in a private network. Set "private": True'),
        ({"webhook": "https://[::ffff:10.0.0.1]/"}, "is in a private network"),
        ({"webhook": "https://localhost/"}, "is in a private network"),
        ({"webhook": {"url": HOOK, "secret": "short"}}, "fewer than 16 characters"),
        ({"webhook": {"url": HOOK, "private": "yes"}}, "neither true nor false"),
        ({"webhook": {"url": HOOK, "timeout": 0}}, "MOCRA_EVENTS['webhook']['timeout']"),
        ({"webhook": {"url": HOOK, "headers": {"A": "b\r\nC: d"}}}, "'A' is no header"),
        ({"webhook": {"url": HOOK, "headers": {"Host": "x"}}}, "'Host' is set by the webhook itself"),
        ({"webhook": {"url": HOOK, "headers": []}}, "list is no dict"),
    ],
)
def test_a_wrong_value_is_named(value: Any, told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(value)
    assert told in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "subject"),
    [
        ("MOCRA_EVENTS_SAMPLE", 1.5, "MOCRA_EVENTS_SAMPLE"),
        ("MOCRA_EVENTS_SAMPLE", {"item.*": "x"}, "MOCRA_EVENTS_SAMPLE['item.*']"),
        ("MOCRA_EVENTS_QUEUE_MAX", 1, "MOCRA_EVENTS_QUEUE_MAX"),
        ("MOCRA_EVENTS_STOP_TIMEOUT", -1, "MOCRA_EVENTS_STOP_TIMEOUT"),
        ("MOCRA_BACKEND", "memory://", "MOCRA_BACKEND"),
        ("MOCRA_EVENTS", "kafkaesque", "MOCRA_EVENTS"),
    ],
)
def test_so_is_one_of_the_others(name: str, value: Any, subject: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(**{"value": "redis", name if name != "MOCRA_EVENTS" else "value": value})
    assert raised.value.subject == subject


def test_the_sample() -> None:
    for value, parts, bulk in [(0.5, {}, 0.5), ("1", {}, 1.0), ('{"*": 0}', {"*": 0.0}, None)]:
        options = read_events(Settings({"MOCRA_EVENTS": "log", "MOCRA_EVENTS_SAMPLE": value}))
        assert options is not None
        assert (options.sample, options.sample_bulk) == (parts, bulk)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "64:ff9b::a00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_addresses_that_are_private(address: str) -> None:
    assert not is_global(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_global(ipaddress.ip_address(address))
