"""What is stored, and for which requests (RFC 9111, sections 3 and 4.1). Time is a number here."""

from __future__ import annotations

import pytest

from mocra_scrapy.cache.httpcache.selecting import MOST_VARIANTS
from tests.unit.cache.httpcache.exchanges import Cache, after, answer, ask, date

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
    shared.get(answer(set_cookie="a=b"))
    shared.get(answer(etag='"1"'), ask(cookie="c=d"))
    assert not shared.stored, "nor what was made for somebody"
    shared.get(answer(set_cookie="a=b", cache_control="max-age=10"), ask(cookie="c=d"))
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
