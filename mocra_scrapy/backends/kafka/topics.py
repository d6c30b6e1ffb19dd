"""The topics of a crawl's log: created as they were asked for, and compared with what a crawl needs.
What asks brokers blocks: call it from a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mocra_scrapy._tasks import in_a_thread
from mocra_scrapy.backends.kafka.admin import Admin
from mocra_scrapy.backends.kafka.client import PATIENCE, meaning, shortened
from mocra_scrapy.backends.kafka.log_names import Log
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from mocra_scrapy.models.log import LogOptions
from mocra_scrapy.models.wording import counted

#: What a crawl cares about of the configuration of a topic.
CARED_FOR = (
    "cleanup.policy",
    "max.message.bytes",
    "min.insync.replicas",
    "retention.bytes",
    "retention.ms",
    "unclean.leader.election.enable",
)
#: Codes of librdkafka's own errors: no answer, no connection. Answers about single topics don't say whether they may
#: be asked for again, so the codes of brokers that may are named where they are looked at.
OF_CLIENT = range(-200, -99)
CREATE = "Run: scrapy mocra kafka create-topics SPIDER, or set MOCRA_KAFKA_CREATE_TOPICS = True"


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as it is.

    Attributes:
        replication: of the partition that has the fewest copies.
        config: of :data:`CARED_FOR`; empty: this user may not look.
        may_write, may_read: whether this user may; ``None``: brokers don't say.
    """

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)
    may_write: bool | None = None
    may_read: bool | None = None

    def number(self, name: str) -> int | None:
        """Of an entry of its configuration; ``None``: not known."""
        text = self.config.get(name, "")
        return int(text) if text.removeprefix("-").isdigit() else None


@dataclass(frozen=True, slots=True)
class Difference:
    """Between a topic and what a crawl needs.

    Attributes:
        fatal: a crawl can't work with it, or would lose requests at once.
    """

    topic: str
    problem: str
    fix: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.problem}. {self.fix}"


def compare(facts: TopicFacts, options: LogOptions) -> list[Difference]:
    """What is not as *options* want it. Pure."""
    found: list[Difference] = []

    def differs(problem: str, fix: str, fatal: bool = False) -> None:
        found.append(Difference(facts.name, problem, fix, fatal))

    def config(name: str, value: object) -> str:
        return f"kafka-configs.sh --alter --topic {facts.name} --add-config {name}={value}"

    if facts.partitions < options.partitions:
        differs(
            f"it has {facts.partitions} partitions, MOCRA_KAFKA_PARTITIONS is {options.partitions}: no more than"
            f" {counted(facts.partitions, 'worker')} can read at a time",
            f"kafka-topics.sh --alter --topic {facts.name} --partitions {options.partitions}",
        )
    if facts.replication < options.replication:
        differs(
            f"its replication is {facts.replication}, MOCRA_KAFKA_REPLICATION is {options.replication}",
            "kafka-reassign-partitions.sh adds copies",
        )
    insync = facts.number("min.insync.replicas")
    if insync is not None and insync > facts.replication:
        differs(
            f"min.insync.replicas is {insync} and its replication {facts.replication}: nothing can be stored",
            config("min.insync.replicas", max(1, facts.replication - 1)),
            fatal=True,
        )
    elif insync is not None and insync < options.min_insync:
        differs(
            f"min.insync.replicas is {insync}, MOCRA_KAFKA_MIN_INSYNC is {options.min_insync}: what is stored may be"
            f" on {counted(insync, 'broker')} only, and is lost with it",
            config("min.insync.replicas", options.min_insync),
        )
    if "compact" in facts.config.get("cleanup.policy", ""):
        differs(
            "cleanup.policy has compact: of all requests of a slot the last one would be kept",
            config("cleanup.policy", "delete"),
            fatal=True,
        )
    retention, wanted = facts.number("retention.ms"), _retention(options)
    if retention is not None and retention != -1 and (wanted == -1 or retention < wanted):
        differs(
            f"retention.ms is {retention}: requests that nobody has read by then are deleted"
            f" (MOCRA_KAFKA_RETENTION wants {wanted})",
            config("retention.ms", wanted),
        )
    size = facts.number("retention.bytes")
    if size is not None and size != -1:
        differs(
            f"retention.bytes is {size}: above it requests are deleted that nobody has read",
            config("retention.bytes", -1),
        )
    longest = facts.number("max.message.bytes")
    if longest is not None and longest < options.message_bytes:
        differs(
            f"max.message.bytes is {longest}: larger requests become dead letters (MOCRA_ENTRY_MAX_BYTES lets"
            f" {options.message_bytes} through)",
            config("max.message.bytes", options.message_bytes),
        )
    if facts.config.get("unclean.leader.election.enable") == "true":
        differs(
            "unclean.leader.election.enable is true: a broker that lags may take over and lose what was stored",
            config("unclean.leader.election.enable", "false"),
        )
    return found


def _retention(options: LogOptions) -> int:
    return -1 if options.retention is None else int(options.retention * 1000)


def wanted_config(options: LogOptions) -> dict[str, str]:
    """The configuration that topics are created with. Pure."""
    return {
        "cleanup.policy": "delete",
        "max.message.bytes": str(options.message_bytes),
        "min.insync.replicas": str(options.min_insync),
        "retention.bytes": "-1",
        "retention.ms": str(_retention(options)),
        "unclean.leader.election.enable": "false",
    }


