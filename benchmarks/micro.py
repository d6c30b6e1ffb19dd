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


def measure() -> list[dict[str, Any]]:
    """Rows of step and µs. Those of the rate limiter are the server's:
    ``python -m benchmarks limits``.
    """
    spider = MicroSpider()
    some = requests(spider)
    steps = {**codec(spider, some), **links(some)}
    return [{"step": name, "us": microseconds(work, COUNT)} for name, work in steps.items()]
