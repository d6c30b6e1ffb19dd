"""Workers of one crawl with different limits: real processes, a site that records arrivals."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.models import QueueOptions, RulesInForce
from tests.e2e.test_politeness import Bookings, arrivals_of
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

CRAWL = "crawling:polite"
PAGES = 20
OLD, NEW = {"paced": "5/s"}, {"paced": "200/s", "other": "1/s"}


def people(url: str, slot: str, verb: str) -> None:
    async def do() -> None:
        backend = open_backend(url)
        await backend.open()
        try:
            await getattr(backend.rate_limiter(CRAWL, QueueOptions()), verb)(slot)
        finally:
            await backend.close()

    asyncio.run(do())


def in_force(url: str) -> RulesInForce:
    async def do() -> RulesInForce:
        backend = open_backend(url)
        await backend.open()
        queue = backend.request_queue(CRAWL, QueueOptions())
        try:
            return await queue.rules_in_force()
        finally:
            await queue.close()
            await backend.close()

    return asyncio.run(do())


def test_workers_with_other_limits_share_the_strictest(site: MockSite, workers: Workers, redis_url: str) -> None:
    """Two crawl at 5 a second; two join, for which it would be 200. All four say so. Nothing departs
    before all are there, however slow the machine. Then the first two leave, one after the other, under load: their
    rule goes with the second.
    """
    people(redis_url, "paced", "pause")
    for rules in (OLD, OLD, NEW, NEW):
        if len(workers.all) == 2:
            eventually(lambda: len(in_force(redis_url).workers) == 2, 180, "the first two are there")
        workers.start(
            "polite",
            site=site.url,
            hosts=f"ok/paced:paced:{PAGES}",
            MOCRA_THROTTLE=json.dumps(rules),
            **Bookings.RECORD,
        )
    eventually(lambda: len(in_force(redis_url).workers) == 4, what="all four are there")
    assert len(in_force(redis_url).sets) == 2
    assert arrivals_of(site, "ok/paced") == []
    eventually(
        lambda: all("other limits than this one" in workers.log(n) for n in range(4)), what="each says what differs"
    )
    people(redis_url, "paced", "resume")
    for number in range(2):
        eventually(lambda number=number: len(arrivals_of(site, "ok/paced")) >= 4 + 4 * number, what="they are at it")
        told = time.monotonic()
        workers.all[number].terminate()
        assert workers.all[number].wait(300) == 0
    assert len(in_force(redis_url).sets) <= 1, "none when the others are done as well"
    assert workers.wait() == [0] * 4
    assert len(arrivals_of(site, "ok/paced")) == PAGES
    bookings = Bookings(workers)
    bookings.used = [one for one in bookings.used if one["at"] <= told]
    assert len(bookings.of("paced")) >= 8
    bookings.keep("paced", 5)
    for number in range(4):
        log = workers.log(number)
        assert log.count("other limits than this one") == 1
        assert "MOCRA_THROTTLE or DOWNLOAD_SLOTS differ in other, paced" in log
    assert workers.stats()["mocra/throttle/rules_differ"] == 4


def test_an_address_of_ipv6_has_the_rule_of_its_host(site: MockSite, workers: Workers) -> None:
    """As a proxy the site answers for it, so that nothing leaves 127.0.0.1."""
    host, pages = "[2001:db8::1]", 12
    with site.stopped():
        for number in range(2):
            workers.start(
                "list",
                {"http_proxy": site.url},
                site=f"http://{host}:8080",
                paths=",".join(f"ok/{n}" for n in range(pages)),
                MOCRA_THROTTLE=json.dumps({host: {"rate": "5/s", "concurrency": 1}}),
                DOWNLOAD_DELAY=0,
            )
            workers.until_open(number)
    assert workers.wait() == [0, 0]
    came = sorted(at for times in site.arrivals().values() for at in times)
    assert len(came) == pages
    assert came[-1] - came[0] >= (pages - 1) / 5 - 0.2, "a departure may be a tenth of a second late on its way"
