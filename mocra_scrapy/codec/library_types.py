"""Types of the standard library and of Scrapy that are stored by number: a closed table.

A number is part of the stored format: append, never renumber. A row dumps a value to something that
can be packed, and loads it again; what ``load`` raises for foreign bytes makes the payload
unreadable.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from http.cookiejar import Cookie, DefaultCookiePolicy
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import scrapy.utils.datatypes
from scrapy.http import Headers
from scrapy.http.cookies import CookieJar
from scrapy.link import Link

from mocra_scrapy.exceptions import UnserializableRequest

#: A number of the format, beside those of :mod:`mocra_scrapy.codec.values` (1 to 10) and
#: :mod:`mocra_scrapy.codec.spider_objects` (32 to 35).
PATH, PURE_POSIX, PURE_WINDOWS, COMPLEX, RANGE, SLICE, PATTERN, IP, COUNTER, ORDERED, DEFAULTDICT, DEQUE = range(11, 23)
HEADERS, CASE_INSENSITIVE, CASELESS, COOKIE_JAR, LINK, STRUCT_TIME = range(23, 29)

#: Positions are part of the format, in both tables.
ADDRESSES: list[Callable[[str], Any]] = [
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
]
FACTORIES: list[Any] = [
    None,
    list,
    dict,
    set,
    int,
    str,
    float,
    tuple,
    bool,
    bytes,
    frozenset,
    Counter,
    OrderedDict,
    deque,
]
COOKIE = [
    "version",
    "name",
    "value",
    "port",
    "port_specified",
    "domain",
    "domain_specified",
    "domain_initial_dot",
    "path",
    "path_specified",
    "secure",
    "expires",
    "discard",
    "comment",
    "comment_url",
    "rest",
    "rfc2109",
]


def members_of(plain: Any) -> dict[Any, Any]:
    if type(plain) is not dict:
        raise TypeError("no mapping")
    return plain


def _dump_defaultdict(value: defaultdict[Any, Any]) -> list[Any]:
    factory = value.default_factory
    # What is not in the table is stored as a value: a class or a method that the spider's process
    # knows.
    known = next((i for i, one in enumerate(FACTORIES) if one is factory), None)
    return [factory if known is None else known, dict(value)]


def _load_defaultdict(plain: Any) -> defaultdict[Any, Any]:
    factory, members = plain
    return defaultdict(FACTORIES[factory] if type(factory) is int and factory >= 0 else factory, members_of(members))


def _load_pattern(plain: Any) -> re.Pattern[Any]:
    text, flags = plain
    return re.compile(text, flags & ~re.DEBUG)  # that one prints


def _dump_headers(value: Headers) -> list[Any]:
    return [value.encoding, {k: v for k, v in dict.items(value) if k != b"Proxy-Authorization"}]


def _load_headers(plain: Any) -> Headers:
    encoding, members = plain
    if type(encoding) is not str:
        raise TypeError("no encoding")
    return Headers(members_of(members), encoding)


def _dump_jar(value: CookieJar) -> list[Any]:
    for policy in {id(p): p for p in (value.policy, value.jar._policy)}.values():  # type: ignore[attr-defined]
        plain = type(policy) is DefaultCookiePolicy
        if not plain or {**vars(policy), "_now": 0} != {**vars(DefaultCookiePolicy()), "_now": 0}:
            raise UnserializableRequest("a CookieJar with a policy of its own can't be stored")
    cookies = [[getattr(cookie, "_rest" if name == "rest" else name) for name in COOKIE] for cookie in value.jar]
    # By this word compression knows that there are credentials (see CompressingCodec.pack).
    return ["Cookie", value.check_expired_frequency, cookies]


def _load_jar(plain: Any) -> CookieJar:
    _, frequency, cookies = plain
    jar = CookieJar(check_expired_frequency=frequency)
    for cookie in cookies:
        jar.set_cookie(Cookie(**dict(zip(COOKIE, cookie, strict=True))))
    return jar


def _dump_address(value: Any) -> list[Any]:
    return [ADDRESSES.index(type(value)), str(value)]


def _load_address(plain: Any) -> Any:
    number, text = plain
    if type(number) is not int or number < 0 or type(text) is not str:
        raise TypeError("no address")
    return ADDRESSES[number](text)


def _load_link(plain: Any) -> Link:
    url, text, fragment, nofollow = plain
    return Link(url, text, fragment, nofollow)


Row = tuple[int, type, Callable[[Any], Any], Callable[[Any], Any]]
TABLE: list[Row] = [
    (PATH, type(Path()), str, Path),
    (PURE_POSIX, PurePosixPath, str, PurePosixPath),
    (PURE_WINDOWS, PureWindowsPath, str, PureWindowsPath),
    (COMPLEX, complex, lambda v: [v.real, v.imag], lambda p: complex(*p)),
    (RANGE, range, lambda v: [v.start, v.stop, v.step], lambda p: range(*p)),
    (SLICE, slice, lambda v: [v.start, v.stop, v.step], lambda p: slice(*p)),
    (PATTERN, re.Pattern, lambda v: [v.pattern, v.flags], _load_pattern),
    *((IP, kind, _dump_address, _load_address) for kind in ADDRESSES if isinstance(kind, type)),
    (COUNTER, Counter, dict, lambda p: Counter(members_of(p))),
    (ORDERED, OrderedDict, dict, lambda p: OrderedDict(members_of(p))),
    (DEFAULTDICT, defaultdict, _dump_defaultdict, _load_defaultdict),
    (DEQUE, deque, lambda v: [v.maxlen, list(v)], lambda p: deque(p[1], p[0])),
    (HEADERS, Headers, _dump_headers, _load_headers),
    (COOKIE_JAR, CookieJar, _dump_jar, _load_jar),
    (LINK, Link, lambda v: [v.url, v.text, v.fragment, v.nofollow], _load_link),
    (
        STRUCT_TIME,
        time.struct_time,
        lambda v: [*v, v.tm_zone, v.tm_gmtoff],
        lambda p: time.struct_time(tuple(p)),
    ),
]
#: The second one is deprecated and left Scrapy in 2.19.
for _code, _name in ((CASE_INSENSITIVE, "CaseInsensitiveDict"), (CASELESS, "CaselessDict")):
    _kind = vars(scrapy.utils.datatypes).get(_name)
    if _kind is not None:
        TABLE.append((_code, _kind, dict, lambda p, kind=_kind: kind(members_of(p))))  # type: ignore[misc]

WRITERS = {kind: (code, dump) for code, kind, dump, _ in TABLE}
READERS = {code: load for code, _, _, load in TABLE}
