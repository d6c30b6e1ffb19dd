"""What was not crawled: counted by reason and slot, with samples, within bounds."""

from __future__ import annotations

import random
from collections import Counter

from mocra_scrapy.politeness.not_crawled import (
    LENGTH,
    PAIRS,
    REST,
    SAMPLES,
    NotCrawled,
    Skipped,
    examples,
    merged,
    unpack,
)


def shown(url: str) -> str:
    return url.replace("secret", "***")


def test_counts_and_samples_by_reason_and_slot() -> None:
    table = NotCrawled(shown)
    for n in range(5):
        table.note("offsite", "a.test", f"http://a.test/{n}?secret")
    table.note("robots", "b.test", "http://b.test/" + "x" * 2 * LENGTH)
    found = unpack(table.pack())
    assert found["offsite"]["a.test"].count == 5
    samples = found["offsite"]["a.test"].samples
    assert len(samples) == SAMPLES
    assert all("***" in url and "secret" not in url for url in samples)
    assert len(found["robots"]["b.test"].samples[0]) == LENGTH


def test_each_url_is_a_sample_with_the_same_chance() -> None:
    seen: Counter[str] = Counter()
    for seed in range(2000):
        table = NotCrawled(shown, random.Random(seed))
        for n in range(12):
            table.note("trap", "a", str(n))
        seen.update(table.table["trap"]["a"].samples)
    assert set(seen) == {str(n) for n in range(12)}
    assert all(abs(count - 500) < 120 for count in seen.values()), seen  # 2000 * 3 / 12, six sigma


def test_pairs_are_bounded_and_nothing_is_uncounted() -> None:
    table = NotCrawled(shown)
    for n in range(3 * PAIRS):
        table.note("offsite" if n % 2 else "robots", f"host{n}.test", "http://x/")
    slots = [slot for found in table.table.values() for slot in found]
    assert len(slots) <= PAIRS + 2
    assert REST in table.table["offsite"]
    assert sum(one.count for found in table.table.values() for one in found.values()) == 3 * PAIRS


def test_nothing_is_packed_anew_while_nothing_happens() -> None:
    table = NotCrawled(shown)
    table.note("offsite", "a", "http://a/")
    table.count("duplicates", 7)
    first = table.pack()
    table.count("duplicates", 7)
    assert table.pack() is first
    table.count("duplicates", 8)
    assert unpack(table.pack())["duplicates"][""].count == 8


def test_tables_of_workers_are_added_up() -> None:
    one = {"offsite": {"a": Skipped(99_997, ["few", "or", "none"])}}
    other = {"offsite": {"a": Skipped(1, ["rare"]), "b": Skipped(2, ["x"])}, "trap": {"a": Skipped(1, ["y"])}}
    rare = 0
    for seed in range(200):
        whole = merged([one, other], random.Random(seed))
        assert whole["offsite"]["a"].count == 99_998
        assert len(whole["offsite"]["a"].samples) == SAMPLES
        rare += "rare" in whole["offsite"]["a"].samples
    assert (whole["offsite"]["b"].count, whole["trap"]["a"].count) == (2, 1)
    assert rare < 10, "a sample weighs what it stands for"


def test_what_none_of_us_wrote_is_nothing() -> None:
    for data in (None, b"", b"\xff", b"[1]", b'{"offsite": 1}', b'{"offsite": {"a": 1}}', b'{"offsite": {"a": [1]}}'):
        assert unpack(data) == {}


def test_examples_name_the_slots_with_the_most() -> None:
    table = {
        "offsite": {f"h{n}": Skipped(n, [f"http://h{n}/"]) for n in range(1, 6)},
        "duplicates": {"": Skipped(1000)},
    }
    assert examples(table) == ["offsite: h5 5, h4 4, h3 3 and 2 more slots, for example http://h5/"]
