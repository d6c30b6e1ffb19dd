"""When a stored page is fresh, and when one may be used that is not (RFC 9111, section 4.2). Time is a number here."""

from __future__ import annotations

import pytest

from mocra_scrapy.cache.httpcache.machine import Missing, Serve
from tests.unit.cache.httpcache.exchanges import NOW, Cache, after, answer, ask, date


@pytest.mark.parametrize(
    ("lines", "fresh_for"),
    [
        ({"cache_control": "max-age=60"}, 60),
        ({"cache_control": 'max-age="60"'}, 60),
        ({"cache_control": "MAX-AGE=60"}, 60),
        ({"cache_control": 'x="a, max-age=9", max-age=60'}, 60),
        ({"cache_control": ["max-age=60", "max-age=60"]}, 60),
        ({"cache_control": "max-age=60, max-age=90"}, 0),  # §4.2.1: two that differ
        ({"cache_control": "max-age=60.5"}, 0),
        ({"cache_control": "max-age=-60"}, 0),
        ({"cache_control": "max-age='60'"}, 0),
        ({"cache_control": "max-age=60", "expires": "0"}, 60),
        ({"cache_control": "max-age=99999999999"}, 2**31),
        ({"cache_control": "s-maxage=60"}, 0),  # a private cache
        ({"expires": date(60)}, 60),
        ({"expires": date(60), "date": date(30)}, 30),
        ({"expires": date(60), "date": "foo"}, 60),
        ({"expires": date(60).replace("GMT", "-0000")}, 60),
        ({"expires": date(60).replace("GMT", "+0100")}, 0),
        ({"expires": "0"}, 0),
        ({"expires": "-1"}, 0),
        ({"expires": [date(60), date(60)]}, 0),
        ({"expires": "Thu, 18 Aug 2050 02:01:18 UTC"}, 0),
        ({"expires": "Thu, 18 Aug 50 02:01:18 GMT"}, 0),
        ({"cache_control": "max-age=60", "age": "20"}, 40),
        ({"cache_control": "max-age=60", "age": "20, 5"}, 40),  # §5.1: the first member
        ({"cache_control": "max-age=60", "age": "soon"}, 60),  # §5.1: ignored
        ({"cache_control": "max-age=60", "age": "-5"}, 60),
        ({"cache_control": "max-age=60", "date": date(-20)}, 40),  # §4.2.3: apparent age
        ({"last_modified": date(-600)}, 60),  # §4.2.2: a tenth
        ({"last_modified": date(600)}, 0),
        ({"last_modified": date(-10_000_000)}, 86_400),
    ],
)
def test_a_page_is_fresh_for_as_long_as_it_says(lines: dict[str, str], fresh_for: float) -> None:
    cache = Cache(always_store=True)
    cache.get(answer(etag='"1"', **lines))
    cache.now += fresh_for - 1
    assert cache.hits() == (fresh_for > 0)
    cache.now += 1
    assert not cache.hits()


def test_the_time_on_the_way_counts() -> None:
    """§4.2.3: a response that took 30 seconds is 30 seconds old."""
    cache = Cache()
    decision = cache.machine.begin(ask(), [], NOW)
    said = answer(cache_control="max-age=60")
    outcome = cache.machine.answered(ask(), decision, said, requested=NOW, received=NOW + 30)
    assert outcome.store is not None
    assert isinstance(cache.machine.begin(ask(), [outcome.store], NOW + 59), Serve)
    assert not isinstance(cache.machine.begin(ask(), [outcome.store], NOW + 60), Serve)


def test_heuristics_are_an_option_and_for_some_statuses_only() -> None:
    old = {"last_modified": date(-864_000)}
    assert after(5, said=answer(**old)).hits()
    assert not after(5, said=answer(**old), heuristic=0.0).hits()
    assert not after(5, said=answer(403, **old)).hits()
    assert after(5, said=answer(403, cache_control="public", **old)).hits()
    assert after(5, said=answer(404, **old)).hits()
    assert not after(9, said=answer(**old), heuristic_max=8.0).hits()


def test_errors_are_kept_where_a_setting_says_so() -> None:
    rules = {"negative": {404: 60.0, 503: 5.0}}
    assert after(59, said=answer(404), **rules).hits()
    assert not after(60, said=answer(404), **rules).hits()
    assert after(4, said=answer(503), **rules).hits()
    assert not after(4, said=answer(500), **rules).hits()
    assert not after(4, said=answer(404, cache_control="max-age=2"), **rules).hits(), "what the site says counts first"


@pytest.mark.parametrize(
    ("wish", "hit"),
    [
        ("no-cache", False),
        ("max-age=0", False),
        ("max-age=4", False),
        ("max-age=5", True),
        ("min-fresh=5", True),
        ("min-fresh=6", False),
        ("no-store", True),
    ],
)
def test_a_request_may_want_it_fresher(wish: str, hit: bool) -> None:
    """§5.2.1, five seconds after it came."""
    assert after(5).hits(ask(cache_control=wish)) == hit
    assert not after(5).hits(ask(pragma="no-cache"))


@pytest.mark.parametrize(
    ("wish", "said", "hit"),
    [
        ("max-stale", "max-age=10", True),
        ("max-stale=5", "max-age=10", True),
        ("max-stale=4", "max-age=10", False),
        ("max-stale", "max-age=10, must-revalidate", False),
    ],
)
def test_a_request_may_take_it_stale(wish: str, said: str, hit: bool) -> None:
    cache = after(15, said=answer(cache_control=said, etag='"1"'))
    decision = cache.machine.begin(ask(cache_control=wish), cache.stored, cache.now)
    assert isinstance(decision, Serve) == hit
    if isinstance(decision, Serve):
        assert decision.stale
        assert not decision.validate


def test_only_if_cached() -> None:
    """§5.2.1.7"""
    only = ask(cache_control="only-if-cached")
    assert isinstance(Cache().machine.begin(only, [], NOW), Missing)
    assert after(5).hits(only)
    assert isinstance(after(15).machine.begin(only, after(15).stored, NOW + 15), Missing)


def test_immutable_is_not_asked_for_while_it_is_fresh() -> None:
    """RFC 8246"""
    cache = after(5, said=answer(cache_control="max-age=10, immutable", etag='"1"'))
    assert cache.hits(ask(cache_control="max-age=0"))
    assert cache.hits(ask(cache_control="no-cache"))
    cache.now += 5
    assert cache.validates()
