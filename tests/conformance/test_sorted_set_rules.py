"""ICache: sorted sets."""

from __future__ import annotations

import math
import random

import pytest

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import CacheSize

from .harness import Harness


class Model:
    """What a sorted set is."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}

    def between(self, low: float, high: float) -> list[tuple[str, float]]:
        found = [(m, s) for m, s in self.scores.items() if low <= s <= high]
        return sorted(found, key=lambda one: (one[1], one[0].encode()))


MEMBERS = [f"{head}{i}" for i in range(6) for head in ("", "é", "{x} ")]
SCORES = [0.0, -1.5, 1e-9, 3.0, 2**53 + 0.0, 1e300, 0.1 + 0.2]


@pytest.mark.parametrize("seed", range(3))
async def test_a_sorted_set_is_like_its_model(harness: Harness, seed: int) -> None:
    rng, model = random.Random(seed), Model()
    caches = [harness.cache(), harness.cache(second=True)]
    for step in range(80):
        cache = rng.choice(caches)
        some = rng.sample(MEMBERS, rng.randint(1, 5))
        verb = rng.choice(("add", "add", "remove", "members", "count"))
        low, high = sorted(rng.choice([*SCORES, -math.inf, math.inf]) for _ in range(2))
        if verb == "add":
            scores = {member: rng.choice(SCORES) for member in some}
            assert await cache.add_members("set", scores, 60) == len(scores.keys() - model.scores.keys())
            model.scores.update(scores)
        elif verb == "remove":
            assert await cache.remove_members("set", some) == len(set(some) & model.scores.keys())
            for member in some:
                model.scores.pop(member, None)
        elif verb == "count":
            assert await cache.count_members("set", low, high) == len(model.between(low, high))
        else:
            skip, most, back = rng.randint(0, 3), rng.randint(1, 8), rng.random() < 0.5
            wanted = model.between(low, high)[:: -1 if back else 1][skip : skip + most]
            assert await cache.members("set", low, high, most=most, skip=skip, descending=back) == wanted
        if step % 8:
            continue
        names = {"set"} if model.scores else set()
        size = sum(len(n.encode()) for n in (*model.scores, *names))
        assert await cache.size() == CacheSize(len(model.scores), size)


async def test_members_are_given_by_score(harness: Harness) -> None:
    cache = harness.cache()
    assert await cache.members("set") == []
    assert await cache.count_members("set") == 0
    assert await cache.remove_members("set", ["a"]) == 0
    assert await cache.add_members("set", {"c": 1, "a": 2, "b": 2, "d": 3}, 60) == 4
    assert await cache.members("set") == [("c", 1.0), ("a", 2.0), ("b", 2.0), ("d", 3.0)]
    assert await cache.members("set", 2, 2) == [("a", 2.0), ("b", 2.0)]
    assert await cache.members("set", 1, 2, most=2, skip=1, descending=True) == [("a", 2.0), ("c", 1.0)]
    many = {f"m{i:04d}": i for i in range(1500)}
    assert await cache.add_members("many", many, 60) == 1500
    assert await cache.members("many", most=2000) == [(name, float(i)) for name, i in many.items()]
    assert await cache.count_members("many", low=1000) == 500
    assert await cache.remove_members("many", list(many)) == 1500
    assert await cache.size() == CacheSize(4, 7), "nothing is left of it"
    with pytest.raises(ConfigurationError, match="page by page"):
        await cache.members("set", most=0)


async def test_a_score_is_a_number(harness: Harness) -> None:
    cache = harness.cache()
    for score in (math.nan, math.inf, "1", True, None):
        with pytest.raises(ConfigurationError, match="no score"):
            await cache.add_members("set", {"good": 1, "bad": score}, 60)  # type: ignore[dict-item]
    assert await cache.members("set") == []
    assert await cache.add_members("set", {}, 60) == 0


async def test_a_sorted_set_ends_as_a_whole(harness: Harness) -> None:
    cache, other = harness.cache(), harness.cache(second=True)
    with harness.standing_clock() as move:
        await cache.add_members("set", {"a": 1}, 10)
        move(5000)
        await other.add_members("set", {"b": 1}, 1)  # not sooner
        move(4999)
        assert await cache.count_members("set") == 2
        await other.add_members("set", {"c": 1}, 10)  # but later
        move(9999)
        assert await cache.count_members("set") == 3
        move(1)
        assert await cache.count_members("set") == 0
        assert await cache.members("set") == []
        assert await cache.remove_members("set", ["a"]) == 0
        assert await cache.add_members("set", {"d": 1}, 10) == 1
        assert await cache.members("set") == [("d", 1.0)]


async def test_a_sorted_set_makes_room(harness: Harness) -> None:
    cache = harness.cache(max_entries=6 * harness.cache_parts)
    value, name, other = harness.beside(3)
    await cache.set(value, b"", 100)
    await cache.add_members(other, {"x": 1, "y": 2, "z": 3}, 50)
    await cache.add_members(name, {"a": 1, "b": 2}, 10)
    assert cache.evicted == 0
    await cache.add_members(name, {"c": 3}, 10)
    assert (await cache.members(other), cache.evicted) == ([], 1)
    await cache.add_members(name, {f"m{i}": i for i in range(4)}, 10)
    assert await cache.names() == []
    # Alone it is too large: the lowest scores go.
    assert [member for member, _ in await cache.members(name)] == ["a", "m1", "b", "m2", "c", "m3"]
    assert cache.evicted == 3
    assert (await cache.size()).entries == 6
