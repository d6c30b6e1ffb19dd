"""OffsetLookup, where brokers have not heard of a topic."""

from __future__ import annotations

import pytest

from mocra_scrapy.backends.kafka import offset_lookup
from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.client import NoTopic
from mocra_scrapy.backends.kafka.log_names import Log, LogNames
from mocra_scrapy.backends.kafka.offset_lookup import OffsetLookup
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.log import LogOptions

pytest.importorskip("confluent_kafka")


def lookup(answers: list[bool], *, create: bool) -> OffsetLookup:
    """Its topics are known as *answers* say, one after the other."""
    address = read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9", {})
    one = OffsetLookup(Log(address, LogNames("t", "crawl"), LogOptions(create=create)))

    def partitions(fresh: float) -> dict[str, int]:
        if answers.pop(0):
            return {"high": 2}
        raise NoTopic("MOCRA_QUEUE_BACKEND", "there is no topic", "Create it")

    one._partitions = partitions  # type: ignore[method-assign]
    return one


async def test_brokers_hear_of_a_new_topic_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offset_lookup, "AGAIN", 0.001)
    assert await lookup([False, False, True], create=True).partitions() == {"high": 2}
    with pytest.raises(ConfigurationError, match="there is no topic"):
        await lookup([False], create=False).partitions()
    monkeypatch.setattr(offset_lookup, "HEARSAY", -1.0)
    with pytest.raises(ConfigurationError, match="there is no topic"):
        await lookup([False], create=True).partitions()
