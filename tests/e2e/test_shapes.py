"""Crawls of other shapes than pages of one host, by two real workers: what the store booked for them, and what the
site saw. Nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from mocra_scrapy.interfaces import IRateLimiter
from mocra_scrapy.models import QueueOptions
from tests.e2e.test_failing_sites import on_backend
from tests.e2e.test_politeness import TICK, Bookings, arrivals_of
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

#: Requests that the site's limit allows in so many seconds.
MOST, SECONDS = 4, 2
#: Slots that share one rate, with three pages each.
HOSTS = 12


def run(
    workers: Workers, site: MockSite, paths: dict[str, tuple[str, int]], throttle: Any, hosts: int = 0, **more: Any
) -> Bookings:
    """Two workers fetch *paths* and pages of *hosts*, see ``ShapesSpider``. These depart when all of them are there."""
    settings = {"MOCRA_THROTTLE": json.dumps(throttle), **Bookings.RECORD, **{"proxied": 0, **more}}
    say(workers, lambda limiter: limiter.pause("@all"))
    workers.together(2, site, "shapes", paths=json.dumps(paths), hosts=hosts, **settings)

    def there() -> int:
        return sum(n for name, n in say(workers, lambda limiter: limiter.slots()).items() if name.startswith("host"))

    eventually(lambda: there() == 3 * hosts, 180, "pages of all hosts are there")
    say(workers, lambda limiter: limiter.resume("@all"))
    assert workers.wait() == [0, 0]
    return Bookings(workers)


def say(workers: Workers, do: Callable[[IRateLimiter], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(
        on_backend(workers.backend, lambda backend: do(backend.rate_limiter("crawling:shapes", QueueOptions())))
    )


def test_limits_that_sites_advertise_and_delays_that_follow_them(site: MockSite, workers: Workers) -> None:
    """``X-RateLimit-…``, ``RateLimit``, and the presets "heritrix" and "nutch", as they are and with other figures; a
    429 without ``Retry-After``, and what a project's own RetryMiddleware gives up.
    """
    throttle = {
        "api": {"rate": "20/s", "concurrency": 1},
        "draft": {"rate": "20/s", "concurrency": 1},
        "heritrix": "heritrix",
        "nutch": "nutch",
        "slow": {"preset": "heritrix", "delay_min": 0.1, "delay_max": 2},
        "even": {"preset": "nutch", "delay_min": 0.5, "delay_max": 0.5},
        "moody": "5/s",
    }
    paths = {
        "api": (f"left/{MOST}/{SECONDS}", 14),
        "draft": (f"limited/{MOST}/{SECONDS}", 9),
        "heritrix": ("crowd/heritrix/0", 2),
        "nutch": ("crowd/nutch/0", 2),
        "slow": ("crowd/slow/0.1", 9),
        "even": ("crowd/even/0.1", 6),
        "moody": ("moods/ONCE/moody", 5),
        "gone": ("status/500", 1),
    }
    retry = {"scrapy.downloadermiddlewares.retry.RetryMiddleware": None, "crawling.spiders.shapes.OwnRetry": 550}
    more = {"MOCRA_THROTTLE_FEEDBACK_STATUSES": "429", "DOWNLOADER_MIDDLEWARES": json.dumps(retry), "RETRY_TIMES": 1}
    bookings = run(workers, site, paths, throttle, **more)
    assert len(workers.events("item")) == sum(pages for _, pages in paths.values()) - 1, "none is lost"
    assert (site.count("/status/500/0"), workers.stats()["mocra/dead/retry"]) == (2, 1), "whoever gives it up"

    for kind in ("left/", "limited/"):
        came = arrivals_of(site, kind)
        while came:  # as the site counts
            window = [at for at in came if at < came[0] + SECONDS]
            # Who hears that nothing is left tells the others; what is on its way meanwhile still comes.
            assert len(window) <= MOST + 2, kind
            came = came[len(window) :]
    assert workers.stats()["mocra/throttle/rate_limit_exhausted"] >= 4
    log = workers.log(0) + workers.log(1)
    assert "nothing is left of the limit that it advertises" in log

    def gaps(slot: str) -> list[float]:
        instants = bookings.instants(slot)
        return [after - before + TICK for before, after in pairwise(instants)]

    assert min(gaps("heritrix")) >= 3
    assert min(gaps("nutch")) >= 5
    assert min(gaps("even")) >= 0.5
    # Five times 0.1 s from the end of a response, once one was measured and the others know of it.
    assert min(gaps("slow")) >= 0.1
    assert min(gaps("slow")[4:]) >= 0.1 + 5 * 0.1
    slow = [slot for slot, (path, _) in paths.items() if path.startswith("crowd/")]
    assert {slot: site.peaks()[slot] for slot in slow} == dict.fromkeys(slow, 1)

    (slowed,) = re.findall(r"Slot moody is slowed down to one request every (\S+) s", log)
    assert float(slowed) >= 2 * 0.2 - 0.01, "half of what the cluster has, not of one worker's"
    bookings.keep("moody", 5)


def test_limits_follow_the_host_that_is_asked_whatever_the_kind_of_request(site: MockSite, workers: Workers) -> None:
    """Redirects to another host, many hosts under one rate, files beside pages, AutoThrottle beside an explicit rule, a
    host that says 429 for ever, a proxy that is not there.
    """
    throttle = {
        "localhost": "5/s",
        "files": {"rate": "10/s", "concurrency": 2},
        "fixed": "8/s",
        "full": "50/s",
        "download_slot:@acc": "5/s",
        "host*": {"scopes": ["all"]},
        "@all": "20/s",
    }
    paths = {
        "": ("elsewhere/ok/there", 8),
        "files": ("crowd/files/0.05", 8),
        "fixed": ("ok/fixed", 12),
        "full": ("moods/429+1/full", 6),
        "@acc": ("ok/acc", 5),
    }
    more = {
        "proxied": 6,
        "AUTOTHROTTLE_ENABLED": True,
        "AUTOTHROTTLE_START_DELAY": 0.01,
        "DOWNLOAD_DELAY": 0,
        "MOCRA_BREAKER": json.dumps({"slot": {"failures": 5, "window": 60}, "hold": 1, "longest": 1}),
        "MOCRA_THROTTLE_FEEDBACK_STATUSES": "429",
        "MOCRA_STALL_MAX": 0.5,
        "MOCRA_STALL_ATTEMPTS": 2,
        "MOCRA_RETRY_BASE": 0.1,
        "RETRY_TIMES": 2,
        "RETRY_EXCEPTIONS": "",
    }
    bookings = run(workers, site, paths, throttle, HOSTS, **more)
    items = [event["item"] for event in workers.events("item")]

    there = arrivals_of(site, "ok/there")
    assert len(there) == len(bookings.of("localhost")) == 8
    bookings.keep("localhost", 5)
    assert all(at > instant - TICK for at, instant in zip(there, bookings.instants("localhost"), strict=True)), (
        "at the site"
    )

    bookings.keep("files", 10, others=True)
    assert len(arrivals_of(site, "crowd/files/")) == 8 * 3
    assert len(bookings.instants("files", others=True)) >= 8 * 3, "each had a departure"
    assert site.peaks()["files"] <= 2, "files and pages together"
    assert sum(item.get("files", 0) for item in items) == 16

    bookings.keep("fixed", 8)
    assert len(bookings.of("download_slot:@acc")) == 5
    bookings.keep("download_slot:@acc", 5)

    bookings.keep("@all", 20)
    turns = [one["slot"] for one in sorted(bookings.of("@all"), key=lambda one: float(one["at"]))]
    assert len(turns) == 3 * HOSTS
    stats = workers.stats()
    # What a busy machine was too late for had its turn, and departed in a later one.
    late = sum(stats.get(f"mocra/throttle/{how}", 0) for how in ("missed", "late", "returned"))
    assert len({*turns[: 2 * HOSTS + late]}) == HOSTS, f"each has had its turn before two thirds have gone: {turns}"
    assert stats["mocra/stall/given_up"] == 1, "the host that says so for ever, as a whole"
    assert (stats["mocra/dead/stalled"], stats.get("retry/max_reached", 0)) == (6, 0), "no retry was burnt"

    assert len([item for item in items if item.get("failed")]) == 6
    opened = {event["slot"] for event in workers.events("breaker_opened")}
    assert opened <= {"proxy:127.0.0.1:9", "full"}, "a proxy that is not there is not the site's fault"
