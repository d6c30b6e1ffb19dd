"""Validation, conditions, ranges, and methods that change a page (RFC 9111, 4.3 and 4.4). Time is a number here."""

from __future__ import annotations

import pytest

from mocra_scrapy.cache.httpcache.machine import Fetch, PassBy, Serve, Validate
from mocra_scrapy.cache.httpcache.messages import Rules
from tests.unit.cache.httpcache.exchanges import NOW, Cache, after, answer, ask, date

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
