"""The decisions, by the sections of RFC 9111. Time is a number here."""

from __future__ import annotations

import pytest

from mocra_scrapy.cache.httpcache.machine import Fetch, Missing, PassBy, Serve, Validate
from mocra_scrapy.cache.httpcache.messages import Rules
from mocra_scrapy.cache.httpcache.selecting import MOST_VARIANTS
from tests.unit.cache.httpcache.exchanges import NOW, Cache, answer, ask, date


def after(seconds: float, *, said: object = None, **rules: object) -> Cache:
    """A cache with one page, so many seconds later."""
    cache = Cache(**rules)
    cache.get(said or answer(cache_control="max-age=10", etag='"1"'))  # type: ignore[arg-type]
    cache.now += seconds
    return cache


# ---------------------------------------------------------------- §4.2: fresh or stale


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


# ---------------------------------------------------------------- §3: what is stored


@pytest.mark.parametrize(
    ("said", "private", "shared"),
    [
        (answer(cache_control="max-age=10"), True, True),
        (answer(cache_control="no-store, max-age=10"), False, False),
        (answer(cache_control="private, max-age=10"), True, False),
        (answer(cache_control='private="x", max-age=10'), True, True),
        (answer(cache_control="s-maxage=10"), False, True),
        (answer(cache_control="no-cache", etag='"1"'), True, True),
        (answer(cache_control="no-cache"), False, False),  # it could never be used
        (answer(), False, False),
        (answer(etag='"1"'), True, True),
        (answer(302), False, False),
        (answer(302, cache_control="max-age=10"), True, True),
        (answer(206, cache_control="max-age=10", content_range="bytes 0-3/9"), False, False),
        (answer(304, cache_control="max-age=10"), False, False),
        (answer(599, cache_control="max-age=10"), True, True),
        (answer(599, cache_control="max-age=10, must-understand"), False, False),
        (answer(200, cache_control="max-age=10, no-store, must-understand"), True, True),
        (answer(cache_control="max-age=10", vary="*"), False, False),
        (answer(cache_control="max-age=10", set_cookie="a=b"), True, True),
        (answer(etag='"1"', set_cookie="a=b"), True, False),
        (answer(last_modified=date(-9000), set_cookie="a=b"), True, False),
    ],
)
def test_what_is_stored(said: object, private: bool, shared: bool) -> None:
    for rules, expected in (({}, private), ({"shared": True}, shared)):
        cache = Cache(**rules)
        cache.get(said)  # type: ignore[arg-type]
        assert bool(cache.stored) == expected, rules


@pytest.mark.parametrize(
    ("wish", "said", "shared"),
    [
        ({"authorization": "me"}, "max-age=10", False),
        ({"authorization": "me"}, "max-age=10, public", True),
        ({"authorization": "me"}, "max-age=10, must-revalidate", True),
        ({"authorization": "me"}, "s-maxage=10", True),
        ({"cookie": "a=b"}, "max-age=10", True),
        ({"cookie": "a=b"}, "x", False),
        ({"cache_control": "no-store"}, "max-age=10", False),
    ],
)
def test_what_a_shared_cache_stores_of_what_was_asked_by_somebody(
    wish: dict[str, str], said: str, shared: bool
) -> None:
    """§3.5; and what a request with cookies got is not stored by a guess."""
    cache = Cache(shared=True)
    cache.get(answer(cache_control=said, etag='"1"'), ask(**wish))
    assert bool(cache.stored) == shared
    private = Cache()
    private.get(answer(cache_control=said, etag='"1"'), ask(**wish))
    assert bool(private.stored) == ("cache_control" not in wish)


def test_always_store_means_what_may_be_stored() -> None:
    for said, expected in ((answer(), True), (answer(500), True), (answer(cache_control="no-store"), False)):
        cache = Cache(always_store=True)
        cache.get(said)
        assert bool(cache.stored) == expected
    shared = Cache(always_store=True, shared=True)
    shared.get(answer(cache_control="private, max-age=10"))
    shared.get(answer(), ask(authorization="me"))
    assert not shared.stored
    shared.get(answer(set_cookie="a=b"), ask(cookie="c=d"))
    assert shared.stored


def test_directives_and_statuses_may_be_ignored() -> None:
    cache = Cache(ignored=frozenset((b"no-store", b"private")), ignored_statuses=frozenset((404,)), shared=True)
    cache.get(answer(cache_control="private, no-store, max-age=10"))
    assert cache.hits()
    cache = Cache(ignored_statuses=frozenset((404,)))
    cache.get(answer(404, cache_control="max-age=10"))
    assert not cache.stored


def test_fields_of_the_connection_are_not_stored() -> None:
    """§3.1, §5.2.2.4"""
    said = answer(
        cache_control='max-age=10, no-cache="b"', connection="a, keep-alive", a="1", b="2", c="3", te="x", upgrade="y"
    )
    got = after(5, said=said).get(None)
    assert got.fields.keys() & {b"a", b"b", b"c", b"te", b"upgrade", b"connection"} == {b"c"}
    shared = after(5, said=answer(cache_control='max-age=10, private="b"', b="2", c="3"), shared=True)
    assert b"b" not in shared.get(None).fields