def look_at_log(admin: Admin, log: Log, given_up: Callable[[], bool] = lambda: False) -> dict[str, TopicFacts]:
    """The topics that are there, by tier.

    Raises:
        BackendUnavailable, ConfigurationError: no answer, or this user may not look.
    """
    from confluent_kafka import KafkaError, KafkaException, TopicCollection
    from confluent_kafka.admin import (  # type: ignore[attr-defined]
        AclOperation,
        ConfigResource,
        ResourceType,
    )

    topics = log.names.topics()
    answers = admin.ask(
        lambda client: client.describe_topics(
            TopicCollection(list(topics.values())), include_authorized_operations=True, request_timeout=PATIENCE
        ),
        given_up,
    )
    found = {}
    for tier, topic in topics.items():
        try:
            found[tier] = answers[topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise meaning(error.args[0], topic, log.setting, admin.ears) from error
    if not found:
        return {}
    resources = {tier: ConfigResource(ResourceType.TOPIC, topics[tier]) for tier in found}
    told = admin.ask(lambda client: client.describe_configs(list(resources.values())), given_up)
    facts = {}
    for tier, topic in found.items():
        config = {}
        try:
            entries = told[resources[tier]].result()
            config = {name: entries[name].value for name in CARED_FOR if name in entries}
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue  # it is new, and this broker has not heard of it
            if code != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise meaning(error.args[0], topics[tier], log.setting, admin.ears) from error
        may = topic.authorized_operations
        facts[tier] = TopicFacts(
            topics[tier],
            len(topic.partitions),
            min((len(partition.replicas) for partition in topic.partitions), default=0),
            config,
            None if may is None else AclOperation.WRITE in may,
            None if may is None else AclOperation.READ in may,
        )
    return facts


def create_log(
    admin: Admin, log: Log, *, dry_run: bool = False, given_up: Callable[[], bool] = lambda: False
) -> list[str]:
    """Create the topics that are missing, with what the options say: never with less. Their names.

    Another worker that creates them at the same time is no trouble.

    Args:
        dry_run: brokers check it, and create nothing.

    Raises:
        BackendUnavailable, ConfigurationError: no answer; it can't be so, or this user may not.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

    there = look_at_log(admin, log, given_up)
    missing = [topic for tier, topic in log.names.topics().items() if tier not in there]
    if not missing:
        return []
    config = wanted_config(log.options)
    new = [NewTopic(topic, log.options.partitions, log.options.replication, config=config) for topic in missing]
    answers = admin.ask_once(
        lambda client: client.create_topics(new, validate_only=dry_run, request_timeout=PATIENCE),
        given_up,
        2 * PATIENCE,
    )
    created = []
    for topic in missing:
        try:
            answers[topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise not_created(error, topic, log) from error
        else:
            created.append(topic)
    return created


def not_created(error: Exception, topic: str, log: Log) -> ConfigurationError | BackendUnavailable:
    """What *error* means."""
    from confluent_kafka import KafkaError

    trouble: KafkaError = error.args[0]
    text = shortened(trouble.str()).rstrip(".")
    if trouble.code() == KafkaError.INVALID_REPLICATION_FACTOR:
        return ConfigurationError(
            "MOCRA_KAFKA_REPLICATION",
            f"topic {topic!r} can't have {log.options.replication} copies: {text}",
            "Start more brokers, or set it to how many there are, and MOCRA_KAFKA_MIN_INSYNC to one less",
        )
    if trouble.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
        return ConfigurationError(
            log.setting,
            f"this user may not create topic {topic!r}",
            "Grant it CREATE on topics of this prefix, or have somebody run: scrapy mocra kafka create-topics",
        )
    if trouble.code() in (KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION, KafkaError.INVALID_PARTITIONS):
        return ConfigurationError(
            log.setting, f"brokers refuse topic {topic!r}: {text}", "See the settings MOCRA_KAFKA_… of topics"
        )
    passing = (
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_CONTROLLER,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
    )
    if trouble.code() in passing or trouble.code() in OF_CLIENT:
        return BackendUnavailable(f"topic {topic!r} was not created: {text}")
    return ConfigurationError(log.setting, f"topic {topic!r} was not created: {text}", "See the log of the brokers")


def open_log(admin: Admin, log: Log, given_up: Callable[[], bool] = lambda: False) -> dict[str, TopicFacts]:
    """The topics, which are all there, may be read and written, and lose nothing at once. Creates them
    where the options allow it.

    Raises:
        BackendUnavailable, ConfigurationError: they are not so; says what to do.
    """
    facts = look_at_log(admin, log, given_up)
    if len(facts) < len(log.names.topics()) and log.options.create:
        create_log(admin, log, given_up=given_up)
        facts = look_at_log(admin, log, given_up)
        if len(facts) < len(log.names.topics()):  # brokers hear of it one after the other
            raise BackendUnavailable(
                f"the topics of {log.names.group} were created, and brokers don't know all of them yet"
            )
    missing = [topic for tier, topic in log.names.topics().items() if tier not in facts]
    if missing:
        more = f" ({len(missing)} are missing)" if len(missing) > 1 else ""
        raise ConfigurationError(log.setting, f"there is no topic {missing[0]!r}{more}", CREATE)
    for fact in facts.values():
        if fact.may_write is False or fact.may_read is False:
            raise ConfigurationError(
                log.setting,
                f"this user may not {'write to' if fact.may_write is False else 'read'} topic {fact.name!r}",
                "Grant it READ, WRITE and DESCRIBE on topics, and READ on the group: kafka-acls.sh",
            )
        for difference in compare(fact, log.options):
            if difference.fatal:
                raise ConfigurationError(log.setting, f"topic {fact.name!r}: {difference.problem}", difference.fix)
    return facts


async def look_for_log(admin: Admin, log: Log) -> dict[str, TopicFacts]:
    """:func:`open_log`, for an event loop's thread; may be cancelled."""
    given_up = threading.Event()
    try:
        return await in_a_thread(lambda: open_log(admin, log, given_up.is_set), "mocra kafka topics")
    finally:
        given_up.set()
