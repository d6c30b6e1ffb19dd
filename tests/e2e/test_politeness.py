"""P8: politeness is a property of the cluster. Real workers against a server that writes down when
each request arrives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from tests.e2e.workers import Workers
from tests.mocksite import MockSite

pytestmark = [pytest.mark.redis, pytest.mark.e2e, pytest.mark.alone]

#: Seconds after its instant for which a departure is used, see ``worker/departures.py``.
MISSED = 0.1
TICK = 0.001  # rounding


def arrivals_of(site: MockSite, prefix: str) -> list[float]:
    found = [at for path, times in site.arrivals().items() if path.startswith(f"/{prefix}") for at in times]
    return sorted(found)


class Bookings:
    """What the server booked and what became of it, see ``crawling/bookings.py``: the same on a
    machine that is busy with other things.
    """

    RECORD: ClassVar = {"SCHEDULER": "crawling.bookings.Recording"}

    def __init__(self, workers: Workers) -> None:
        self.of_workers = workers.events("bookings")
        #: What others took of the machine is no fault of the workers'.
        self.busy = max(told["busy"] for told in self.of_workers)
        self.used = [one for told in self.of_workers for one in told["used"]]
        self.others = [one for told in self.of_workers for one in told["others"]]

    def of(self, name: str) -> list[dict[str, Any]]:
        """Of a slot or scope."""
        return [one for one in self.used if name in (one["slot"], *one["scopes"])]

    def instants(self, name: str, *, others: bool = False) -> list[float]:
        """Of a slot or scope; those of requests that bypass the queue are among the *others*."""
        some = [one for one in self.others if name in (one["slot"], *one["scopes"])] if others else []
        return sorted(one["at"] for one in (*self.of(name), *some))

    def keep(self, name: str, rate: float, burst: int = 1, *, others: bool = False) -> None:
        """In any window no more than burst + rate × time, on the server's clock."""
        instants = self.instants(name, others=others)
        for i, began in enumerate(instants):
            for count, last in enumerate(instants[i:], 1):
                window = last - began + TICK
                assert count <= burst + rate * window, f"{name}: {count} within {window:.3f} s"

    def were_kept(self, site: MockSite, prefix: str, slot: str) -> None:
        """Whatever left was booked for who sent it, and left neither before nor long after its
        instant; so it did not arrive before either.
        """
        arrivals = {path: sorted(at) for path, at in site.arrivals().items() if path.startswith(f"/{prefix}")}
        used: dict[str, list[dict[str, Any]]] = {path: [] for path in arrivals}
        for one in self.of(slot):
            assert one["booked"], one
            # The worker's instant is not before the server's, and it may only look late, never early.
            assert one["left"] > one["at"] - TICK, one
            assert one["late"] < MISSED + TICK, one
            assert one["left"] - one["taken"] < MISSED + TICK or one["how"] == "rebooked", one
            used[one["path"]].append(one)
        for path, times in arrivals.items():
            instants = sorted(one["at"] for one in used[path])
            assert len(times) == len(instants), f"{path}: something left without a departure"
            assert all(at > instant - TICK for at, instant in zip(times, instants, strict=True)), path

    def share(self, name: str, rate: float) -> float:
        """The part of the allowed rate that was used, in the best half of the time: a busy machine
        stops us all now and then.
        """
        instants = sorted(one["at"] for one in self.of(name))
        half = max(2, len(instants) // 2)
        spans = [last - first for first, last in zip(instants, instants[half:], strict=False)]
        return half / min(spans) / rate if spans else (len(instants) - 1) / (instants[-1] - instants[0]) / rate


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


PACED = ("rare", "some", "many", "bursts")


@pytest.mark.parametrize("count", [1, 4])
def test_p08_limits_hold_for_the_cluster(site: MockSite, workers: Workers, count: int) -> None:
    settings = {"MOCRA_THROTTLE": json.dumps(THROTTLE), "CONCURRENT_REQUESTS": 32, **Bookings.RECORD}
    for _ in range(count):
        workers.start("polite", site=site.url, hosts=HOSTS, **settings)
    assert workers.wait() == [0] * count
    bookings = Bookings(workers)
    for name, rate, burst in (("rare", 0.2, 1), ("some", 5, 1), ("many", 50, 1), ("bursts", 4, 6), ("@account", 8, 1)):
        bookings.keep(name, rate, burst)
        if burst == 1:
            share = bookings.share(name, rate)
            assert share >= 0.95 - bookings.busy, f"{name}: {share:.2f} of the rate, busy {bookings.busy:.2f}"
    for slot, prefix in (("a", "ok/scoped-a"), ("b", "ok/scoped-b"), *((n, f"ok/{n}") for n in PACED)):
        bookings.were_kept(site, prefix, slot)
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
            "polite",
            site=site.url,
            hosts=hosts,
            MOCRA_CRAWL=name,
            MOCRA_THROTTLE=json.dumps({"slow": "10/s"}),
            **Bookings.RECORD,
        )
        assert workers.wait() == [0]
        free = arrivals_of(site, "ok/free")
        elapsed[name] = free[-1] - free[0] - sum(told["waited"] for told in workers.events("bookings"))
    assert len(arrivals_of(site, "ok/slow")) == 60
    bookings = Bookings(workers)
    bookings.keep("slow", 10)
    bookings.were_kept(site, "ok/slow", "slow")
    # Measured: 1.07 times; a middleware that sleeps makes it 16 times as long. Half a second is
    # what a busy machine may add.
    print(elapsed)
    assert elapsed["beside"] < 1.2 * elapsed["alone"] + 0.5


def test_what_a_middleware_keeps_too_long_takes_another_departure(site: MockSite, workers: Workers) -> None:
    """Each worker's first pages wait for each other on their way to the wire, for longer than the
    delay; together they would leave at once.
    """
    settings = {"DOWNLOAD_DELAY": 0.4, "RANDOMIZE_DOWNLOAD_DELAY": False, **Bookings.RECORD}
    for _ in range(2):
        workers.start("held_up", site=site.url, pages=12, held=4, **settings)
    assert workers.wait() == [0, 0]
    bookings = Bookings(workers)
    assert len(arrivals_of(site, "ok/")) == len(bookings.used) == 12, "each once"
    bookings.keep("127.0.0.1", 1 / 0.4)
    bookings.were_kept(site, "ok/", "127.0.0.1")
    assert any(one["how"] == "rebooked" for one in bookings.used)
    stats = [event["stats"] for event in workers.events("closed")]
    assert sum(one.get("mocra/throttle/late", 0) for one in stats) >= 3
    assert sum(one.get("retry/count", 0) + one.get("mocra/queue/redelivered", 0) for one in stats) == 0
    # None leaves before what is booked for it, whatever it was handed out for.
    left = sorted(at for event in workers.events("left") for at in event["at"])
    booked = sorted(one["at"] for one in bookings.used)
    assert len(left) == 12
    assert all(at > instant - TICK for at, instant in zip(left, booked, strict=True))
