"""P8: politeness is a property of the cluster. Real workers against a server that writes down when
each request arrives.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.e2e.workers import Workers
from tests.mocksite import MockSite

pytestmark = [pytest.mark.redis, pytest.mark.e2e, pytest.mark.alone]

#: Seconds by which an arrival may be late: a departure is used for 0.1 s, and a process that starts
#: takes its time over its first request.
LATE = 0.4


def arrivals_of(site: MockSite, prefix: str) -> list[float]:
    found = [at for path, times in site.arrivals().items() if path.startswith(f"/{prefix}") for at in times]
    return sorted(found)


def never_too_many(arrivals: list[float], rate: float, burst: int = 1) -> None:
    """In any window no more than burst + rate × time, but for what the way to the server adds."""
    late = max(LATE, 0.1 / rate)
    for i, first in enumerate(arrivals):
        for count, last in enumerate(arrivals[i:], 1):
            assert count <= burst + rate * (last - first + late), f"{count} within {last - first:.3f} s"


def used(arrivals: list[float], rate: float) -> float:
    """The part of the allowed rate that was used, in the best half of the time: a busy machine
    stops us all now and then.
    """
    half = max(2, len(arrivals) // 2)
    spans = [last - first for first, last in zip(arrivals, arrivals[half:], strict=False)]
    return half / min(spans) / rate if spans else (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) / rate


THROTTLE = {
    "rare": "12/m",
    "some": "5/s",
    "many": "50/s",
    "one": {"concurrency": 1},
    "four": {"concurrency": 4},
    "bursts": {"rate": "4/s", "burst": 6},
    "@account": "8/s",
}
HOSTS = ",".join(
    [
        "ok/rare:rare:3",
        "ok/some:some:45",
        "ok/many:many:450",
        "crowd/one/0.2/:one:30",
        "crowd/four/0.2/:four:120",
        "ok/bursts:bursts:30",
        "ok/scoped-a:a:35:account",
        "ok/scoped-b:b:35:account",
    ]
)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_p08_limits_hold_for_the_cluster(site: MockSite, workers: Workers, count: int) -> None:
    settings = {"MOCRA_THROTTLE": json.dumps(THROTTLE), "CONCURRENT_REQUESTS": 32}
    for _ in range(count):
        workers.start("polite", site=site.url, hosts=HOSTS, **settings)
    assert workers.wait(90) == [0] * count
    for host, rate, burst in (("ok/rare", 0.2, 1), ("ok/some", 5, 1), ("ok/many", 50, 1), ("ok/bursts", 4, 6)):
        arrivals = arrivals_of(site, host)
        never_too_many(arrivals, rate, burst)
        if burst == 1:
            assert used(arrivals, rate) >= 0.95, f"{host}: {used(arrivals, rate):.2f} of the rate"
    never_too_many(arrivals_of(site, "ok/scoped"), 8)
    assert used(arrivals_of(site, "ok/scoped"), 8) >= 0.95
    assert site.peaks()["one"] == 1
    assert site.peaks()["four"] == 4
    assert all(len(times) == 1 for times in site.arrivals().values())
    if count > 1:
        busy = [event["stats"].get("mocra/queue/acked", 0) for event in workers.events("closed")]
        assert min(busy) > 20, "the work was shared"


def test_a_slow_host_keeps_a_free_one_from_nothing(
    site: MockSite, workers_on: Callable[[str], Workers], redis_url: str
) -> None:
    """A limited host beside a free one: what waits takes no place of the downloader."""
    elapsed = {}
    for name, hosts in (("alone", "ok/free:free:200"), ("beside", "ok/slow:slow:60,ok/free:free:200")):
        workers = workers_on(redis_url)
        site.reset()
        workers.start(
            "polite", site=site.url, hosts=hosts, MOCRA_CRAWL=name, MOCRA_THROTTLE=json.dumps({"slow": "10/s"})
        )
        assert workers.wait() == [0]
        free = arrivals_of(site, "ok/free")
        elapsed[name] = free[-1] - free[0]
    assert len(arrivals_of(site, "ok/slow")) == 60
    never_too_many(arrivals_of(site, "ok/slow"), 10)
    # Measured: 1.07 times; a middleware that sleeps makes it 16 times as long. Half a second is
    # what a busy machine may add.
    print(elapsed)
    assert elapsed["beside"] < 1.2 * elapsed["alone"] + 0.5
