"""Microseconds of single steps, in one process, the best of five runs:
``python -m benchmarks micro``.

Server steps (push, filter, lease, ack) are measured by ``storage`` in the server's own time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scrapy import Request, Spider
from scrapy.utils.request import RequestFingerprinter

from benchmarks.realsites import microseconds
from mocra_scrapy.codec.compression import Dictionary, train
from mocra_scrapy.codec.requests import load_codec
from mocra_scrapy.proxies.choices import Choices
from mocra_scrapy.proxies.members import ANY, Member
from mocra_scrapy.proxies.proxy import parse_proxy
from mocra_scrapy.worker.recent_fingerprints import KnownLinks, RecentFingerprints

COUNT = 5000


class MicroSpider(Spider):
    name = "micro"

    def parse(self, response: Any) -> None: ...


def requests(spider: MicroSpider) -> list[Request]:
    """As they reach a scheduler, with Referer and depth."""
    return [
        Request(
            f"http://127.0.0.1:7464/library/module{n % 211}.part{n}.html",
            callback=spider.parse,
            headers={"Referer": f"http://127.0.0.1:7464/library/module{n % 97}.html"},
            meta={"depth": n % 7},
        )
        for n in range(COUNT)
    ]


def codec(spider: MicroSpider, some: list[Request]) -> dict[str, Callable[[], object]]:
    """Encode, compress, decompress, decode."""
    made = load_codec("msgpack", spider, 1 << 20)
    payloads = [made.encode(request) for request in some]
    trained = train(payloads[:1200], None)
    assert trained is not None
    dictionary: Dictionary = trained
    packed = [dictionary.compress(payload) for payload in payloads]
    return {
        "codec: encode": lambda: [made.encode(request) for request in some],
        "codec: compress": lambda: [dictionary.compress(payload) for payload in payloads],
        "codec: decompress": lambda: [dictionary.decompress(body, 1 << 20) for body in packed],
        "codec: decode": lambda: [made.decode(payload) for payload in payloads],
        "Scrapy: request.to_dict": lambda: [request.to_dict(spider=spider) for request in some],
    }


def links(some: list[Request]) -> dict[str, Callable[[], object]]:
    """What a link costs that was never seen, and one that was."""
    known = KnownLinks(RequestFingerprinter().fingerprint, COUNT)
    recent = RecentFingerprints(COUNT)
    for request in some:
        recent.add(known(request))
    return {
        "filter: a new fingerprint (Scrapy's)": lambda: [RequestFingerprinter().fingerprint(r.copy()) for r in some],
        "filter: a known link": lambda: [known(request) in recent for request in some],
    }


def proxies() -> dict[str, Callable[[], object]]:
    """The choice among 10,000 proxies: all are in, nine in ten are out at the site."""

    def pool(out: int) -> Choices:
        choices = Choices(lambda: 1.0)  # what was found stays as it is
        members = [Member(f"p{n}", parse_proxy(f"10.0.{n // 256}.{n % 256}:80"), 0) for n in range(10_000)]
        for n, member in enumerate(members):
            if n % 10 < out:
                member.at("site").until = 1e9
        choices.replace(members)
        return choices

    full, poor = pool(0), pool(9)
    return {
        "proxies: a choice among 10,000": lambda: [full.choose("site", ANY) for _ in range(COUNT)],
        "proxies: the same, nine in ten are out": lambda: [poor.choose("site", ANY) for _ in range(COUNT)],
    }


def measure() -> list[dict[str, Any]]:
    """Rows of step and µs. Those of the rate limiter are the server's:
    ``python -m benchmarks limits``.
    """
    spider = MicroSpider()
    some = requests(spider)
    steps = {**codec(spider, some), **links(some), **proxies()}
    return [{"step": name, "us": microseconds(work, COUNT)} for name, work in steps.items()]