# ---------------------------------------------------------------- §4.1: Vary


def test_a_variant_for_each_of_what_was_asked_for() -> None:
    cache = Cache()
    cache.get(answer(cache_control="max-age=10", vary="Foo", body=b"one"), ask(foo="1"))
    assert not cache.hits(ask(foo="2"))
    assert not cache.hits(ask())
    cache.get(answer(cache_control="max-age=10", vary="foo", body=b"two"), ask(foo="2"))
    assert cache.get(None, ask(foo="1", bar="x")).body == b"one"
    assert cache.get(None, ask(foo="2")).body == b"two"
    assert not cache.hits(ask(foo=["1", "2"]))
    for n in range(9):
        cache.now += 0.1
        cache.get(answer(cache_control="max-age=10", vary="Foo"), ask(foo=str(n + 10)))
    assert len(cache.stored) == MOST_VARIANTS
    assert cache.hits(ask(foo="18"))
    assert not cache.hits(ask(foo="1"))


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        ("accept-language", "en, de", "DE,EN", True),
        ("accept-language", "en, de", "en", False),
        ("foo", "1, 2", " 1,2 ", True),
        ("foo", ["1", "2"], "1, 2", True),
        ("foo", "1, 2", "2, 1", False),
        ("foo", "A", "a", False),
        ("cookie", "a=1, 2", "a=1,2", False),
        ("user-agent", "X (a, b)", "X (a,b)", False),
    ],
)
def test_values_that_mean_the_same(name: str, one: str, other: str, same: bool) -> None:
    cache = Cache()
    key = name.replace("-", "_")
    cache.get(answer(cache_control="max-age=10", vary=name), ask(**{key: one}))
    assert cache.hits(ask(**{key: other})) == same


# ---------------------------------------------------------------- §4.3: validation


def test_both_validators_are_sent_and_a_304_freshens_what_is_stored() -> None:
    cache = after(
        15, said=answer(cache_control="max-age=10", etag='"1"', last_modified=date(-99), a="1", b="2", age="3")
    )
    got = cache.get(
        answer(304, etag='"1"', cache_control="max-age=20", a="3", content_length="9", body=b"", date=date(15))
    )
    assert isinstance(cache.decision, Validate)
    assert cache.decision.conditions == {b"if-none-match": b'"1"', b"if-modified-since": date(-99).encode()}
    assert (got.status, got.body, got.fields[b"a"], got.fields[b"b"]) == (200, b"page", [b"3"], [b"2"])
    assert b"content-length" not in got.fields
    assert cache.outcome.validated
    cache.now += 19
    assert cache.hits()
    assert cache.get(None).fields[b"age"] == [b"19"]


def test_a_304_of_something_else_updates_nothing() -> None:
    """§4.3.4"""
    cache = after(15)
    assert cache.get(answer(304, etag='"2"')).status == 304
    assert not cache.stored, "and what it was asked about is not trusted any more"
    cache = Cache()
    assert cache.get(answer(304, etag='"1"'), ask(if_none_match='"1"')).status == 304, (
        "of a condition of the spider's own"
    )
    assert not cache.stored


def test_another_answer_takes_its_place() -> None:
    cache = after(15)
    assert cache.get(answer(body=b"new", cache_control="max-age=10", date=date(15))).body == b"new"
    assert cache.get(None).body == b"new"
    cache.now += 15
    cache.get(answer(cache_control="no-store", date=date(30)))
    assert not cache.stored


@pytest.mark.parametrize("status", [500, 502, 503, 504, None])
@pytest.mark.parametrize(
    ("said", "rules", "stale"),
    [
        ("max-age=10", {}, True),
        ("max-age=10", {"stale_if_error": 4.0}, False),
        ("max-age=10, stale-if-error=5", {"stale_if_error": 0.0}, True),
        ("max-age=10, stale-if-error=4", {}, False),
        ("max-age=10, must-revalidate", {}, False),
        ("max-age=10, no-cache", {}, False),
        ("max-age=10, proxy-revalidate", {}, True),
        ("max-age=10, proxy-revalidate", {"shared": True}, False),
        ("s-maxage=10", {"shared": True}, False),
    ],
)
def test_a_site_in_trouble(status: int | None, said: str, rules: dict[str, object], stale: bool) -> None:
    """Five seconds after it became stale. §4.2.4, §4.3.3, RFC 5861."""
    cache = after(15, said=answer(cache_control=said, etag='"1"'), **rules)
    if status is None and not stale:
        with pytest.raises(AssertionError, match="an error reaches the client"):
            cache.get(None)
    else:
        assert cache.get(None if status is None else answer(status)).status == (200 if stale else status)
    assert cache.stored, "trouble says nothing of what is stored"


def test_stale_while_it_is_validated() -> None:
    """RFC 5861 §3"""
    cache = after(15, said=answer(cache_control="max-age=10, stale-while-revalidate=5", etag='"1"'))
    decision = cache.machine.begin(ask(), cache.stored, cache.now)
    assert isinstance(decision, Serve)
    assert decision.validate
    cache.now += 1
    assert cache.validates()
    shared = after(15, said=answer(cache_control="s-maxage=10, stale-while-revalidate=5", etag='"1"'), shared=True)
    assert shared.validates(), "s-maxage has the meaning of proxy-revalidate"


