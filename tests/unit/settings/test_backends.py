"""MOCRA_BACKEND, and the settings that say otherwise for one role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy import interfaces
from mocra_scrapy.backends.by_role import (
    COLUMNS,
    BackendByRole,
    abilities,
    abilities_table,
    exceptions_list,
    open_by_role,
)
from mocra_scrapy.backends.composite.queue import KafkaRequestQueue
from mocra_scrapy.backends.memory.queue import MemoryRequestQueue
from mocra_scrapy.backends.redis.queue import RedisRequestQueue
from mocra_scrapy.exceptions import ConfigurationError, NotSupported
from mocra_scrapy.interfaces import ILoggedQueue
from mocra_scrapy.models.backends import Abilities, BackendChoice
from mocra_scrapy.settings.backends import read_backends
from mocra_scrapy.settings.events import read_events

REDIS, OTHER, KAFKA = "redis://localhost:6379/0", "redis://:secret@other:6379/0", "kafka://broker:9092"


def read(**settings: Any) -> BackendChoice:
    return read_backends(Settings({f"MOCRA_{name}": value for name, value in settings.items()}))


@pytest.mark.parametrize(
    ("settings", "queue", "state"),
    [
        ({}, "memory://", "memory://"),
        ({"BACKEND": REDIS}, REDIS, REDIS),
        ({"BACKEND": REDIS, "STATE_BACKEND": OTHER}, REDIS, OTHER),
        ({"BACKEND": OTHER, "QUEUE_BACKEND": REDIS}, REDIS, OTHER),
        ({"BACKEND": REDIS, "QUEUE_BACKEND": KAFKA}, KAFKA, REDIS),
        ({"BACKEND": KAFKA, "STATE_BACKEND": REDIS}, KAFKA, REDIS),
        ({"STATE_BACKEND": REDIS}, "memory://", REDIS),
        ({"BACKEND": REDIS, "QUEUE_BACKEND": "memory://"}, "memory://", REDIS),
    ],
)
def test_sensible_combinations(settings: dict[str, str], queue: str, state: str) -> None:
    choice = read(**settings)
    assert (choice.queue, choice.state) == (queue, state)
    backend = open_by_role(choice)
    assert backend.shared == (queue != "memory://")
    for tool in (backend.election("boss"), backend.locks(), backend.shared_values("x"), backend.worker_registry()):
        assert ("Redis" in type(tool).__name__) == (state != "memory://")


@pytest.mark.parametrize(
    ("settings", "kind", "setting", "told"),
    [
        ({"BACKEND": KAFKA}, NotSupported, "MOCRA_STATE_BACKEND", "compare and set"),
        ({"BACKEND": REDIS, "STATE_BACKEND": KAFKA}, NotSupported, "MOCRA_STATE_BACKEND", "Requests stay in Kafka"),
        ({"QUEUE_BACKEND": KAFKA}, ConfigurationError, "MOCRA_STATE_BACKEND", "a filter, limits and leases of its own"),
        (
            {"BACKEND": REDIS, "STATE_BACKEND": "memory://"},
            ConfigurationError,
            "MOCRA_STATE_BACKEND",
            "could not elect",
        ),
        ({"QUEUE_BACKEND": OTHER}, ConfigurationError, "MOCRA_STATE_BACKEND", "Set MOCRA_BACKEND to redis://"),
        ({"QUEUE_BACKEND": ""}, ConfigurationError, "MOCRA_QUEUE_BACKEND", "is not a URL"),
        ({"EVENTS_BACKEND": "memory://"}, ConfigurationError, "MOCRA_EVENTS_BACKEND", "keeps no stream"),
    ],
)
def test_senseless_ones_are_refused(settings: dict[str, str], kind: type[Exception], setting: str, told: str) -> None:
    with pytest.raises(kind) as caught:
        read(**settings)
    assert isinstance(caught.value, ConfigurationError)
    assert caught.value.subject == setting
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"BACKEND": REDIS, "QUEUE_BACKEND": "rediss:/x"}, "MOCRA_QUEUE_BACKEND"),
        ({"BACKEND": REDIS, "STATE_BACKEND": "postgres://x"}, "MOCRA_STATE_BACKEND"),
        ({"BACKEND": "nothing://x"}, "MOCRA_BACKEND"),
        ({"BACKEND": REDIS, "QUEUE_BACKEND": "kafka://a:b:c"}, "MOCRA_QUEUE_BACKEND"),
    ],
)
def test_errors_name_the_setting(settings: dict[str, str], setting: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_by_role(read(**settings))
    assert caught.value.subject == setting


def test_what_only_some_have_is_the_queues_or_the_states() -> None:
    apart = open_by_role(read(BACKEND=REDIS, QUEUE_BACKEND="memory://"))
    assert isinstance(apart, BackendByRole)
    assert type(apart.event_stream("x", 1)).__name__ == "MemoryEventStream"
    assert hasattr(apart, "seed_pile")
    assert not hasattr(apart, "nothing_of_the_kind")
    kafka = open_by_role(read(BACKEND=REDIS, QUEUE_BACKEND=KAFKA))
    assert type(kafka.event_stream("x", 1)).__name__ == "RedisEventStream"  # type: ignore[attr-defined]
    assert not hasattr(kafka, "nothing_of_the_kind")


def test_the_server_of_keys_and_streams() -> None:
    assert read(BACKEND=REDIS).server == REDIS
    assert read(BACKEND=REDIS, STATE_BACKEND=OTHER).server == REDIS
    assert read(BACKEND=REDIS, QUEUE_BACKEND=KAFKA).server == REDIS
    assert read(BACKEND=REDIS, QUEUE_BACKEND=KAFKA).brokers == KAFKA
    assert read(BACKEND=REDIS, EVENTS_BACKEND=OTHER).stream == OTHER
    assert read(BACKEND=REDIS, EVENTS_BACKEND=KAFKA).stream == REDIS


def events(**settings: Any) -> dict[str, Any]:
    found = read_events(Settings({f"MOCRA_{name}": value for name, value in settings.items()}))
    return {} if found is None else {one.name: (one.url, one.topic, found.server) for one in found.sinks}


def test_the_backend_of_events_is_where_they_go() -> None:
    assert events(BACKEND=REDIS) == {}
    assert events(BACKEND=REDIS, EVENTS_BACKEND=OTHER) == {"redis": (None, None, OTHER)}
    assert events(EVENTS_BACKEND=KAFKA) == {"kafka": (KAFKA, "mocra-events", "memory://")}
    assert events(EVENTS_BACKEND=KAFKA, EVENTS={"log": {}}) == {"log": (None, None, "memory://")}
    assert events(EVENTS_BACKEND=KAFKA, EVENTS=False) == {}
    assert events(EVENTS_BACKEND=KAFKA, EVENTS={"kafka": {"topic": "t"}}) == {"kafka": (KAFKA, "t", "memory://")}
    # The brokers of the requests are the events' as well, where nothing else is said.
    assert events(BACKEND=REDIS, QUEUE_BACKEND=KAFKA, EVENTS="kafka, redis") == {
        "kafka": (KAFKA, "mocra-events", REDIS),
        "redis": (None, None, REDIS),
    }


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("MOCRA_QUEUE_BACKEND", 5),
        ("MOCRA_STATE_BACKEND", " "),
        ("MOCRA_EVENTS_BACKEND", []),
    ],
)
def test_each_is_a_url(name: str, wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_backends(Settings({name: wrong}))
    assert caught.value.subject == name


def test_the_environment_may_say_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCRA_BACKEND", REDIS)
    monkeypatch.setenv("MOCRA_QUEUE_BACKEND", KAFKA)
    assert (read().queue, read().state) == (KAFKA, REDIS)


def test_abilities_are_what_they_are() -> None:
    declared = abilities()
    assert list(declared) == ["memory", "redis", "kafka"]
    assert not declared["kafka"].coordination
    assert declared["redis"].shared
    assert set(Abilities.names()) == set(COLUMNS)
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "choose-a-backend.rst").read_text(encoding="utf-8")
    table = guide.partition("a test compares\n\n")[2].partition("\n\n.. end of abilities")[0]
    assert table == abilities_table()
    for backend, kind in (("memory", MemoryRequestQueue), ("redis", RedisRequestQueue), ("kafka", KafkaRequestQueue)):
        assert ILoggedQueue.implementedBy(kind) == declared[backend].window
    assert guide.partition("a test compares\n\n")[2].partition("a test compares\n\n")[2].partition(
        "\n\n.. end of exceptions"
    )[0] == (exceptions_list())
    rules = (Path(interfaces.__file__).parent / "queue.py").read_text(encoding="utf-8")
    for backend in declared.values():
        for rule in backend.without:
            assert f"[{rule}]" in rules, "a rule that is one"
