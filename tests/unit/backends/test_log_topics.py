"""A topic beside what a crawl needs of it; brokers are in tests/integration/kafka."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.log_names import Log, LogNames
from mocra_scrapy.backends.kafka.topics import TopicFacts, compare, look_at_log, not_created, wanted_config
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from mocra_scrapy.models.log import LogOptions

confluent_kafka = pytest.importorskip("confluent_kafka")
KafkaError, KafkaException = confluent_kafka.KafkaError, confluent_kafka.KafkaException

OPTIONS = LogOptions(partitions=12, replication=3, min_insync=2, retention=86_400.0, message_bytes=1_000_000)
LOG = Log(read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9092", {}), LogNames("t", "shop"), OPTIONS)


def facts(partitions: int = 12, replication: int = 3, **config: str) -> TopicFacts:
    changed = {name.replace("_", "."): value for name, value in config.items()}
    return TopicFacts("mocra.books.normal", partitions, replication, {**wanted_config(OPTIONS), **changed})


def test_what_is_created_differs_in_nothing() -> None:
    assert compare(facts(), OPTIONS) == []
    assert compare(facts(partitions=24, replication=5), OPTIONS) == [], "more is no trouble"
    assert compare(facts(retention_ms="-1", min_insync_replicas="3"), OPTIONS) == []
    assert compare(TopicFacts("t", 12, 3), OPTIONS) == [], "what can't be looked at is not judged"


@pytest.mark.parametrize(
    ("fact", "problem", "fix", "fatal"),
    [
        (facts(partitions=3), "no more than 3 workers can read at a time", "--partitions 12", False),
        (facts(replication=2), "its replication is 2, MOCRA_KAFKA_REPLICATION is 3", "reassign", False),
        (facts(min_insync_replicas="1"), "on 1 broker only", "min.insync.replicas=2", False),
        (facts(min_insync_replicas="4"), "nothing can be stored", "min.insync.replicas=2", True),
        (facts(cleanup_policy="compact"), "the last one would be kept", "cleanup.policy=delete", True),
        (facts(cleanup_policy="compact,delete"), "the last one would be kept", "cleanup.policy=delete", True),
        (facts(retention_ms="3600000"), "retention.ms is 3600000", "retention.ms=86400000", False),
        (facts(retention_bytes="1000"), "retention.bytes is 1000", "retention.bytes=-1", False),
        (facts(max_message_bytes="5000"), "larger requests become dead letters", "max.message.bytes=1000000", False),
        (
            facts(unclean_leader_election_enable="true"),
            "may take over and lose what was stored",
            "unclean.leader.election.enable=false",
            False,
        ),
    ],
)
def test_each_difference_is_told_with_its_fix(fact: TopicFacts, problem: str, fix: str, fatal: bool) -> None:
    (found,) = compare(fact, OPTIONS)
    assert problem in found.problem
    assert fix in found.fix
    assert found.fatal == fatal
    assert str(found).startswith("topic mocra.books.normal: ")


def test_without_a_limit_any_retention_is_told() -> None:
    forever = LogOptions(retention=None)
    assert wanted_config(forever)["retention.ms"] == "-1"
    (found,) = compare(TopicFacts("t", 12, 3, {"retention.ms": "604800000"}), forever)
    assert "MOCRA_KAFKA_RETENTION wants -1" in found.problem


class Brokers:
    """Two of them: the one that is asked for configurations has not heard of *unheard*."""

    ears = None

    def __init__(self, unheard: str) -> None:
        self.unheard = unheard

    def ask(self, question: Any, given_up: Any) -> Any:
        return question(self)

    def describe_topics(self, topics: Any, **_: Any) -> dict[str, Future[Any]]:
        found: dict[str, Future[Any]] = {}
        for topic in topics.topic_names:
            found[topic] = Future()
            found[topic].set_result(SimpleNamespace(partitions=[], authorized_operations=None))
        return found

    def describe_configs(self, resources: Any) -> dict[Any, Future[Any]]:
        found: dict[Any, Future[Any]] = {resource: Future() for resource in resources}
        for resource, answer in found.items():
            if resource.name == self.unheard:
                answer.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
            else:
                answer.set_result({})
        return found


def test_a_topic_of_which_not_all_brokers_have_heard_is_not_there_yet() -> None:
    log = Log(read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9", {}), LogNames("t", "crawl"), LogOptions())
    unheard: Any = Brokers(log.names.topic("low"))
    assert look_at_log(unheard, log).keys() == log.names.topics().keys() - {"low"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._TIMED_OUT, BackendUnavailable),
        (KafkaError._TRANSPORT, BackendUnavailable),
        (KafkaError.REQUEST_TIMED_OUT, BackendUnavailable),
        (KafkaError.UNKNOWN, ConfigurationError),
        (KafkaError.POLICY_VIOLATION, ConfigurationError),
    ],
)
def test_a_worker_waits_for_brokers_that_are_slow_to_create_topics(code: int, kind: type[Exception]) -> None:
    """As for any outage at its start; what a broker refuses it refuses again."""
    error = not_created(KafkaException(KafkaError(code)), "t.shop.high", LOG)
    assert isinstance(error, kind)
    assert "t.shop.high" in str(error)
