"""The client that reads a crawl's log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mocra_scrapy.backends.kafka.client import Ears, no_option
from mocra_scrapy.backends.kafka.log_names import Log

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, TopicPartition


def make_reader(log: Log, ears: Ears, committed: Callable[[KafkaError | None, list[TopicPartition]], None]) -> Consumer:
    """One that joins the group of *log* when it subscribes, and commits only what it is told to.

    Args:
        committed: called with each answer to a commit.

    Raises:
        ConfigurationError: librdkafka does not take an option; names it.
    """
    from confluent_kafka import Consumer, KafkaException

    options = log.options
    classic = {
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(options.session_timeout * 1000),
        # Members hear of a rebalance by their next heartbeat.
        "heartbeat.interval.ms": max(100, min(1000, int(options.session_timeout * 100))),
    }
    ours: dict[str, Any] = {
        "group.id": log.names.group,
        "group.protocol": options.protocol,
        **(classic if options.protocol == "classic" else {}),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "queued.max.messages.kbytes": max(1024, options.ahead_bytes // 1024),
        "queued.min.messages": max(1, options.ahead),
        "fetch.max.bytes": max(2**20, options.ahead_bytes, options.message_bytes),
        "on_commit": committed,
    }
    # Also what a group waits for a member that does not do its part in a rebalance; the client's own is five minutes.
    rebalance = max(60.0, 2 * options.session_timeout, 4 * options.revoke_timeout)
    first = {"fetch.wait.max.ms": 100, "fetch.queue.backoff.ms": 20, "max.poll.interval.ms": int(rebalance * 1000)}
    try:
        return Consumer({**first, **ears.config(), **ours})
    except (KafkaException, TypeError, ValueError) as error:
        raise no_option(error) from error
