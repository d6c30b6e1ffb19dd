"""What a consumer's errors mean, and what is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mocra_scrapy.backends.kafka.client import Ears, meaning, shortened
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError, MocraError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError


PROTOCOL = "MOCRA_KAFKA_GROUP_PROTOCOL"
OLDER = 'Set "classic"; "consumer" needs brokers of version 4.0 or newer'


def is_end_of_client(error: KafkaError) -> bool:
    """Whether the client is of no use any more, or has lost its place in the group without saying so."""
    from confluent_kafka import KafkaError as Codes

    return bool(error.fatal()) or error.code() in (
        Codes._FATAL,
        Codes._MAX_POLL_EXCEEDED,  # it left the group; that it lost its partitions it may keep to itself
        Codes.FENCED_INSTANCE_ID,
        Codes.INCONSISTENT_GROUP_PROTOCOL,
        Codes.UNSUPPORTED_VERSION,
    )


def meaning_of_reading(error: KafkaError, topic: str, setting: str, ears: Ears) -> MocraError:
    """Of an error that a consumer was given; *topic*: of which, if any."""
    from confluent_kafka import KafkaError as Codes

    code, text = error.code(), shortened(error.str()).rstrip(".")
    if code in (Codes._TRANSPORT, Codes._ALL_BROKERS_DOWN, Codes._RESOLVE, Codes._AUTHENTICATION, Codes._SSL):
        return ears.unavailable()
    acls = "kafka-acls.sh --consumer"
    wrong = {
        Codes.TOPIC_AUTHORIZATION_FAILED: (
            setting,
            f"this user may not read topic {topic!r}",
            f"Grant it READ and DESCRIBE: {acls}",
        ),
        Codes.GROUP_AUTHORIZATION_FAILED: (
            setting,
            "this user may not join the crawl's group",
            f"Grant it READ on the group: {acls}",
        ),
        Codes.INCONSISTENT_GROUP_PROTOCOL: (
            PROTOCOL,
            f"other workers of this crawl use another one: {text}",
            "Set it alike for all",
        ),
        Codes.UNSUPPORTED_VERSION: (PROTOCOL, f"these brokers don't have it: {text}", OLDER),
        Codes._UNSUPPORTED_FEATURE: (PROTOCOL, f"these brokers don't have it: {text}", OLDER),
    }.get(code)
    if wrong is not None:
        return ConfigurationError(*wrong)
    if code == Codes._MAX_POLL_EXCEEDED:
        return BackendUnavailable("this process stood still for longer than max.poll.interval.ms; it joins again")
    return meaning(error, topic, setting, ears) if topic else BackendUnavailable(f"the group of the log: {text}")


def out_of_step() -> MocraError:
    """Of a client and its group, by the protocol "consumer". The group says once what a member has to give up, or
    has: if that answer comes too late, librdkafka (2.16) neither heeds it nor asks again, and partitions are read by
    nobody, some of them until the next rebalance. One that joins anew is told all.
    """
    return BackendUnavailable("the group of the log answered a heartbeat too late; this worker joins it again")