# ---------------------------------------------------------------- §4.3.2: conditions of the request, ranges


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"if_none_match": '"1"'}, 304),
        ({"if_none_match": '"2", W/"1"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"2"', "if_modified_since": date()}, 200),
        ({"if_modified_since": date(-50)}, 304),
        ({"if_modified_since": date(-51)}, 200),
        ({"if_modified_since": "yesterday"}, 200),
    ],
)
def test_a_condition_of_the_request_is_answered(wish: dict[str, str], status: int) -> None:
    cache = after(5, said=answer(cache_control="max-age=10", etag='"1"', last_modified=date(-50), a="1"))
    got = cache.get(None, ask(**wish))
    assert got.status == status
    assert (b"a" in got.fields) == (status == 200)
    assert got.fields[b"etag"] == [b'"1"']


@pytest.mark.parametrize(
    ("wish", "body"),
    [
        ({"range": "bytes=0-1"}, b"pa"),
        ({"range": "bytes=2-"}, b"ge"),
        ({"range": "bytes=-1"}, b"e"),
        ({"range": "bytes=1-99"}, b"age"),
        ({"range": "bytes=0-0", "if_range": '"1"'}, b"p"),
        ({"range": "bytes=0-0", "if_range": '"2"'}, b"page"),
        ({"range": "bytes=0-0", "if_range": 'W/"1"'}, b"page"),
    ],
)
def test_a_part_of_what_is_stored(wish: dict[str, str], body: bytes) -> None:
    got = after(5).get(None, ask(**wish))
    assert (got.status, got.body) == ((206 if len(body) < 4 else 200), body)
    if got.status == 206:
        assert got.fields[b"content-length"] == [b"%d" % len(body)]


def test_what_only_the_site_can_answer_passes_by() -> None:
    for wish in (
        ask(range="bytes=0-1,3-4"),
        ask(range="bytes=9-"),
        ask(if_match='"1"'),
        ask(range="lines=1-2"),
        ask("POST"),
    ):
        assert isinstance(after(5).machine.begin(wish, after(5).stored, NOW + 5), PassBy)
    stale = after(15)
    assert isinstance(stale.machine.begin(ask(range="bytes=0-1"), stale.stored, stale.now), PassBy)
    assert isinstance(stale.machine.begin(ask(cache_control="no-cache"), [], stale.now), Fetch)


# ---------------------------------------------------------------- §4.3.5, §4.4, other methods


def test_a_head_freshens_what_is_stored_or_ends_it() -> None:
    cache = after(5)
    assert cache.get(None, ask("HEAD")).body == b""
    cache = after(15)
    cache.get(answer(body=b"", etag='"1"', cache_control="max-age=30", a="7", date=date(15)), ask("HEAD"))
    assert cache.get(None).fields[b"a"] == [b"7"]
    assert cache.get(None).body == b"page"
    cache.now += 30
    cache.get(answer(body=b"", etag='"2"'), ask("HEAD"))
    assert not cache.stored, "the page is another one"
    cache = after(15)
    cache.get(answer(410, body=b""), ask("HEAD"))
    assert cache.stored


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "M-SEARCH"])
def test_what_may_change_a_page_ends_what_is_stored_of_it(method: str) -> None:
    cache = after(5)
    cache.get(answer(500), ask(method))
    cache.get(answer(404), ask(method))
    assert cache.hits()
    said = answer(302, location="/other", content_location="http://a.test/third", link="/no")
    cache.get(said, ask(method))
    assert cache.outcome.invalidate == ["http://a.test/page", "http://a.test/other", "http://a.test/third"]
    cache = after(5)
    cache.get(answer(location="http://b.test/other"), ask(method))
    assert cache.outcome.invalidate == ["http://a.test/page"], "a site speaks for itself only"
    assert not Cache().machine.answered(ask("OPTIONS"), PassBy(), answer(), requested=NOW, received=NOW).invalidate


def test_a_post_may_stand_for_a_get_if_it_says_so() -> None:
    """RFC 9110 §9.3.3"""
    cache = Cache()
    cache.get(answer(cache_control="max-age=10", content_location="/page"), ask("POST"))
    assert cache.outcome.store is not None
    cache.get(answer(cache_control="max-age=10"), ask("POST"))
    assert cache.outcome.store is None
    cache.get(answer(etag='"1"', content_location="/page"), ask("POST"))
    assert cache.outcome.store is None


def test_offline_whatever_is_stored_answers() -> None:
    cache = after(10_000_000, said=answer(cache_control="max-age=1, must-revalidate", etag='"1"'))
    got = cache.machine.offline(ask(), cache.stored, cache.now)
    assert got is not None
    assert got.body == b"page"
    assert cache.machine.offline(ask("POST"), cache.stored, cache.now) is None
    assert cache.machine.offline(ask(), [], cache.now) is None


def test_the_rules_have_usual_values() -> None:
    assert not Rules().shared
    assert Rules().heuristic == 0.1
