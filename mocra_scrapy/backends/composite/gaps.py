"""What is told where a log does not have what is to be read."""

from __future__ import annotations

import logging

from mocra_scrapy.backends.kafka.log_names import LogNames, LogPartition
from mocra_scrapy.backends.kafka.log_values import Gap, Grown
from mocra_scrapy.models.wording import counted

logger = logging.getLogger(__name__)


def tell_gap(names: LogNames, partition: LogPartition, gap: Gap) -> None:
    """Nothing is silently done: what is lost is counted, what is not read is named."""
    topic = names.topic(partition.tier)
    if gap.kind == "deleted":
        logger.error(
            "Crawl %r: %s of topic %s, partition %d, were deleted before anybody read them (%d to %d): they are lost."
            " Raise retention.ms of the topic, see scrapy mocra check",
            names.crawl,
            counted(gap.first - gap.position, "request"),
            topic,
            partition.number,
            gap.position,
            gap.first - 1,
        )
    elif gap.kind == "beyond":
        logger.error(
            "Crawl %r: topic %s, partition %d, ends at %d, and was read up to %d: it was truncated or made anew. Nothing of"
            " it is read. If it is meant to be as it is, start over: scrapy mocra reset",
            names.crawl,
            topic,
            partition.number,
            gap.end,
            gap.position,
        )
    elif gap.kind == "again":
        logger.warning(
            "Crawl %r: topic %s, partition %d, did not have offset %d, which was to be read next, and has it now: it is read"
            " on. If brokers lost its end meanwhile (unclean.leader.election.enable), requests that were written in its"
            " place may never be read",
            names.crawl,
            topic,
            partition.number,
            gap.position,
        )


def tell_grown(crawl: str, news: Grown) -> None:
    """Slots are in other partitions from now on."""
    logger.warning(
        "Crawl %r: tier %s of its log has %d partitions now, it had %d. Requests of a slot may be in two of them until"
        " those that were there are done",
        crawl,
        news.tier,
        news.now,
        news.before,
    )
