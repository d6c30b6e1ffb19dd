"""Names of a log, and where in it a request belongs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocra_scrapy.backends.kafka.log_names import (
    LONGEST,
    TIERS,
    LogNames,
    LogPartition,
    all_partitions,
    legal,
    partition_of,
    tier_of,
)

LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")
names = st.text(st.sampled_from("abA1-_.:x3é/ "), max_size=300) | st.text(max_size=200)


@given(names, names, names, names)
def test_no_two_crawls_share_a_topic(prefix: str, crawl: str, other_prefix: str, other: str) -> None:
    """Not even one that Kafka counts as the same."""
    one, two = LogNames(prefix, crawl), LogNames(other_prefix, other)
    assert all(LEGAL.fullmatch(topic) and len(topic) <= LONGEST for topic in one.topics().values())
    if (prefix, crawl) != (other_prefix, other):
        theirs = {topic.replace(".", "_") for topic in two.topics().values()}
        assert not theirs & {topic.replace(".", "_") for topic in one.topics().values()}


def test_names_can_be_read() -> None:
    names = LogNames("mocra", "my-shop:books")
    assert names.topic("normal") == "mocra.my--shop-3abooks.normal"
    assert names.group == "mocra.my--shop-3abooks"
    assert names.partition("mocra.my--shop-3abooks.wait-60", 7) == LogPartition("wait-60", 7)
    for foreign in ("mocra.other.normal", "mocra.my--shop-3abooks.middle", "normal"):
        with pytest.raises(ValueError, match="no topic of"):
            names.partition(foreign, 0)


def test_long_names_stay_different() -> None:
    one, two = "a" * 500, "a" * 499 + "b"
    assert legal(one)[:70] == legal(two)[:70]
    assert legal(one) != legal(two)
    # What is cut must not look like another crawl's own name.
    hyphens = "-" * 300
    assert legal(legal(hyphens)) != legal(hyphens)


def test_partitions_are_named_as_they_are_read() -> None:
    for partition in all_partitions(3):
        assert LogPartition.parse(str(partition)) == partition
    for wrong in ("", "normal", "normal:", "normal:-1", "middle:1", "normal:²"):
        with pytest.raises(ValueError, match="no partition"):
            LogPartition.parse(wrong)


@given(st.integers(-100, 100), st.floats(0, 10**6))
def test_a_request_has_a_tier(priority: int, delay: float) -> None:
    tier = tier_of(priority, delay)
    assert tier in TIERS
    if delay < 60:
        assert tier == ("high" if priority > 0 else "low" if priority < 0 else "normal")
    else:
        assert float(tier.removeprefix("wait-")) <= delay


def test_slots_are_spread_and_stay() -> None:
    places = [partition_of(f"site{n}.example", 12) for n in range(3000)]
    assert places == [partition_of(f"site{n}.example", 12) for n in range(3000)]
    assert all(150 < places.count(number) < 350 for number in range(12))
    assert partition_of("\ud800", 5) in range(5), "whatever a slot is called"
